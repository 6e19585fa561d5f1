// The fields of an answer that name paths of the origin, mapped back under `/m/USER/NAME`.
//
// Called by: ClientResponse, for answers of mirrors that are addressed by path.
// Waits for: nothing.
// Hard: an origin that knows its public path, because it was configured so or believes
// X-Forwarded-Prefix, has mapped them itself; what begins with the prefix already stays as it is.
// So do other hosts, and what is no path at all. A cookie's Domain stays too: where it names
// another host than the client asked, the client refuses the cookie, as it should.

import Wire

struct MappedFields {
    /// `/m/USER/NAME`, behind the prefix of a proxy before us.
    private let prefix: [UInt8]
    /// The host that the client asked, for URLs that name it.
    private let host: [UInt8]

    static let names: FieldSet = [.location, .contentLocation, .refresh, .setCookie]

    /// Nil where there is nothing to map.
    init?(_ request: MirrorRequest, _ fields: Fields) {
        // Under a host of its own the origin's paths are the public ones.
        if request.prefix.isEmpty || fields.present.isDisjoint(with: MappedFields.names) {
            return nil
        }
        self.init(prefix: request.publicPrefix, host: request.publicHost ?? [])
    }

    init(prefix: [UInt8], host: ArraySlice<UInt8>) {
        self.prefix = prefix
        self.host = MappedFields.plain(host)
    }

    /// Appends the mapped lines, in their order.
    func append(_ fields: Fields, to out: inout [UInt8]) {
        for line in fields.lines {
            let value = fields.bytes[line.value]
            switch line.id {
            case .location: HeadWriter.field("Location", location(value), to: &out)
            case .contentLocation: HeadWriter.field("Content-Location", location(value), to: &out)
            case .refresh: HeadWriter.field("Refresh", refresh(value), to: &out)
            case .setCookie: HeadWriter.field("Set-Cookie", cookie(value), to: &out)
            default: break
            }
        }
    }

    /// A path, or a URL of the host that was asked, goes under the prefix; others stay.
    ///
    /// A mapped URL loses scheme and host: the client knows both better than the origin.
    func location(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var path = value
        for scheme in ["http://", "https://", "//"] where hasPrefix(value, scheme) {
            let rest = value.dropFirst(scheme.utf8.count)
            let authority = rest.prefix { $0 != 0x2F && $0 != 0x3F && $0 != 0x23 }
            if MappedFields.plain(authority) != host { return Array(value) }
            path = rest.dropFirst(authority.count)
            if path.first != 0x2F { path = [0x2F] + path }
            break
        }
        return mapped(path) ?? Array(value)
    }

    /// `5; url=/path`: browsers take a comma too, quotes, and a URL alone (HTML §4.2.5.3).
    func refresh(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var rest = value.drop { (0x30...0x39).contains($0) || $0 == 0x2E }
        guard rest.startIndex > value.startIndex, let separator = rest.first,
            separator == 0x3B || separator == 0x2C
        else { return Array(value) }
        rest = rest.dropFirst().drop(while: isBlank)
        if hasPrefix(rest, "url") {
            let behind = rest.dropFirst(3).drop(while: isBlank)
            if behind.first == 0x3D { rest = behind.dropFirst().drop(while: isBlank) }
        }
        var url = rest
        if let quote = rest.first, quote == 0x22 || quote == 0x27 {
            url = rest.dropFirst().prefix { $0 != quote }
        }
        return value[..<url.startIndex] + location(url) + value[url.endIndex...]
    }

    /// The attribute Path goes under the prefix (RFC 6265 §5.2.4).
    func cookie(_ value: ArraySlice<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for (index, part) in value.split(separator: 0x3B, omittingEmptySubsequences: false)
            .enumerated()
        {
            if index > 0 { out.append(0x3B) }
            guard index > 0, let equals = part.firstIndex(of: 0x3D),
                let path = mapped(part[(equals + 1)...].drop(while: isBlank)),
                isPathAttribute(part[..<equals])
            else {
                out += part
                continue
            }
            out += part.prefix(while: isBlank)
            out += "Path=".utf8
            out += path
        }
        return out
    }

    private func isPathAttribute(_ name: ArraySlice<UInt8>) -> Bool {
        let name = name.drop(while: isBlank)
        return hasPrefix(name, "path") && name.dropFirst(4).allSatisfy(isBlank)
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

    /// An authority in lower case, without a port that a scheme has anyway: behind a proxy the
    /// origin may believe in the other scheme.
    private static func plain(_ authority: ArraySlice<UInt8>) -> [UInt8] {
        let text = String(decoding: authority, as: UTF8.self).lowercased()
        for port in [":80", ":443"] where text.hasSuffix(port) {
            return Array(text.utf8.dropLast(port.utf8.count))
        }
        return Array(text.utf8)
    }
}

private func isBlank(_ byte: UInt8) -> Bool { byte == 0x20 || byte == 0x09 }

/// Letter case aside; `text` is in lower case.
private func hasPrefix(_ bytes: ArraySlice<UInt8>, _ text: String) -> Bool {
    bytes.count >= text.utf8.count
        && zip(bytes, text.utf8).allSatisfy { byte, wanted in
            (0x41...0x5A).contains(byte) ? byte | 0x20 == wanted : byte == wanted
        }
}
