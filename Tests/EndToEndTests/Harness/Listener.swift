// A listening socket: TCP on a free loopback port, or a unix socket.

import Foundation

final class Listener: Sendable {
    let descriptor: Int32
    let port: Int

    init(backlog: Int32 = 512) throws {
        let made = closedOnExec { [socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)] }[0]
        guard withLoopback(port: 0, { bind(made, $0, $1) }) == 0, listen(made, backlog) == 0 else {
            close(made)
            throw Failure("cannot listen: \(String(cString: strerror(errno)))")
        }
        _ = fcntl(made, F_SETFL, fcntl(made, F_GETFL) | O_NONBLOCK)
        var address = sockaddr_in()
        var length = socklen_t(MemoryLayout<sockaddr_in>.size)
        _ = withUnsafeMutablePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                getsockname(made, $0, &length)
            }
        }
        descriptor = made
        port = Int(UInt16(bigEndian: address.sin_port))
    }

    /// Listens on a unix socket, which has no port.
    init(unix path: String) throws {
        let made = closedOnExec { [socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)] }[0]
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0, listen(made, 512) == 0 else {
            close(made)
            throw Failure("cannot listen on \(path): \(String(cString: strerror(errno)))")
        }
        _ = fcntl(made, F_SETFL, fcntl(made, F_GETFL) | O_NONBLOCK)
        descriptor = made
        port = 0
    }

    /// Waits for the next connection.
    ///
    /// - Returns: nil once the listener is shut, or after `deadline`.
    func accept(_ deadline: Deadline) -> Connection? {
        while !deadline.hasPassed {
            let made = closedOnExec { [Foundation.accept(descriptor, nil, nil)] }[0]
            if made >= 0 { return Connection(made) }
            guard errno == EAGAIN || errno == EINTR || errno == ECONNABORTED else { return nil }
            var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            poll(&entry, 1, deadline.millisecondsLeft)
        }
        return nil
    }

    /// Ends `accept` on every thread. The port refuses connections from now on.
    func shut() { shutdown(descriptor, Int32(SHUT_RDWR)) }

    deinit { close(descriptor) }

    /// A port that nothing listened on a moment ago, for programs that can't choose one themselves.
    static func freePort() throws -> Int { try Listener().port }

    /// A free port that the system gives to nobody who asks for any, nor to a connection that goes
    /// out: it stays free while the program that had it is started again.
    static func lastingPort() throws -> Int {
        for _ in 0..<100 {
            let port = Int.random(in: 20_000..<30_000)
            let made = closedOnExec { [socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)] }[0]
            defer { close(made) }
            if withLoopback(port: port, { bind(made, $0, $1) }) == 0 { return port }
        }
        throw Failure("no free port")
    }
}
