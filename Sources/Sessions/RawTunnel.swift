// The raw bytes of an upgraded exchange: between a socket and the exchange, both ways at once.
//
// Called by: a thread of its own at each end, the relay's with the client's socket, the agent's
// with the origin's.
// Waits for: the socket or the doorbell, for a second at a time; room in the session's queue.
// There is no limit on the whole: an upgraded connection may be silent for days.
// Hard: how it ends. Each direction ends by itself (END, and the end of the stream), what breaks
// breaks both (RESET, and a reset of the connection); and a peer that ends its own direction and
// takes no more of ours has closed in order, which on TCP looks like a break.

import Connections
import Streams
import Threads
import Wire

/// A tunnel. It lives on the thread that owns the socket.
package struct RawTunnel {
    package enum End: Error {
        /// Both directions have ended; or one has, and who ended it takes no more of the other.
        case complete
        /// The other side cut it, or the session was lost.
        case cut(Reset)
        /// This socket broke.
        case broken(StreamError)
        /// `watch` wanted it so: why.
        case stopped(String)
    }

    private let exchange: Exchange
    private let doorbell: Doorbell
    private let stream: ByteStream
    /// Bytes that came with the head, before anything that is read from now on.
    private var input: InputBuffer
    /// Asked once a second: why to stop, if there is a reason.
    private let watch: () -> String?

    /// The socket's peer has ended its direction, and END has been sent.
    private var socketEnded = false
    /// The other side has ended its direction; the socket's is ended behind what is unsent.
    private var peerEnded = false
    private var socketIsTold = false
    private var isIdle = false
    private var nextLook = Deadline.after(seconds: 1)
    /// Taken from the socket.
    package private(set) var bytesTaken = 0
    /// Given to the socket.
    package private(set) var bytesGiven = 0

    /// Pieces in one direction before the other one has its turn.
    private static let piecesPerTurn = 4
    /// For room in the session's queue. A session that is alive moves sooner: see its heartbeat.
    private static let sendTimeout = Duration.seconds(120)

    package init(
        _ exchange: Exchange, _ doorbell: Doorbell, _ stream: ByteStream, _ input: InputBuffer,
        watch: @escaping () -> String? = { nil }
    ) {
        self.exchange = exchange
        self.doorbell = doorbell
        self.stream = stream
        self.input = input
        self.watch = watch
    }

    /// Carries bytes until the tunnel ends. Blocks that long.
    ///
    /// The exchange is over then, and the socket is to be closed: unless the end was in order, that
    /// resets the connection.
    ///
    /// - Parameter broken: for the other side, where this socket breaks.
    package mutating func run(broken code: ResetCode) -> End {
        // Until it ends in order: also where this program is killed.
        stream.breakOnClose(true)
        let end: End
        do {
            try loop()
        } catch {
            end = error
        }
        switch end {
        case .complete:
            stream.breakOnClose(false)
            exchange.finish()
        case .cut:
            // What came before the break goes before it, where there is room.
            _ = try? stream.send()
            exchange.finish()
        case .broken(let error): exchange.reset(code, error.description)
        case .stopped(let reason): exchange.reset(.cancelled, reason)
        }
        return end
    }

    /// - Throws: always, in the end.
    private mutating func loop() throws(End) -> Never {
        while true {
            if let reset = exchange.cut { try leave(reset) }
            // Reading first: who has said its last word and closed must not lose it by our writing.
            let hasTaken = try takeFromSocket()
            let hasGiven = try giveToSocket()
            if socketEnded, socketIsTold { throw .complete }
            if !hasTaken, !hasGiven { wait() } else { isIdle = false }
            try look()
        }
    }

    // MARK: - From the socket

    /// Passes on what the socket has, as far as there is credit.
    ///
    /// - Returns: whether anything moved.
    private mutating func takeFromSocket() throws(End) -> Bool {
        var hasMoved = false
        for _ in 0..<RawTunnel.piecesPerTurn where !socketEnded {
            let credit = exchange.takeCredit(upTo: Piece.maximumCount)
            if credit == 0 { return hasMoved }
            var piece = Piece(capacity: credit)
            let arrival = try read(into: &piece, room: credit)
            exchange.returnCredit(credit - piece.count)
            if arrival == .nothing { return hasMoved }
            socketEnded = arrival == .end
            bytesTaken += piece.count
            piece.fit()
            let deadline = Deadline.after(RawTunnel.sendTimeout)
            if !exchange.send(body: piece, ends: socketEnded, until: deadline) {
                throw .cut(
                    exchange.cut ?? Reset(.connectionTerminated, reason: "the session ended"))
            }
            hasMoved = true
        }
        return hasMoved
    }

    private mutating func read(into piece: inout Piece, room: Int) throws(End) -> Arrival {
        if !input.isEmpty {
            let start = input.range.lowerBound
            let end = min(start + room, input.range.upperBound)
            piece.bytes.append(contentsOf: input.bytes[start..<end])
            input.consume(to: end)
            return .bytes(piece.count)
        }
        do {
            return try stream.read(appendingTo: &piece.bytes, room: room)
        } catch {
            throw self.end(by: error)
        }
    }

    // MARK: - To the socket

    /// Writes what has arrived, as far as the socket takes it.
    ///
    /// - Returns: whether anything moved.
    private mutating func giveToSocket() throws(End) -> Bool {
        var hasMoved = false
        for _ in 0..<RawTunnel.piecesPerTurn where !socketIsTold {
            if try !send() { return hasMoved }
            if peerEnded {
                stream.endWriting()
                socketIsTold = true
                return true
            }
            guard let arrival = exchange.take() else { return hasMoved }
            try stage(arrival)
            hasMoved = true
        }
        return hasMoved
    }

    private func send() throws(End) -> Bool {
        do {
            return try stream.send()
        } catch {
            throw end(by: error)
        }
    }

    private mutating func stage(_ arrival: Arriving) throws(End) {
        switch arrival {
        case .body(let piece, let ends):
            bytesGiven += piece.count
            do {
                try stream.append(piece.bytes, piece.payload)
            } catch {
                throw end(by: error)
            }
            peerEnded = ends
            if ends { stream.appendEnd() }
        case .reset(let reset): throw .cut(reset)
        case .head, .trailers:
            let reset = Reset(.httpProtocolError, reason: "a head or trailers among raw bytes")
            exchange.reset(.httpProtocolError, reset.reason)
            throw .cut(reset)
        }
    }

    // MARK: - Waiting and the end

    private mutating func wait() {
        let hasCredit = exchange.hasCredit
        var interest: Readiness = !socketEnded && hasCredit ? .readable : []
        if stream.unsent > 0 { interest.insert(.writable) }
        guard
            exchange.willPoll(
                doorbell, wantsCredit: !socketEnded && !hasCredit,
                wantsArrivals: stream.unsent == 0 && !peerEnded)
        else { return }
        let ready = stream.wait(for: interest, doorbell: doorbell, until: nextLook)
        exchange.didPoll()
        if ready.contains(.rung) { doorbell.clear() }
    }

    /// Once a second: is there a reason to stop, and has the socket broken where nobody reads?
    private mutating func look() throws(End) {
        if !nextLook.hasPassed { return }
        nextLook = .after(seconds: 1)
        if let reason = watch() { throw .stopped(reason) }
        if stream.isBroken { throw end(by: .closed) }
        if isIdle {
            stream.trim()
            input.trim()
        }
        isIdle = true
    }

    /// The exchange was cut. What the other side sent before it ended its own direction is whole,
    /// and still reaches the socket; without that end the connection is to be seen to break.
    private mutating func leave(_ reset: Reset) throws(End) -> Never {
        // No more than the credit that was granted.
        while let arrival = exchange.take() { try stage(arrival) }
        if !peerEnded { throw .cut(reset) }
        while try !send() {
            _ = stream.wait(for: .writable, until: nextLook)
            try look()
        }
        throw .complete
    }

    private func end(by error: StreamError) -> End { socketEnded ? .complete : .broken(error) }
}
