// One connected socket, plain or under TLS, as bytes in and bytes out.
//
// Called by: the one thread that owns the connection.
// Waits for: nothing in the members that say "now"; the socket, until a deadline, in the others.
// Hard: under TLS, bytes may be here that poll(2) cannot see; `wait` looks at `hasBuffered` first.

import Glibc
import Threads

/// A connection. Not Sendable: exactly one thread owns it; it moves with `sending`.
package final class ByteStream {
    private let socket: Socket
    private var tls: TLSEngine?
    private let output: OutputBuffer
    /// The peer's address in figures.
    package let peer: SocketAddress

    package init(_ socket: consuming Socket) {
        peer = SocketAddress.of(socket.descriptor, peer: true)
        output = OutputBuffer(descriptor: socket.descriptor)
        self.socket = socket
        tls = nil
    }

    /// Under TLS, as a server. The handshake is still to be done.
    package init(_ socket: consuming Socket, _ context: TLSContext) {
        peer = SocketAddress.of(socket.descriptor, peer: true)
        output = OutputBuffer(descriptor: socket.descriptor)
        tls = TLSEngine(context, descriptor: socket.descriptor, output: output)
        self.socket = socket
    }

    /// Goes on under TLS as a client: what was read before was in the clear, and nothing of it may
    /// be left.
    package func startTLS(_ context: TLSContext, host: String) {
        let engine = TLSEngine(context, descriptor: socket.descriptor, output: output)
        engine.expect(host: host)
        tls = engine
    }

    /// For poll(2) and epoll(7) only.
    package var descriptor: Int32 { socket.descriptor }

    package var isEncrypted: Bool { tls != nil }

    /// The address that the peer reached.
    package var localAddress: SocketAddress { SocketAddress.of(descriptor, peer: false) }

    // MARK: - Now

    /// Looks at up to `count` bytes that have come before TLS begins. They stay in the socket.
    ///
    /// - Returns: none where nothing is there now; nil at the peer's end.
    package func peek(_ count: Int) throws(StreamError) -> [UInt8]? {
        var bytes = [UInt8](repeating: 0, count: count)
        while true {
            let seen = recv(descriptor, &bytes, count, Int32(MSG_PEEK) | Int32(MSG_DONTWAIT))
            if seen > 0 { return Array(bytes[..<seen]) }
            if seen == 0 { return nil }
            if errno == EAGAIN { return [] }
            if errno != EINTR { throw StreamError(errno, "recv") }
        }
    }

    /// Takes the next `count` bytes, which `peek` has shown.
    package func skip(_ count: Int) {
        var bytes = [UInt8](repeating: 0, count: count)
        // They are there: this takes no fewer, and does not fail but by a signal.
        while count > 0, recv(descriptor, &bytes, count, Int32(MSG_DONTWAIT)) < 0, errno == EINTR {}
    }

    /// Goes on without TLS, where the handshake has not begun.
    package func dropTLS() { tls = nil }

    /// Goes on with the TLS handshake, as far as it goes now.
    ///
    /// - Returns: whether it is finished; else wait for the socket to be readable.
    package func handshake() throws(StreamError) -> Bool {
        guard let tls else { return true }
        let isDone: Bool
        do {
            isDone = try tls.handshake()
        } catch {
            // The alert that says why is in the output; the peer may as well have it.
            _ = try? output.send()
            throw error
        }
        // A flight of the handshake fits a fresh socket's buffer.
        if try !output.send() { throw .closed }
        return isDone
    }

    /// Reads what is there now, up to `room` bytes, behind the end of `buffer`.
    package func read(
        appendingTo buffer: inout [UInt8], room: Int
    ) throws(StreamError) -> Arrival {
        var result: Result<Arrival, StreamError> = .success(.nothing)
        buffer.append(addingCapacity: room) { out in
            out.withUnsafeMutableBufferPointer { pointer, count in
                // `addingCapacity` gives at least `room` free elements behind `count`.
                let free = UnsafeMutableRawBufferPointer(
                    rebasing: UnsafeMutableRawBufferPointer(pointer)[
                        count..<min(count + room, pointer.count)])
                do throws(StreamError) {
                    let arrival = try self.read(into: free)
                    if case .bytes(let read) = arrival { count += read }
                    result = .success(arrival)
                } catch {
                    result = .failure(error)
                }
            }
        }
        return try result.get()
    }

    private func read(into free: UnsafeMutableRawBufferPointer) throws(StreamError) -> Arrival {
        if let tls { return try tls.read(into: free) }
        while true {
            let count = recv(descriptor, free.baseAddress, free.count, Int32(MSG_DONTWAIT))
            if count > 0 { return .bytes(count) }
            if count == 0 { return .end }
            if errno == EAGAIN { return .nothing }
            if errno != EINTR { throw StreamError(errno, "recv") }
        }
    }

    /// Encrypts (or copies) a piece of `bytes` into the output. Nothing is sent yet.
    package func append(_ bytes: [UInt8], _ range: Range<Int>) throws(StreamError) {
        var failure: StreamError?
        bytes.withUnsafeBytes { all in
            // The slice checks the range.
            let piece = UnsafeRawBufferPointer(rebasing: all[range])
            do throws(StreamError) {
                if let tls { try tls.write(piece) } else { output.append(piece) }
            } catch {
                failure = error
            }
        }
        if let failure { throw failure }
    }

    package func append(_ bytes: [UInt8]) throws(StreamError) {
        try append(bytes, 0..<bytes.count)
    }

    /// Sends what the socket takes now.
    ///
    /// - Returns: whether everything has gone.
    package func send() throws(StreamError) -> Bool { try output.send() }

    /// Bytes that wait to be sent.
    package var unsent: Int { output.count }

    /// Bytes that the peer's system has not yet taken: sent or not.
    ///
    /// A send buffer of megabytes has room again only long after the peer has begun to take bytes.
    package var unacknowledged: Int {
        var count: CInt = 0
        // Not to be told of a broken connection here: the next call on it says so.
        guard ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0 else { return unsent }
        return unsent + Int(count)
    }

    /// Whether received bytes are here that poll(2) does not show.
    package var hasBuffered: Bool { tls?.hasBuffered ?? false }

    /// Whether the peer has closed, or half-closed, the connection: no more can come, except what
    /// has come already.
    package var isHungUp: Bool {
        poll(descriptor, for: .hungUp, until: .now).contains(.hungUp)
    }

    /// Whether the connection was reset, or given up by the system; seen also where nobody reads.
    package var isBroken: Bool {
        poll(descriptor, for: .broken, until: .now).contains(.broken)
    }

    /// Gives memory back before the connection rests.
    package func trim() {
        tls?.trim()
        output.trim()
    }

    /// Tells the peer in the protocol's way that nothing follows, as far as the socket takes it now.
    package func end() {
        appendEnd()
        // A peer that takes no more bytes, or has gone, learns it from the closed socket.
        _ = try? output.send()
        endWriting()
    }

    /// Breaks the connection once the peer has acknowledged nothing of what was sent for so long.
    package func requireAcknowledgement(within timeout: Duration) {
        var milliseconds = CUnsignedInt(clamping: timeout.nanoseconds / 1_000_000)
        // Not a TCP socket: a peer on the same machine does not vanish without a word.
        _ = setsockopt(
            descriptor, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT, &milliseconds,
            socklen_t(MemoryLayout<CUnsignedInt>.size))
    }

    /// Puts TLS's word that nothing follows behind the output, once. Nothing is sent yet.
    package func appendEnd() { tls?.closeNotify() }

    /// Ends our direction, once all output has gone; the peer's can still be read.
    package func endWriting() { shutdown(descriptor, Int32(SHUT_WR)) }

    /// Makes the close tell the peer that the connection broke (a reset), not that it ended.
    package func abort() { breakOnClose(true) }

    /// The same, to be taken back. A program that is killed closes its connections, too.
    package func breakOnClose(_ breaks: Bool) {
        var linger = linger(l_onoff: breaks ? 1 : 0, l_linger: 0)
        _ = setsockopt(
            descriptor, SOL_SOCKET, SO_LINGER, &linger, socklen_t(MemoryLayout<linger>.size))
    }

    // MARK: - Until a deadline

    /// Blocks until what `interest` names is possible, the doorbell rings, or `deadline` passes.
    ///
    /// - Returns: what is ready; empty at the deadline.
    package func wait(
        for interest: Readiness, doorbell: Doorbell? = nil, until deadline: Deadline
    ) -> Readiness {
        if interest.contains(.readable), hasBuffered { return .readable }
        return poll(descriptor, for: interest, doorbell: doorbell, until: deadline)
    }

    /// Blocks until bytes are there or the peer has ended; see `read(appendingTo:room:)`.
    ///
    /// - Throws: `.timedOut` at the deadline.
    package func read(
        appendingTo buffer: inout [UInt8], room: Int, until deadline: Deadline
    ) throws(StreamError) -> Arrival {
        while true {
            let arrival = try read(appendingTo: &buffer, room: room)
            if arrival != .nothing { return arrival }
            if wait(for: .readable, until: deadline).isEmpty { throw .timedOut }
        }
    }

    /// Blocks until all output has gone.
    ///
    /// - Throws: `.timedOut` at the deadline.
    package func send(until deadline: Deadline) throws(StreamError) {
        while try !send() {
            if wait(for: .writable, until: deadline).isEmpty { throw .timedOut }
        }
    }

    /// Blocks until the TLS handshake is done.
    package func handshake(until deadline: Deadline) throws(StreamError) {
        while try !handshake() {
            if wait(for: .readable, until: deadline).isEmpty { throw .timedOut }
        }
    }
}
