// A listening socket. Called by: the acceptor threads of relay and metrics.

import CLinux
import Glibc
import Threads

/// An address that cannot be listened on.
package struct ListenError: Error, Equatable {
    /// What the system said.
    package let number: Int32

    package init(number: Int32) { self.number = number }
}

/// A socket that takes connections. Thread-safe: the descriptor is set once and the kernel
/// serialises accept4(2).
package final class Listener: Sendable {
    private let descriptor: Int32
    /// The address it is bound to, with the port that the system chose where 0 was asked.
    package let address: SocketAddress
    /// The file of a unix socket that was made here.
    private let file: String?
    /// Another program has made the socket, and goes on with it when this one has ended.
    package let isPassed: Bool

    /// Binds and listens. A unix socket that is there, but on which nobody listens, is replaced.
    ///
    /// - Parameter mode: of a unix socket, who may connect; nil: as the umask has it.
    package init(_ address: SocketAddress, mode: UInt32? = nil) throws(ListenError) {
        let descriptor = socket(
            address.family,
            Int32(SOCK_STREAM.rawValue | SOCK_CLOEXEC.rawValue)
                | Int32(SOCK_NONBLOCK.rawValue), 0)
        if descriptor < 0 { throw ListenError(number: errno) }
        var on: Int32 = 1
        let size = socklen_t(MemoryLayout<Int32>.size)
        _ = setsockopt(descriptor, SOL_SOCKET, SO_REUSEADDR, &on, size)
        if address.family == AF_INET6 {
            // `[::]:443` alone serves IPv4 too, whatever net.ipv6.bindv6only says.
            var only: Int32 = 0
            _ = setsockopt(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, &only, size)
        }
        // Linux makes the file with the mode of the unbound socket, as far as the umask leaves it:
        // so it is never open to more than `mode` says.
        var isBound = mode.map { fchmod(descriptor, $0) == 0 } ?? true
        isBound = isBound && Listener.bind(descriptor, address)
        if !isBound, errno == EADDRINUSE, address.isUnix, Listener.removeStale(address) {
            isBound = Listener.bind(descriptor, address)
        }
        if isBound, let mode { isBound = chmod(address.path, mode) == 0 }
        if !isBound || listen(descriptor, 4096) != 0 {
            let number = errno
            close(descriptor)
            throw ListenError(number: number)
        }
        self.descriptor = descriptor
        self.address = address.isUnix ? address : SocketAddress.of(descriptor, peer: false)
        file = address.isUnix ? address.path : nil
        isPassed = false
    }

    /// Takes over a socket that another program has bound, and that listens.
    ///
    /// - Returns: nil where the descriptor is no such socket; it then stays as it is.
    package init?(inherited descriptor: Int32) {
        let address = SocketAddress.of(descriptor, peer: false)
        guard Listener.option(SO_TYPE, of: descriptor) == Int32(SOCK_STREAM.rawValue),
            Listener.option(SO_ACCEPTCONN, of: descriptor) == 1,
            [AF_INET, AF_INET6, AF_UNIX].contains(address.family)
        else { return nil }
        // Two threads of ours may see the same connection coming; the slower one must not block.
        let flags = fcntl(descriptor, F_GETFL)
        guard flags >= 0, fcntl(descriptor, F_SETFL, flags | O_NONBLOCK) == 0,
            fcntl(descriptor, F_SETFD, FD_CLOEXEC) == 0
        else { return nil }
        self.descriptor = descriptor
        self.address = address
        // Its file belongs to whoever made it.
        file = nil
        isPassed = true
    }

    /// Removes the file of a unix socket, where this program made it and is about to end.
    package func removeFile() {
        if let file { unlink(file) }
    }

    /// Refuses connections from now on. On a socket that was passed, they wait for the next program.
    package func refuse() {
        removeFile()
        if !isPassed { shutdown(descriptor, Int32(SHUT_RDWR)) }
    }

    private static func bind(_ descriptor: Int32, _ address: SocketAddress) -> Bool {
        address.withPointer { Glibc.bind(descriptor, $0, $1) } == 0
    }

    /// Removes the file of a unix socket that an earlier program has left behind.
    ///
    /// - Returns: false where somebody listens on it, or it is no socket. `errno` is then EADDRINUSE.
    private static func removeStale(_ address: SocketAddress) -> Bool {
        defer { errno = EADDRINUSE }
        var status = stat()
        guard lstat(address.path, &status) == 0, status.st_mode & S_IFMT == S_IFSOCK else {
            return false
        }
        do {
            _ = try connect(to: address, until: .now)
            return false
        } catch {
            return error == .refused && unlink(address.path) == 0
        }
    }

    private static func option(_ name: Int32, of descriptor: Int32) -> Int32? {
        var value: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        let status = getsockopt(descriptor, SOL_SOCKET, name, &value, &length)
        return status == 0 ? value : nil
    }

    deinit { close(descriptor) }

    /// Blocks until a connection comes, the doorbell rings, or `deadline` passes.
    ///
    /// - Returns: the connection, or nil where there is none, or where the connection was gone again
    ///   before it could be taken.
    /// - Throws: `.exhausted` where descriptors or memory have run out.
    package func accept(
        until deadline: Deadline, doorbell: Doorbell? = nil
    ) throws(StreamError) -> Socket? {
        let ready = poll(descriptor, for: .readable, doorbell: doorbell, until: deadline)
        if !ready.contains(.readable) { return nil }
        let accepted = accept4(
            descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue | SOCK_NONBLOCK.rawValue))
        if accepted < 0 {
            let error = StreamError(errno, "accept4")
            if case .exhausted = error { throw error }
            return nil
        }
        let socket = Socket(descriptor: accepted)
        if !address.isUnix { socket.setOptions() }
        return socket
    }
}
