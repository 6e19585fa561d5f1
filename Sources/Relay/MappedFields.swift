// The fields of an answer that name paths of the origin, mapped back under `/m/USER/NAME`.
//
// Called by: ClientResponse, for answers of mirrors that are addressed by path.
// Waits for: nothing.
// Hard: an origin that knows its public path, because it was configured so or believes
// X-Forwarded-Prefix, has mapped them itself; what begins with the prefix already stays as it is.

import Wire

struct MappedFields {
    /// `/m/USER/NAME`.
    private let prefix: [UInt8]
    /// The host that the client asked, for locations that name it.
    private let host: ArraySlice<UInt8>

    /// Nil where there is nothing to map.
    init?(_ request: MirrorRequest, _ fields: Fields) {
        if request.prefix.isEmpty
            || !(fields.present.contains(.location) || fields.present.contains(.setCookie))
        {
            return nil
        }
        prefix = request.prefix
        host = request.head.authority ?? []
    }

    static let names: FieldSet = [.location, .setCookie]

    /// Appends the mapped lines, in their order.
    func append(_ fields: Fields, to out: inout [UInt8]) {
        for line in fields.lines {
            let value = fields.bytes[line.value]
            switch line.id {
            case .location: HeadWriter.field("Location", location(value), to: &out)
            case .setCookie: HeadWriter.field("Set-Cookie", cookie(value), to: &out)
            default: break
            }
        }
    }

    /// A path, or a URL of the host that was asked, goes under the prefix; others stay.
    func location(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var path = value
        for scheme in ["http://", "https://"] where path.starts(with: scheme.utf8) {
            let rest = path.dropFirst(scheme.utf8.count)
            let authority = rest.prefix { $0 != 0x2F && $0 != 0x3F && $0 != 0x23 }
            if !authority.elementsEqual(host) { return Array(value) }
            path = rest.dropFirst(authority.count)
            if path.first != 0x2F { path = [0x2F] + path }
        }
        return mapped(path) ?? Array(value)
    }

    /// The attribute Path goes under the prefix (RFC 6265 §5.2.4).
    func cookie(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for (index, part) in value.split(separator: 0x3B, omittingEmptySubsequences: false)
            .enumerated()
        {
            if index > 0 { out.append(0x3B) }
            let blanks = part.prefix { $0 == 0x20 || $0 == 0x09 }
            let attribute = part.dropFirst(blanks.count)
            let name = attribute.prefix(5).map { $0 | 0x20 }
            if index > 0, name.elementsEqual("path=".utf8),
                let path = mapped(attribute.dropFirst(5))
            {
                out += blanks
                out += "Path=".utf8
                out += path
            } else {
                out += part
            }
        }
        return out
    }

    /// Nil where the text is no path of the origin, or is under the prefix already.
    private func mapped(_ path: ArraySlice<UInt8>) -> [UInt8]? {
        // Two slashes begin another host's name.
        guard path.first == 0x2F, path.dropFirst().first != 0x2F else { return nil }
        if path.starts(with: prefix) {
            let next = path.dropFirst(prefix.count).first
            if next == nil || next == 0x2F || next == 0x3F || next == 0x23 { return Array(path) }
        }
        return prefix + path
    }
}
