// One exchange at the agent: the request goes to the origin, its answer comes back.
//
// Called by: a worker of the agent's pool, from the request's head to the end of both directions.
// Waits for: the origin's socket or the worker's doorbell, which rings when the relay sends more of
// the request, grants credit, or cuts the exchange. Nothing is read from the origin without credit,
// so a slow client stops its origin and nobody else.
// Hard: both directions at once. An origin may answer before the request is complete, or say 100
// first; so nothing here blocks in a write, and the loop looks at everything that can move.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

/// Holds everything but the connection, which stays with the caller: so the compiler can see that
/// it is handed to one owner at a time.
struct OriginExchange: ~Copyable, Sendable {
    private let exchange: Exchange
    private let request: OriginRequest
    private let mirror: Mirror
    private let doorbell: Doorbell
    private let limits: AgentLimits

    private var scanner = HeadScanner()
    /// The final answer's body, once its head has come.
    private var body: BodyReader?
    private var interimHeads = 0
    private var answerEnds = false
    /// The last of the answer: it goes out once the connection is in the store again, where the
    /// client's next request will look for it.
    private var last: Arriving?
    private var isKept = false
    private var requestEnds: Bool
    private var isUpgraded = false
    private var hasAnswered = false
    /// Something may be there to read: not before the first wait, and not after a read that took
    /// less than it had room for.
    private var mayRead = false
    private var deadline: Deadline

    private(set) var status = 0
    /// When the final head had come.
    private(set) var answered: Deadline?
    private(set) var bytesOut = 0
    private(set) var bytesIn = 0

    init(
        _ exchange: Exchange, _ request: OriginRequest, ends: Bool, mirror: Mirror,
        doorbell: Doorbell, limits: AgentLimits
    ) {
        self.exchange = exchange
        self.request = request
        self.mirror = mirror
        self.doorbell = doorbell
        self.limits = limits
        requestEnds = ends || request.upgrade != nil
        deadline = .after(limits.responseTimeout)
    }

    enum Outcome {
        /// The answer is complete, but for `sendLast`; whether the connection is fit for another
        /// request.
        case complete(isKept: Bool)
        /// The origin has switched protocols, and the relay has been told: raw bytes follow.
        case upgraded
        /// The relay cut the exchange, or its session is lost.
        case cut
        /// A kept connection was closed by the origin before it answered: try once on a new one.
        case stale
    }

    /// Carries the exchange to its end. Blocks as long as it takes.
    mutating func run(on connection: OriginConnection) throws(OriginError) -> Outcome {
        do {
            try append(request.bytes, to: connection)
            while true {
                if exchange.cut != nil { return .cut }
                var moved = try sendRequest(on: connection)
                if mayRead { moved = try takeAnswer(from: connection) || moved }
                if isUpgraded { return .upgraded }
                if answerEnds { return .complete(isKept: canKeep(connection)) }
                if !moved { try wait(on: connection) }
            }
        } catch {
            if isStale(connection, error) { return .stale }
            throw error
        }
    }

    private func append(
        _ bytes: [UInt8], to connection: OriginConnection
    ) throws(OriginError) {
        do {
            try connection.stream.append(bytes)
        } catch {
            throw OriginError(asking: error)
        }
    }

    private func isStale(_ connection: OriginConnection, _ error: OriginError) -> Bool {
        connection.isReused && request.isRepeatable && !hasAnswered && connection.input.isEmpty
            && error.code == .connectionTerminated
    }

    /// Everything has been said, and nothing more came than that.
    private func canKeep(_ connection: OriginConnection) -> Bool {
        isKept && requestEnds && connection.stream.unsent == 0 && connection.input.isEmpty
            && !connection.stream.hasBuffered
    }

    // MARK: - The request

    /// Sends what the relay has sent, as far as the origin takes it.
    ///
    /// - Returns: whether anything moved.
    private mutating func sendRequest(on connection: OriginConnection) throws(OriginError) -> Bool {
        var moved = false
        while try flush(connection), !requestEnds {
            guard let arrival = exchange.take() else { return moved }
            moved = true
            if case .reset = arrival { return true }
            try checkLength(of: arrival)
            let trailers = try parsedTrailers(of: arrival)
            do throws(StreamError) {
                try pass(arrival, trailers, to: connection)
            } catch {
                throw OriginError(asking: error)
            }
            if requestEnds { deadline = .after(limits.responseTimeout) }
        }
        return moved
    }

    /// A relay must not send another body than its head announced: whatever is beyond would be
    /// another request to the origin, which no policy has seen.
    private func checkLength(of arrival: Arriving) throws(OriginError) {
        guard let length = request.length else { return }
        let isRight: Bool
        switch arrival {
        case .body(let piece, let ends):
            let count = bytesIn + piece.count
            isRight = ends ? count == length : count <= length
        case .trailers: isRight = bytesIn == length
        case .head, .reset: isRight = true
        }
        if !isRight {
            throw OriginError(
                code: .httpRequestError, reason: "a body of another length than announced")
        }
    }

