// The addresses that an operator writes: `--remote`, `--local`, `listen`.
//
// Called by: the configuration of relay and agent, at their start.
// Hard: nothing; what is not understood wholly is an error that says what would be.

/// A host and a port; the host is a name, an IPv4 address or an IPv6 address without brackets.
package struct HostPort: Hashable, Sendable, CustomStringConvertible {
    package let host: String
    package let port: Int

    package init(host: String, port: Int) {
        self.host = host
        self.port = port
    }

    /// `host:port`, an IPv6 address in brackets.
    package var description: String { "\(bracketedHost):\(port)" }

    package var bracketedHost: String { host.utf8.contains(0x3A) ? "[\(host)]" : host }

    /// Reads `host`, `host:port`, `[v6]`, `[v6]:port`; nil where it is none of these.
    ///
    /// - Parameter defaultPort: the port where none is written; nil: it must be.
    package init?(_ text: some StringProtocol, defaultPort: Int?) {
        let bytes = Array(text.utf8)
        guard bytes.span.isAuthority(bytes.indices) else { return nil }
        let isBracketed = bytes[0] == 0x5B
        let hostEnd = isBracketed ? bytes.firstIndex(of: 0x5D) : bytes.firstIndex(of: 0x3A)
        let host = isBracketed ? bytes[1..<(hostEnd ?? 1)] : bytes[..<(hostEnd ?? bytes.count)]
        if isBracketed, !host.contains(0x3A) { return nil }
        let rest = bytes[(host.endIndex + (isBracketed ? 1 : 0))...].dropFirst()
        let hasColon = host.endIndex + (isBracketed ? 1 : 0) < bytes.count
        guard let port = hasColon ? Self.port(rest) : defaultPort else { return nil }
        self.init(host: String(decoding: host, as: UTF8.self), port: port)
    }

    /// A decimal number 0...65535.
    static func port(_ bytes: ArraySlice<UInt8>) -> Int? {
        let digits = Array(bytes)
        guard let port = digits.span.decimal(digits.indices), port <= 0xFFFF else { return nil }
        return port
    }
}

/// `--remote`: `ws://host[:port]/path` or `wss://…`.
package struct RemoteURL: Hashable, Sendable, CustomStringConvertible {
    package let isSecure: Bool
    package let address: HostPort
    /// Path and query, beginning with a slash.
    package let target: String

    /// The URL in canonical form, without a default port.
    package var description: String { "\(isSecure ? "wss" : "ws")://\(hostField)\(target)" }

    /// The value of the Host field: the port only where it is not the scheme's own.
    package var hostField: String {
        address.port == (isSecure ? 443 : 80) ? address.bracketedHost : address.description
    }

    package static func parse(_ text: String) throws(TextError) -> RemoteURL {
        guard let url = SplitURL(text), url.scheme == "ws" || url.scheme == "wss" else {
            throw TextError(
                "'\(text)' is not a remote address (write wss://HOST[:PORT]/PATH or ws://…)")
        }
        let isSecure = url.scheme == "wss"
        let address = try url.address(of: text, defaultPort: isSecure ? 443 : 80)
        return RemoteURL(
            isSecure: isSecure, address: address, target: try url.target(of: text, orElse: "/"))
    }
}

