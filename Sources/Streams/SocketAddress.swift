// Where a socket listens, connects to, or is connected from.

import CLinux
import Glibc

/// A socket address as the system keeps it: IPv4, IPv6 or unix.
package struct SocketAddress: Sendable {
    var storage: sockaddr_storage
    var length: socklen_t

    /// Addresses of a host and port, in the order in which getaddrinfo(3) wants them tried.
    ///
    /// Blocks in the resolver for as long as resolv.conf(5) lets it (30 s by default); `Resolver`
    /// does the same with a deadline.
    ///
    /// - Parameter numericOnly: take an address in figures only; never ask the resolver.
    package static func resolve(
        host: String, port: UInt16, numericOnly: Bool = false
    ) throws(StreamError) -> [SocketAddress] {
        var hints = addrinfo()
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        // Not AI_ADDRCONFIG: without a network of its family it would refuse even `::1` in figures.
        hints.ai_flags = AI_NUMERICSERV | (numericOnly ? AI_NUMERICHOST : 0)
        var first: UnsafeMutablePointer<addrinfo>?
        let status = getaddrinfo(host, String(port), &hints, &first)
        if status != 0 {
            throw .nameUnknown("\(String(cString: gai_strerror(status))) ('\(host)')")
        }
        defer { freeaddrinfo(first) }
        var found: [SocketAddress] = []
        var next = first
        while let entry = next {
            found.append(SocketAddress(entry.pointee.ai_addr, entry.pointee.ai_addrlen))
            next = entry.pointee.ai_next
        }
        return found
    }

    /// A unix socket. The path has at most 107 bytes (unix(7)).
    package static func unix(path: String) throws(StreamError) -> SocketAddress {
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        let bytes = Array(path.utf8)
        let room = MemoryLayout.size(ofValue: address.sun_path)
        if bytes.isEmpty || bytes.count >= room || bytes.contains(0) {
            throw .failed(call: "unix socket path", ENAMETOOLONG)
        }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        return withUnsafePointer(to: &address) { address in
            address.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                SocketAddress($0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
    }

    /// A unix socket by its path or, behind `@`, by its name in the abstract namespace (unix(7)).
    package static func unix(pathOrName text: String) throws(StreamError) -> SocketAddress {
        var address = try unix(path: text)
        guard text.hasPrefix("@") else { return address }
        let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
        withUnsafeMutableBytes(of: &address.storage) { $0[start] = 0 }
        // The name is all that the length covers: zeros behind it would belong to it.
        address.length = socklen_t(start + text.utf8.count)
        return address
    }

    init(_ address: UnsafePointer<sockaddr>, _ length: socklen_t) {
        storage = sockaddr_storage()
        self.length = min(length, socklen_t(MemoryLayout<sockaddr_storage>.size))
        // Bounded by the line above.
        withUnsafeMutableBytes(of: &storage) {
            $0.copyMemory(from: UnsafeRawBufferPointer(start: address, count: Int(self.length)))
        }
    }

    var family: Int32 { Int32(storage.ss_family) }

    package var isUnix: Bool { family == AF_UNIX }

    func withPointer<Result>(
        _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
    ) -> Result {
        withUnsafePointer(to: storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, length) }
        }
    }

    /// The host in figures, without brackets; an IPv4 address that came through an IPv6 socket is
    /// given as IPv4. For a unix socket "unix".
    package var host: String {
        if isUnix { return "unix" }
        let name = numeric().host
        return name.hasPrefix("::ffff:") && name.contains(".") ? String(name.dropFirst(7)) : name
    }

    /// Of a unix socket; empty where it has none, as most peers.
    var path: String {
        let offset = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)!
        return withUnsafeBytes(of: storage) { bytes in
            String(decoding: bytes[offset...].prefix { $0 != 0 }, as: UTF8.self)
        }
    }

    package var port: UInt16 { isUnix ? 0 : UInt16(numeric().port) ?? 0 }

    private func numeric() -> (host: String, port: String) {
        var host = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        var port = [CChar](repeating: 0, count: Int(NI_MAXSERV))
        let status = withPointer { address, length in
            getnameinfo(
                address, length, &host, socklen_t(host.count), &port, socklen_t(port.count),
                NI_NUMERICHOST | NI_NUMERICSERV)
        }
        if status != 0 { return ("unknown", "0") }
        return (text(host), text(port))
    }

    private func text(_ characters: [CChar]) -> String {
        String(decoding: characters.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    /// `HOST:PORT`, an IPv6 host in brackets; `unix:PATH`, without a path `unix`.
    package var description: String {
        if isUnix { return path.isEmpty ? "unix" : "unix:" + path }
        let host = self.host
        return host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)"
    }

    /// The address that a socket is bound to, or its peer's.
    static func of(_ descriptor: Int32, peer: Bool) -> SocketAddress {
        var storage = sockaddr_storage()
        var length = socklen_t(MemoryLayout<sockaddr_storage>.size)
        let status = withUnsafeMutablePointer(to: &storage) { storage in
            storage.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                peer ? getpeername(descriptor, $0, &length) : getsockname(descriptor, $0, &length)
            }
        }
        // The peer may be gone already; then the address is empty and prints as unknown.
        if status != 0 { length = 0 }
        var address = SocketAddress.empty
        address.storage = storage
        address.length = length
        return address
    }

    private static var empty: SocketAddress {
        var nothing = sockaddr()
        return SocketAddress(&nothing, 0)
    }
}