    /// A relay must not send more behind its trailers than they are: see `checkLength`.
    private func parsedTrailers(of arrival: Arriving) throws(OriginError) -> Fields? {
        guard case .trailers(let piece) = arrival else { return nil }
        do {
            return try Fields.parse(trailers: piece.bytes[piece.payload])
        } catch {
            throw OriginError(code: .httpRequestError, reason: error.reason)
        }
    }

    /// Puts a piece of the request into the connection's output.
    private mutating func pass(
        _ arrival: Arriving, _ trailers: Fields?, to connection: OriginConnection
    ) throws(StreamError) {
        switch arrival {
        case .body(var piece, let ends):
            bytesIn += piece.count
            requestEnds = ends
            if !request.isChunked {
                try connection.stream.append(piece.bytes, piece.payload)
            } else if !piece.isEmpty {
                let framed = piece.frameAsChunk()
                try connection.stream.append(piece.bytes, framed)
            }
            if ends, request.isChunked { try connection.stream.append(lastChunk) }
        case .trailers:
            requestEnds = true
            // With a length announced there is no place for them (RFC 9110 §6.5).
            if request.isChunked {
                var end = Array("0\r\n".utf8)
                trailers?.appendEndToEnd(to: &end, dropping: .forbiddenInTrailers)
                HeadWriter.end(to: &end)
                try connection.stream.append(end)
            }
        case .head, .reset:
            // A session lets no second head of a request through; resets are met by the caller.
            break
        }
    }

    /// - Returns: whether everything has gone.
    private func flush(_ connection: OriginConnection) throws(OriginError) -> Bool {
        if connection.stream.unsent == 0 { return true }
        do {
            return try connection.stream.send()
        } catch {
            // An origin that refuses a body may answer and close: what it said comes first.
            if !requestEnds, connection.stream.wait(for: .readable, until: .now).contains(.readable)
            {
                return false
            }
            throw OriginError(asking: error)
        }
    }

    // MARK: - The answer

    /// Takes what the origin has sent, as far as the relay has granted credit.
    ///
    /// - Returns: whether anything moved.
    private mutating func takeAnswer(
        from connection: OriginConnection
    ) throws(OriginError) -> Bool {
        if body == nil, try !takeHead(from: connection) { return false }
        if answerEnds || isUpgraded { return true }
        var moved = false
        while mayRead, let taken = try takeBody(from: connection) {
            moved = true
            if answerEnds || !taken { break }
        }
        return moved
    }

    /// - Returns: whether the final head is there.
    private mutating func takeHead(from connection: OriginConnection) throws(OriginError) -> Bool {
        while true {
            if let end = try headEnd(connection) {
                let isFinal = try passHead(of: connection, endingAt: end)
                if isFinal { return true }
                scanner = HeadScanner()
                continue
            }
            let arrival: Arrival
            do {
                arrival = try connection.input.fill(
                    from: connection.stream, room: 16 * 1024)
            } catch {
                throw OriginError(asking: error)
            }
            switch arrival {
            case .bytes: break
            case .nothing: return false
            case .end: throw OriginError(asking: .closed)
            }
        }
    }

    private mutating func headEnd(_ connection: OriginConnection) throws(OriginError) -> Int? {
        do {
            return try scanner.end(
                in: connection.input.bytes, connection.input.range, limits: limits.head)
        } catch {
            throw OriginError(error)
        }
    }

    /// - Returns: whether it was the final head.
    private mutating func passHead(
        of connection: OriginConnection, endingAt end: Int
    ) throws(OriginError) -> Bool {
        let head: ResponseHead
        let framing: BodyFraming
        do {
            head = try ResponseHead.parse(
                connection.input.bytes, connection.input.range.lowerBound..<end,
                limits: limits.head)
            framing = try head.framing(requestMethodIsHead: request.methodIsHead)
        } catch {
            throw OriginError(error)
        }
        connection.input.consume(to: end)
        isUpgraded = head.status == 101
        if isUpgraded, request.upgrade?.allows(head) != true {
            throw OriginError(code: .httpProtocolError, reason: "an upgrade that nobody asked for")
        }
        hasAnswered = true
        var piece = Piece(capacity: head.bytes.count)
        HeadWriter.statusLine(
            head.status, reason: head.bytes[head.reason], to: &piece.bytes)
        mirror.paths.append(
            head.fields, asked: request.head.fields.value(.host), to: &piece.bytes)
        head.appendUpgrade(to: &piece.bytes)
        HeadWriter.end(to: &piece.bytes)
        if head.isInterim {
            interimHeads += 1
            if interimHeads > ResponseHead.maximumInterim {
                throw OriginError(code: .httpProtocolError, reason: "too many interim heads")
            }
            // A 100 to a client that did not ask for it would only puzzle it.
            if head.status != 100 || request.head.fields.contains(.expect, token: "100-continue") {
                exchange.send(head: piece, ends: false, as: .response)
            }
            return false
        }
        status = head.status
        answered = .now
        if isUpgraded {
            exchange.send(head: piece, ends: false, as: .response)
            return true
        }
        let reader = BodyReader(framing, maximumTrailerBytes: 8 * 1024)
        body = reader
        answerEnds = reader.hasEnded
        isKept = !head.wantsClose && framing != .untilClose
        if answerEnds {
            last = .head(piece, ends: true)
        } else {
            exchange.send(head: piece, ends: false, as: .response)
        }
        return true
    }

