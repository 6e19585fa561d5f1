// One end of a byte stream: a TCP connection, or the socket pair in front of a program that speaks
// TLS. Owned by one thread at a time.

import Foundation

final class Connection {
    enum State {
        case open
        case closed
        case reset
    }

    let descriptor: Int32
    private(set) var state = State.open
    /// What was read and not yet taken.
    private(set) var buffer: [UInt8] = []
    private var isClosed = false

    /// Takes over `descriptor`.
    init(_ descriptor: Int32) {
        self.descriptor = descriptor
        _ = fcntl(descriptor, F_SETFL, fcntl(descriptor, F_GETFL) | O_NONBLOCK)
        var on: Int32 = 1
        setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    }

    deinit { close() }

    /// Connects to `port` on the loopback address.
    ///
    /// - Parameter host: the last byte of the client's own address, 127.0.0.1 or another.
    static func to(
        port: Int, from host: UInt8 = 1, receiveBuffer: Int32? = nil,
        _ deadline: Deadline = .patient
    ) throws -> Connection {
        let made = closedOnExec { [socket(AF_INET, Int32(SOCK_STREAM.rawValue), 0)] }
        if host != 1, withLoopback(port: 0, host: host, { bind(made[0], $0, $1) }) != 0 {
            throw Failure("cannot bind 127.0.0.\(host)")
        }
        var size = receiveBuffer ?? 0
        if receiveBuffer != nil {
            setsockopt(
                made[0], SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
        }
        let connection = Connection(made[0])
        let result = withLoopback(port: port) { connect(made[0], $0, $1) }
        if result != 0 {
            guard errno == EINPROGRESS, connection.poll(Int16(POLLOUT), deadline) else {
                throw Failure("cannot connect to port \(port)")
            }
            var problem: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(made[0], SOL_SOCKET, SO_ERROR, &problem, &length)
            guard problem == 0 else {
                throw Failure(
                    "cannot connect to port \(port): \(String(cString: strerror(problem)))")
            }
        }
        return connection
    }

    func close() {
        guard !isClosed else { return }
        isClosed = true
        Foundation.close(descriptor)
    }

    /// Closes with a reset instead of an orderly end.
    func abort() {
        resetOnClose(descriptor)
        close()
    }

    func shutdownWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    // MARK: writing

    func write(_ text: String, _ deadline: Deadline = .patient) throws {
        try write(Array(text.utf8), deadline)
    }

    func write(_ bytes: [UInt8], _ deadline: Deadline = .patient) throws {
        let sent = try writeSome(bytes, deadline)
        guard sent == bytes.count else {
            throw Failure("wrote \(sent) of \(bytes.count) bytes before the deadline")
        }
    }

    /// Writes until all is written or `deadline` passes.
    ///
    /// - Returns: how many bytes the system took.
    func writeSome(_ bytes: [UInt8], _ deadline: Deadline) throws -> Int {
        var sent = 0
        while sent < bytes.count {
            let count = bytes.withUnsafeBytes {
                send(descriptor, $0.baseAddress! + sent, $0.count - sent, Int32(MSG_NOSIGNAL))
            }
            if count > 0 {
                sent += count
            } else if errno == EAGAIN {
                guard poll(Int16(POLLOUT), deadline) else { break }
            } else if errno != EINTR {
                throw Failure("the other end is gone: \(String(cString: strerror(errno)))")
            }
        }
        return sent
    }

    // MARK: reading

    /// Reads what is there, waiting for the first byte.
    ///
    /// - Returns: false at the end of the stream.
    func fill(_ deadline: Deadline = .patient) throws -> Bool {
        guard state == .open else { return false }
        var piece = [UInt8](repeating: 0, count: 64 * 1024)
        while true {
            let count = recv(descriptor, &piece, piece.count, 0)
            if count > 0 {
                buffer += piece[..<count]
                return true
            }
            if count == 0 {
                state = .closed
                return false
            }
            switch errno {
            case EINTR: continue
            case EAGAIN:
                guard poll(Int16(POLLIN), deadline) else {
                    throw Failure(
                        "nothing came in time; unread: \(String(decoding: buffer.prefix(300), as: UTF8.self))"
                    )
                }
            default:
                state = .reset
                return false
            }
        }
    }

    /// Takes the first `count` bytes of the buffer.
    func take(_ count: Int) -> [UInt8] {
        let taken = Array(buffer[..<count])
        buffer.removeFirst(count)
        return taken
    }

    /// Reads exactly `count` bytes, or nil where the stream ends before.
    func read(exactly count: Int, _ deadline: Deadline = .patient) throws -> [UInt8]? {
        while buffer.count < count {
            guard try fill(deadline) else { return nil }
        }
        return take(count)
    }

    /// Reads up to and with `mark`, or nil where the stream ends before.
    func read(through mark: String, _ deadline: Deadline = .patient) throws -> String? {
        let mark = Array(mark.utf8)
        var searched = 0
        while true {
            while searched + mark.count <= buffer.count {
                if buffer[searched..<(searched + mark.count)].elementsEqual(mark) {
                    return String(decoding: take(searched + mark.count), as: UTF8.self)
                }
                searched += 1
            }
            guard try fill(deadline) else { return nil }
        }
    }

    /// Reads all until the other end closes or resets.
    func readToEnd(_ deadline: Deadline = .patient) throws -> [UInt8] {
        while try fill(deadline) {}
        return take(buffer.count)
    }

    /// Reads and drops everything until the other end closes or resets.
    ///
    /// - Returns: how many bytes came.
    func drain(_ deadline: Deadline = .patient) throws -> Int {
        var total = take(buffer.count).count
        while try fill(deadline) { total += take(buffer.count).count }
        return total
    }

    /// Whether something can be read, or the end be seen, before `deadline`.
    func isReadable(_ deadline: Deadline) -> Bool { poll(Int16(POLLIN), deadline) }

    /// Waits until `count` of the connections, or a few more, have something to read.
    static func readable(
        _ count: Int, of connections: [Connection], _ deadline: Deadline = .patient
    ) throws -> [Connection] {
        var waiting = connections
        var found: [Connection] = []
        while found.count < count {
            var entries = waiting.map {
                pollfd(fd: $0.descriptor, events: Int16(POLLIN), revents: 0)
            }
            let result = Foundation.poll(
                &entries, nfds_t(entries.count), deadline.millisecondsLeft)
            guard result > 0 else {
                throw Failure("\(found.count) of \(count) connections were answered")
            }
            found += zip(waiting, entries).filter { $1.revents != 0 }.map(\.0)
            waiting = zip(waiting, entries).filter { $1.revents == 0 }.map(\.0)
        }
        return found
    }

    private func poll(_ events: Int16, _ deadline: Deadline) -> Bool {
        var entry = pollfd(fd: descriptor, events: events, revents: 0)
        while true {
            let result = Foundation.poll(&entry, 1, deadline.millisecondsLeft)
            if result > 0 { return true }
            if result == 0 || errno != EINTR { return false }
        }
    }
}

/// Makes the close of a socket a reset instead of an orderly end.
func resetOnClose(_ descriptor: Int32) {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
}

/// Calls `body` with the loopback address, or another of its network, and `port`.
func withLoopback<Result>(
    port: Int, host: UInt8 = 1, _ body: (UnsafePointer<sockaddr>, socklen_t) -> Result
) -> Result {
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(UInt16(port).bigEndian)
    address.sin_addr.s_addr = in_addr_t((0x7f00_0000 | UInt32(host)).bigEndian)
    return withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
            body($0, socklen_t(MemoryLayout<sockaddr_in>.size))
        }
    }
}
