// The HTTP proxy on the way to a relay: `--proxy`, or HTTPS_PROXY and NO_PROXY as curl reads them.
//
// Called by: AgentConfiguration, once, at the start.

import Program
import Streams
import Wire

/// A proxy that is asked by CONNECT: `http://[USER:PASSWORD@]HOST[:PORT]`.
package struct ProxyURL: Sendable, Equatable {
    package let address: HostPort
    /// The value of Proxy-Authorization, or nil. A secret: not for logs.
    package let authorization: [UInt8]?

    package static func parse(_ text: String) throws(TextError) -> ProxyURL {
        // The text may hold a password, so no message repeats it.
        let colon = text.firstIndex(of: ":") ?? text.endIndex
        var rest = text[...]
        if text[colon...].hasPrefix("://") {
            guard text[..<colon].lowercased() == "http" else {
                throw TextError("only proxies with the scheme 'http' are known")
            }
            rest = text[colon...].dropFirst(3)
        }
        let authority = rest.prefix { $0 != "/" }
        guard rest.dropFirst(authority.count).allSatisfy({ $0 == "/" }) else {
            throw TextError("a proxy has no path (write http://HOST:PORT)")
        }
        let at = authority.lastIndex(of: "@")
        let host = at.map { authority[authority.index(after: $0)...] } ?? authority
        guard let address = HostPort(host, defaultPort: 3128), address.port > 0 else {
            throw TextError("'\(host)' is no host and port (write http://HOST:PORT)")
        }
        guard let at else { return ProxyURL(address: address, authorization: nil) }
        guard var credentials = PercentEncoding.decode(authority[..<at].utf8) else {
            throw TextError("user and password have a broken percent-encoding")
        }
        // Without a password, too, there is a colon behind the user (RFC 7617 §2).
        if !authority[..<at].utf8.contains(0x3A) { credentials.append(0x3A) }
        return ProxyURL(
            address: address, authorization: Array("Basic ".utf8) + Cryptography.base64(credentials)
        )
    }

    /// The proxy for a relay that the environment names, or nil.
    ///
    /// HTTPS_PROXY holds for `wss:` only; the lower-case names come first, as in curl(1).
    static func fromEnvironment(
        _ environment: Environment, for remote: RemoteURL
    ) throws(StartError) -> ProxyURL? {
        guard remote.isSecure else { return nil }
        let exceptions = environment["no_proxy"] ?? environment["NO_PROXY"] ?? ""
        if isExcepted(remote.address, by: exceptions) { return nil }
        for name in ["https_proxy", "HTTPS_PROXY"] {
            guard let text = environment[name] else { continue }
            do throws(TextError) {
                return try parse(text)
            } catch {
                throw SettingValue(text, .environment(name)).error(error.message)
            }
        }
        return nil
    }

    /// Whether a list `host,.domain,*.domain,10.0.0.0/8,host:port,*` names the address.
    static func isExcepted(_ address: HostPort, by list: String) -> Bool {
        let host = address.host.lowercased()
        let isAddress = AddressRange(host) != nil
        return list.split(whereSeparator: { ", \t".contains($0) }).contains { part in
            var entry = part.lowercased()
            if entry == "*" { return true }
            if entry.hasPrefix("*.") { entry.removeFirst() }
            if AddressRange(entry)?.contains(host) == true { return true }
            if let exact = HostPort(entry, defaultPort: address.port) {
                guard exact.port == address.port else { return false }
                entry = exact.host
            }
            if entry.hasPrefix(".") { entry.removeFirst() }
            if host == entry { return true }
            return !entry.isEmpty && !isAddress && host.hasSuffix("." + entry)
        }
    }
}
