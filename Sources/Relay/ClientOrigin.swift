// Who asks, and what for, as far as it can be believed: the client behind the proxies.
//
// Called by: the workers, once for each request.
// Waits for: nothing.
// Hard: origins and limits act on this address. A field is believed only from a peer that the
// operator trusts, and the list of addresses only as far to the left as trusted proxies have
// written it: what stands before that was sent by somebody else.

import Program
import Wire

/// The proxies whose word about their clients is believed.
package struct TrustedProxies: Sendable, Equatable {
    package var ranges: [AddressRange] = []
    /// Whoever connects to a unix socket.
    package var includesUnix = false

    package var isEmpty: Bool { ranges.isEmpty && !includesUnix }

    /// Whether a peer is one of them; its address in figures, or `unix`.
    func contains(_ peer: String) -> Bool {
        peer == ClientOrigin.unixPeer ? includesUnix : ranges.contains { $0.contains(peer) }
    }
}

struct ClientOrigin: Sendable {
    /// How the peer of a unix socket is called.
    static let unixPeer = "unix"
    /// More proxies than stand in any row: what comes before them is not looked at.
    private static let maximumProxies = 10
    private static let maximumPrefixBytes = 256

    /// The client's address in figures. Log lines name it.
    private(set) var address: String
    /// The same, for the limits of each address.
    private(set) var network: ClientNetwork
    /// The trusted proxies between, the first one nearest to the client.
    private(set) var proxies: [String] = []
    /// Whether the peer's word is believed.
    let isTrusted: Bool
    /// Whether the client spoke TLS to the first of them.
    private(set) var isSecure: Bool
    /// The host that the client asked, where a proxy has named it; else it is that of the request.
    private(set) var host: ArraySlice<UInt8>?
    /// The path of the proxy under which it serves this relay; empty: none.
    private(set) var prefix: ArraySlice<UInt8> = []

    /// The peer itself.
    init(_ connection: ClientConnection) {
        address = connection.peerAddress
        network = connection.peerNetwork
        isTrusted = connection.isTrusted
        isSecure = connection.stream.isEncrypted
    }

    /// The client of a request.
    init(_ connection: ClientConnection, _ fields: Fields, _ trusted: TrustedProxies) {
        self.init(connection)
        if !isTrusted { return }
        follow(fields, trusted)
        // Each of these is set by the proxy next to us, once. Anything else is not its own.
        if let scheme = ClientOrigin.only(.xForwardedProto, in: fields) {
            let scheme = String(decoding: scheme.prefix(8), as: UTF8.self).lowercased()
            if scheme == "https" || scheme == "http" { isSecure = scheme == "https" }
        }
        if let host = ClientOrigin.only(.xForwardedHost, in: fields), isAuthority(host) {
            self.host = host
        }
        if let prefix = ClientOrigin.only(.xForwardedPrefix, in: fields) {
            self.prefix = ClientOrigin.path(prefix)
        }
    }

    /// The client and the proxies, as fields name them: who has no address is unknown (RFC 7239 §6).
    var hops: [String] {
        (address == ClientOrigin.unixPeer ? ["unknown"] : [address]) + proxies
    }

    /// Walks X-Forwarded-For from the right, as long as trusted proxies have written it.
    private mutating func follow(_ fields: Fields, _ trusted: TrustedProxies) {
        for line in fields.lines.reversed() where line.id == .xForwardedFor {
            let elements = fields.bytes[line.value].split(
                separator: 0x2C, omittingEmptySubsequences: false)
            for element in elements.reversed() {
                // Not an address: who wrote it did not know, or did not say, who asked.
                guard proxies.count < ClientOrigin.maximumProxies,
                    let before = IPAddress(element: ClientOrigin.trimmed(element))
                else { return }
                if address != ClientOrigin.unixPeer { proxies.insert(address, at: 0) }
                address = before.description
                network = ClientNetwork(before)
                if !trusted.contains(address) { return }
            }
        }
    }

    private static func trimmed(_ element: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
        var element = element.drop(while: isBlank)
        while let last = element.last, isBlank(last) { element.removeLast() }
        return element
    }

    /// The value of a field that stands once; a list is not once.
    private static func only(_ name: FieldName, in fields: Fields) -> ArraySlice<UInt8>? {
        fields.count(name) == 1 ? fields.value(name) : nil
    }

    /// A path of plain characters without its last slash; else nothing.
    private static func path(_ value: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
        var path = value
        while path.last == 0x2F { path.removeLast() }
        let isPlain = path.allSatisfy { byte in
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
            // % - . / _ ~
            case 0x25, 0x2D, 0x2E, 0x2F, 0x5F, 0x7E: true
            default: false
            }
        }
        // Two slashes would begin the name of another host.
        guard isPlain, path.count <= maximumPrefixBytes, path.first == 0x2F,
            path.dropFirst().first != 0x2F
        else { return [] }
        return path
    }
}
