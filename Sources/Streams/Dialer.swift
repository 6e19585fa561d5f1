// Connects to a host, trying each of its addresses.

import CLinux
import Glibc
import Threads

/// Opens a TCP connection to `host`, one address after the other, until `deadline`.
///
/// Blocks for the resolver, then in poll(2) for each address. An address gets half of the time that
/// is left while others follow.
///
/// - Throws: why the last address failed; that there is no way to one only where that holds for
///   all, since a name often has addresses of a family that this machine has no network for.
package func dial(
    host: String, port: UInt16, until deadline: Deadline
) throws(StreamError) -> Socket {
    let addresses = try Resolver.system.addresses(of: host, port: port, until: deadline)
    var last = StreamError.nameUnknown("no address ('\(host)')")
    for (index, address) in addresses.enumerated() {
        let left = deadline.nanoseconds - Deadline.now.nanoseconds
        let limit = index + 1 < addresses.count ? Deadline.now + max(left / 2, 0) : deadline
        do {
            return try connect(to: address, until: limit)
        } catch {
            if case .unreachable = error, index > 0 { continue }
            last = error
        }
    }
    throw last
}

/// Opens a connection to one address. Blocks until it stands, fails, or `deadline` passes.
package func connect(
    to address: SocketAddress, until deadline: Deadline
) throws(StreamError) -> Socket {
    let descriptor = socket(
        address.family,
        Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
            | Int32(SOCK_NONBLOCK.rawValue), 0)
    if descriptor < 0 { throw StreamError(errno, "socket") }
    let socket = Socket(descriptor: descriptor)
    if !address.isUnix { socket.setOptions() }
    let status = address.withPointer { address, length in
        Glibc.connect(descriptor, address, length)
    }
    if status == 0 { return socket }
    let number = errno
    // EAGAIN: a unix socket whose backlog is full. Waiting does not help there (connect(2)).
    if number == EAGAIN { throw .refused }
    if number != EINPROGRESS && number != EINTR { throw StreamError(number, "connect") }
    if poll(descriptor, for: .writable, until: deadline).isEmpty { throw .timedOut }
    var error: Int32 = 0
    var length = socklen_t(MemoryLayout<Int32>.size)
    _ = getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &length)
    if error != 0 { throw StreamError(error, "connect") }
    return socket
}