/// `--local`: `http://…[/prefix]`, `https://…`, `unix:/path`, `HOST:PORT` or `PORT`.
package struct LocalURL: Hashable, Sendable, CustomStringConvertible {
    package enum Place: Hashable, Sendable {
        case tcp(HostPort)
        case unix(path: String)
    }

    package let isSecure: Bool
    package let place: Place
    /// What stands before the path of each request: empty, or beginning with a slash and not
    /// ending with one.
    package let prefix: String

    package var description: String {
        switch place {
        case .tcp: "\(isSecure ? "https" : "http")://\(hostField)\(prefix)"
        case .unix(let path): "unix:\(path)"
        }
    }

    /// The value of the Host field where it is to name the origin.
    package var hostField: String {
        guard case .tcp(let address) = place else { return "localhost" }
        return address.port == (isSecure ? 443 : 80) ? address.bracketedHost : address.description
    }

    package static func parse(_ text: String) throws(TextError) -> LocalURL {
        if text.hasPrefix("unix:") {
            let path = try SocketAddressText.path(String(text.dropFirst(5)), in: text)
            return LocalURL(isSecure: false, place: .unix(path: path), prefix: "")
        }
        if let url = SplitURL(text) {
            guard url.scheme == "http" || url.scheme == "https" else {
                throw TextError("'\(text)' has the scheme '\(url.scheme)' (only http, https, unix)")
            }
            let isSecure = url.scheme == "https"
            let address = try url.address(of: text, defaultPort: isSecure ? 443 : 80)
            var prefix = try url.target(of: text, orElse: "")
            guard !prefix.utf8.contains(0x3F) else {
                throw TextError("'\(text)' has a query (a local address may end with a path only)")
            }
            while prefix.hasSuffix("/") { prefix.removeLast() }
            return LocalURL(isSecure: isSecure, place: .tcp(address), prefix: prefix)
        }
        if let port = HostPort.port(Array(text.utf8)[...]) {
            guard port > 0 else { throw TextError("'\(text)' is not a port (1 to 65535)") }
            return LocalURL(
                isSecure: false, place: .tcp(HostPort(host: "127.0.0.1", port: port)), prefix: "")
        }
        guard let address = HostPort(text, defaultPort: nil), address.port > 0 else {
            throw TextError(
                "'\(text)' is not a local address (write http://HOST:PORT, https://…, unix:/PATH,"
                    + " HOST:PORT or PORT)")
        }
        return LocalURL(isSecure: false, place: .tcp(address), prefix: "")
    }
}

/// The address of a listener: `1.2.3.4:80`, `[::]:443`, `unix:/path`.
package enum SocketAddressText: Hashable, Sendable, CustomStringConvertible {
    case tcp(HostPort)
    case unix(path: String)

    package var description: String {
        switch self {
        case .tcp(let address): address.description
        case .unix(let path): "unix:\(path)"
        }
    }

    package static func parse(_ text: String) throws(TextError) -> SocketAddressText {
        if text.hasPrefix("unix:") {
            return .unix(path: try path(String(text.dropFirst(5)), in: text))
        }
        guard let address = HostPort(text, defaultPort: nil) else {
            throw TextError(
                "'\(text)' is not an address (write 127.0.0.1:8443, [::]:443 or unix:/PATH)")
        }
        return .tcp(address)
    }

    static func path(_ path: String, in text: String) throws(TextError) -> String {
        guard path.hasPrefix("/") else {
            throw TextError("'\(text)' needs an absolute path (write unix:/PATH)")
        }
        // unix(7): sun_path holds 108 bytes with the zero that ends it.
        guard path.utf8.count < 108 else {
            throw TextError("'\(text)' has a path of \(path.utf8.count) bytes (at most 107)")
        }
        guard !path.utf8.contains(0) else {
            throw TextError("'\(text)' has a zero byte in its path")
        }
        return path
    }
}

/// A URL cut into `scheme://authority` and the rest.
private struct SplitURL {
    let scheme: String
    private let authority: Substring
    private let rest: Substring

    init?(_ text: String) {
        guard let colon = text.firstIndex(of: ":"), text[colon...].hasPrefix("://") else {
            return nil
        }
        scheme = text[..<colon].lowercased()
        let start = text.index(colon, offsetBy: 3)
        let end = text[start...].firstIndex { "/?#".contains($0) } ?? text.endIndex
        authority = text[start..<end]
        rest = text[end...]
    }

    func address(of text: String, defaultPort: Int) throws(TextError) -> HostPort {
        guard !authority.utf8.contains(0x40) else {
            // The text may hold a password: it is not repeated.
            throw TextError("an address may not have a user in it (keys go into --apikey-file)")
        }
        guard let address = HostPort(authority, defaultPort: defaultPort), address.port > 0 else {
            throw TextError("'\(text)' has no valid host and port ('\(authority)')")
        }
        return address
    }

    /// Path and query, where the path is `path` if there is none.
    func target(of text: String, orElse path: String) throws(TextError) -> String {
        for byte in rest.utf8 where !(0x21...0x7E ~= byte) || byte == 0x23 {
            throw TextError("'\(text)' has a character in its path that must be percent-encoded")
        }
        return rest.hasPrefix("/") ? String(rest) : path + rest
    }
}