    /// - Returns: whether a piece was passed on and more may be there; nil where nothing came.
    private mutating func takeBody(from connection: OriginConnection) throws(OriginError) -> Bool? {
        guard var reader = body else { return nil }
        let wanted = min(reader.bytesLeft ?? Piece.maximumCount, Piece.maximumCount)
        let credit = exchange.takeCredit(upTo: wanted)
        if credit == 0 { return nil }
        let isPlain = reader.bytesLeft != nil
        let expected =
            isPlain || connection.input.isEmpty
            ? credit : min(credit, max(connection.input.count, 1024))
        var piece = Piece(capacity: expected)
        let progress: BodyReader.Progress
        do {
            progress = try reader.read(
                from: connection.stream, &connection.input, into: &piece, limit: credit)
        } catch {
            // What came before the break still belongs to the client.
            if !piece.isEmpty { _ = pass(piece, ends: false) }
            throw OriginError(error)
        }
        body = reader
        mayRead =
            piece.count == credit || !connection.input.isEmpty || connection.stream.hasBuffered
        exchange.returnCredit(credit - piece.count)
        bytesOut += piece.count
        switch progress {
        case .nothing: return nil
        case .more: return pass(piece, ends: false)
        case .ended(let trailers):
            answerEnds = true
            if let trailers {
                if !piece.isEmpty, !pass(piece, ends: false) { return false }
                var lines = Piece(capacity: trailers.bytes.count)
                trailers.appendEndToEnd(to: &lines.bytes, dropping: .forbiddenInTrailers)
                last = .trailers(lines)
            } else {
                last = .body(piece, ends: true)
            }
            return true
        }
    }

    /// Sends the last of a complete answer; blocks while the session's queue is full.
    func sendLast() {
        switch last {
        case .head(let piece, let ends): exchange.send(head: piece, ends: ends, as: .response)
        case .body(let piece, let ends): _ = pass(piece, ends: ends)
        case .trailers(let lines): exchange.send(trailers: lines)
        case .reset, nil: break
        }
    }

    /// Sends a piece; blocks while the session's queue is full.
    private func pass(_ piece: Piece, ends: Bool) -> Bool {
        var piece = piece
        piece.fit()
        return exchange.send(body: piece, ends: ends, until: .after(limits.responseTimeout))
    }

    // MARK: - Waiting and the end

    /// Waits until something can move, or the exchange was cut.
    private mutating func wait(on connection: OriginConnection) throws(OriginError) {
        let isWaitingForHead = body == nil
        // Until the final head is there, and after that only while there is room for its body.
        var interest = Readiness()
        let hasCredit = isWaitingForHead || exchange.hasCredit
        if hasCredit { interest = .readable }
        if connection.stream.unsent > 0 { interest.insert(.writable) }
        let wantsCredit = !hasCredit
        // What comes behind a request for an upgrade waits for the answer.
        let wantsArrivals = connection.stream.unsent == 0 && !requestEnds
        mayRead = true
        if exchange.willPoll(doorbell, wantsCredit: wantsCredit, wantsArrivals: wantsArrivals) {
            // An answer's body may pause for ever (events); its head, or a body of the request
            // that the origin does not take, may not.
            let limit = isWaitingForHead && requestEnds ? deadline : .after(limits.responseTimeout)
            let ready = connection.stream.wait(for: interest, doorbell: doorbell, until: limit)
            exchange.didPoll()
            if ready.contains(.rung) { doorbell.clear() }
            if ready.isEmpty {
                if isWaitingForHead && requestEnds {
                    throw OriginError(
                        code: .httpResponseTimeout, reason: "no answer from the origin in time",
                        limit: .responseTimeout)
                }
                if connection.stream.unsent > 0 {
                    throw OriginError(
                        code: .httpResponseTimeout,
                        reason: "the origin takes no more of the request",
                        limit: .responseTimeout)
                }
            }
        }
    }
}
