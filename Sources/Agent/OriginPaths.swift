// How clients see the paths and the name of an origin: what is added to requests, and taken away
// again in answers.
//
// Called by: OriginRequest and OriginExchange, for each head.
// Waits for: nothing.
// Hard: an origin names itself in absolute URLs, which lead clients nowhere; those become paths,
// and the relay puts its own part before them. A URL of another host, scheme or port stays: it may
// be meant. No path may come out that begins with two slashes, for that names another host.

import Wire

/// What `--local` and `--host-header` make of a mirror's paths. Thread-safe: all of it is set once.
struct OriginPaths: Sendable {
    /// Before the path of each request: empty, or `/prefix`.
    let prefix: [UInt8]
    /// The Host field for the origin; nil keeps the client's.
    let host: [UInt8]?
    /// `http://`, or `https://`, and the origin's own host and port.
    private let own: (scheme: [UInt8], authority: [UInt8])
    /// `:PORT` of the origin where it is not its scheme's own, else empty.
    private let port: [UInt8]

    init(_ local: LocalURL, host: [UInt8]?) {
        prefix = Array(local.prefix.utf8)
        self.host = host
        own = (
            Array((local.isSecure ? "https://" : "http://").utf8), Array(local.hostField.utf8)
        )
        port = Array(OriginPaths.port(own.authority[...]))
    }

    private static let names: FieldSet = [.location, .contentLocation, .setCookie]

    /// Appends an answer's end-to-end fields as clients can use them.
    ///
    /// - Parameter asked: the Host field of the request, as the relay sent it.
    func append(_ fields: Fields, asked: ArraySlice<UInt8>?, to out: inout [UInt8]) {
        if fields.present.isDisjoint(with: Self.names) {
            return fields.appendEndToEnd(to: &out)
        }
        fields.appendEndToEnd(to: &out, dropping: Self.names)
        for line in fields.lines {
            let value = fields.bytes[line.value]
            switch line.id {
            case .location: HeadWriter.field("Location", location(value, asked), to: &out)
            case .contentLocation:
                HeadWriter.field("Content-Location", location(value, asked), to: &out)
            case .setCookie: HeadWriter.field("Set-Cookie", cookie(value), to: &out)
            default: break
            }
        }
    }

    /// A URL of the origin, as a path behind the prefix where it can be one.
    func location(_ value: ArraySlice<UInt8>, _ asked: ArraySlice<UInt8>?) -> ArraySlice<UInt8> {
        if value.first == 0x2F { return visible(value) ?? value }
        for scheme in ["http://", "https://"] where value.startsIgnoringCase(scheme.utf8) {
            let rest = value.dropFirst(scheme.utf8.count)
            let authority = rest.prefix { ![0x2F, 0x3F, 0x23, 0x5C].contains($0) }
            let path = rest.dropFirst(authority.count)
            let isOwn =
                scheme.utf8.elementsEqual(own.scheme)
                && (withoutDefaultPort(authority, scheme).equalsIgnoringCase(own.authority)
                    || isOwnPort(of: authority, asked))
            if isOwn || host.map(authority.equalsIgnoringCase) == true {
                return visible(path) ?? value
            }
            // The client's own name for the mirror: with its scheme it means more than a path.
            if host == nil, !prefix.isEmpty, let asked, authority.equalsIgnoringCase(asked),
                let path = visible(path)
            {
                return value[..<rest.startIndex] + authority + path
            }
        }
        return value
    }

    /// The attribute Path without the prefix (RFC 6265 §5.2.4).
    func cookie(_ value: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        if prefix.isEmpty { return value }
        for attribute in value.split(separator: 0x3B).dropFirst() {
            let trimmed = attribute.drop { $0 == 0x20 || $0 == 0x09 }
            guard trimmed.startsIgnoringCase("path=".utf8),
                let path = visible(trimmed.dropFirst(5))
            else { continue }
            return value[..<(trimmed.startIndex + 5)] + path + value[attribute.endIndex...]
        }
        return value
    }

    /// What clients see of an origin's path; nil where that is nothing.
    private func visible(_ path: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard path.starts(with: prefix) else { return nil }
        let rest = path.dropFirst(prefix.count)
        switch rest.first {
        case 0x2F:
            // Browsers take a backslash for a slash.
            let second = rest.dropFirst().first
            return second == 0x2F || second == 0x5C ? nil : rest
        case nil, 0x3F, 0x23: return ArraySlice([0x2F]) + rest
        default: return nil
        }
    }

    /// The name that the origin was asked by, with the port that only the origin knows: so nginx
    /// leads from a directory's name to the directory.
    private func isOwnPort(of authority: ArraySlice<UInt8>, _ asked: ArraySlice<UInt8>?) -> Bool {
        guard host == nil, let asked, !port.isEmpty else { return false }
        let name = asked.dropLast(OriginPaths.port(asked).count)
        return authority.equalsIgnoringCase(name + port)
    }

    /// `:PORT` at the end of an authority, empty where there is none.
    private static func port(_ authority: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let digits = authority.reversed().prefix { (0x30...0x39).contains($0) }.count
        let rest = authority.dropLast(digits)
        return rest.last == 0x3A ? authority.suffix(digits + 1) : []
    }

    private func withoutDefaultPort(
        _ authority: ArraySlice<UInt8>, _ scheme: String
    ) -> ArraySlice<UInt8> {
        let port = scheme == "http://" ? ":80" : ":443"
        return authority.suffix(port.utf8.count).elementsEqual(port.utf8)
            ? authority.dropLast(port.utf8.count) : authority
    }
}

extension ArraySlice<UInt8> {
    fileprivate func equalsIgnoringCase(_ other: some Collection<UInt8>) -> Bool {
        count == other.count && startsIgnoringCase(other)
    }

    fileprivate func startsIgnoringCase(_ other: some Collection<UInt8>) -> Bool {
        starts(with: other) { $0.lowercased == $1.lowercased }
    }
}
