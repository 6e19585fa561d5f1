// Steps 4 and 7: one exchange at the relay. The request goes to the agent, the answer to the client.
//
// Called by: a worker, with the place in the mirror that the exchange takes.
// Waits for: the response, on the exchange's condition; while the request's body is still coming,
// the client's socket or the worker's doorbell; the client taking bytes, at its minimum rate.
// Every second it looks whether the client has gone and whether its key is still good.
// Hard: an answer that breaks after its head has been sent must be seen to be broken: the
// connection is reset, and a chunked body never gets its last chunk.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

struct ClientExchange: ~Copyable {
    private let relay: Relay
    private let snapshot: ConfigurationSnapshot
    private let request: MirrorRequest
    private let exchange: Exchange
    private let doorbell: Doorbell

    /// The request's body, until it has ended.
    private var upload: BodyReader?
    private var uploadRate: RateMeter
    private var response: ClientResponse
    private var responseDeadline = Deadline.distantFuture
    private var nextLook: Deadline
    /// When the head went to the agent, and when that of the answer had come.
    private let sent: Deadline
    private var answered: Deadline?
    /// Something of an answer has come, if only a 1xx head.
    private var hasAnswered = false
    private var bytesIn = 0
    private var maximumBodyBytes = Int.max
    /// How many of them the meter has seen.
    private var bytesMetered = 0

    /// How an exchange ended.
    private enum End {
        case complete
        /// The origin has switched protocols, and the client has been told.
        case upgraded
        /// The relay answers itself, where it still can.
        case answer(Answer, reason: String)
        case clientGone(StaticString)
        /// The key was revoked meanwhile.
        case revoked
    }

    /// Carries one exchange to its end. Blocks as long as it takes.
    static func run(
        _ relay: Relay, _ connection: ClientConnection, _ request: MirrorRequest,
        _ place: MirrorPlace, _ doorbell: Doorbell
    ) -> ClientWorker.Step {
        if let limit = place.session.maximumBodyBytes,
            let refusal = request.refusal(byVersion1: limit)
        {
            // Agents that could carry it are busy, or have just left.
            relay.submit(request.mirror.release(place))
            let answer = request.mirror.speaksOnlyVersion1 ? refusal : .mirrorIsFull
            return relay.answer(answer, on: connection, Asked(request), reason: refusal.detail)
        }
        let asksUpgrade = request.upgrade != nil
        let permit =
            asksUpgrade
            ? relay.upgrades.take(atMost: connection.snapshot.limits.maximumUpgrades) : nil
        if asksUpgrade, permit == nil {
            relay.submit(request.mirror.release(place))
            return relay.answer(
                .tooManyUpgrades, on: connection, Asked(request), reason: "too many upgrades")
        }
        let sent = Deadline.now
        guard
            let exchange = place.session.open(
                request: request.forwarded(by: connection),
                ends: !request.hasBody && !asksUpgrade, permit: permit)
        else {
            relay.submit(request.mirror.release(place))
            // Nothing has been sent: it can go to another agent, whatever it asks.
            if let step = askAnother(relay, connection, request, place, doorbell) { return step }
            return relay.answer(
                .noAgent, on: connection, Asked(request), reason: "the session has just ended")
        }
        relay.metrics.exchangesInFlight.add()
        var running = ClientExchange(
            relay, connection.snapshot, request, exchange, doorbell, sent: sent)
        running.maximumBodyBytes = place.session.maximumBodyBytes ?? .max
        let end = running.carry(connection)
        if case .answer = end, running.isRepeatable,
            let step = askAnother(relay, connection, request, place, doorbell)
        {
            relay.metrics.exchangesInFlight.subtract()
            return step
        }
        let step = running.finish(connection, end)
        // An upgraded one goes on in a thread of its own.
        if case .upgrade = step { return step }
        relay.metrics.exchangesInFlight.subtract()
        return step
    }

    /// Whether the session was lost before a byte of the answer had come, with a request that may
    /// be sent twice (RFC 9110 §9.2.2).
    private var isRepeatable: Bool {
        exchange.isLost && !hasAnswered && !request.hasBody && request.head.methodIsIdempotent
    }

    /// Sends a request whose session was lost to another agent. Once: a request that kills agents
    /// must not kill all of them.
    ///
    /// - Returns: nil where it was sent again before, or no agent is left.
    private static func askAnother(
        _ relay: Relay, _ connection: ClientConnection, _ request: MirrorRequest,
        _ lost: MirrorPlace, _ doorbell: Doorbell
    ) -> ClientWorker.Step? {
        if request.isRepeated { return nil }
        let request = request.repeated()
        let place: MirrorPlace?
        switch request.mirror.admit(insteadOf: lost) {
        case .absent, .full: return nil
        case .busy: place = nil
        case .granted(let free): place = free
        }
        relay.metrics.repeatedRequests.add()
        relay.journal.info("session lost, asking another agent") {
            $0.field("MIRROR", request.mirror.id.text)
            $0.field("REQUEST_ID", request.id)
        }
        if let place { return run(relay, connection, request, place, doorbell) }
        connection.phase = .waiting(request)
        return .wait(request.mirror)
    }

    private init(
        _ relay: Relay, _ snapshot: ConfigurationSnapshot, _ request: MirrorRequest,
        _ exchange: Exchange, _ doorbell: Doorbell, sent: Deadline
    ) {
        self.relay = relay
        self.sent = sent
        self.snapshot = snapshot
        self.request = request
        self.exchange = exchange
        self.doorbell = doorbell
        uploadRate = RateMeter(snapshot.limits)
        response = ClientResponse(RateMeter(snapshot.limits))
        nextLook = sent + 1_000_000_000
        if request.hasBody {
            upload = BodyReader(request.framing, maximumTrailerBytes: 8 * 1024)
        } else {
            responseDeadline = sent + snapshot.limits.responseTimeout.nanoseconds
        }
    }

    // MARK: - The loop

    private mutating func carry(_ connection: ClientConnection) -> End {
        while true {
            do throws(ClientFailure) {
                while let arrival = exchange.take() {
                    if let end = try pass(arrival, connection) { return end }
                }
                try response.flush(to: connection.stream)
                if upload != nil {
                    if let end = try sendBody(connection) { return end }
                } else if let arrival = exchange.take(until: min(nextLook, headDeadline)) {
                    if let end = try pass(arrival, connection) { return end }
                } else if let reset = exchange.cutAndTaken {
                    // The agent had ended its answer before the answer was whole.
                    return .answer(Answer(reset), reason: reset.reason)
                }
            } catch {
                switch error {
                case .gone(let reason): return .clientGone(reason)
                case .tooSlow:
                    relay.metrics.reached(.minimumRate)
                    return .clientGone("the client takes the answer too slowly")
                case .brokenAnswer(let reason):
                    return .answer(Answer(Reset(.httpProtocolError)), reason: reason)
                }
            }
            if let end = look(connection) { return end }
        }
    }

    private var headDeadline: Deadline { response.hasBegun ? .distantFuture : responseDeadline }

    /// - Returns: the end, where this arrival is it.
    private mutating func pass(
        _ arrival: Arriving, _ connection: ClientConnection
    ) throws(ClientFailure) -> End? {
        if case .reset(let reset) = arrival {
            return .answer(Answer(reset), reason: reset.reason)
        }
        hasAnswered = true
        try response.write(
            arrival, of: request, isLast: upload != nil || relay.isDraining,
            to: connection.stream)
        if answered == nil, response.hasBegun { answered = .now }
        if !response.isComplete { return nil }
        try response.flush(to: connection.stream)
        return response.isUpgrade ? .upgraded : .complete
    }

    /// Once a second: is the client still there, and its key still good? And is the answer overdue?
    private mutating func look(_ connection: ClientConnection) -> End? {
        let now = Deadline.now
        if now >= headDeadline {
            return .answer(.responseTimeout, reason: "no response head in time")
        }
        if now < nextLook { return nil }
        nextLook = now + 1_000_000_000
        if connection.stream.isHungUp { return .clientGone("the client closed the connection") }
        if let identity = request.credential?.identity, !relay.keys.isValid(identity) {
            return .revoked
        }
        return nil
    }

    // MARK: - The request's body

    /// Sends a piece of the body, or waits for one: for the client, for credit, or for an answer
    /// that comes early.
    private mutating func sendBody(
        _ connection: ClientConnection
    ) throws(ClientFailure) -> End? {
        guard var reader = upload else { return nil }
        let stream = connection.stream
        let wanted = min(reader.bytesLeft ?? Piece.maximumCount, Piece.maximumCount)
        let credit = exchange.takeCredit(upTo: wanted)
        if credit == 0 {
            if exchange.willPoll(doorbell, wantsCredit: true, wantsArrivals: true) {
                wait(stream, for: .hungUp, until: nextLook)
            }
            return nil
        }
        var piece = Piece(capacity: credit)
        let progress: BodyReader.Progress
        do {
            progress = try reader.read(
                from: stream, &connection.input, into: &piece, limit: credit)
        } catch {
            switch error {
            case .malformed(let error):
                return .answer(
                    Answer(status: 400, error: .httpRequestError, detail: error.rawValue),
                    reason: error.rawValue)
            case .truncated: return .clientGone("the client closed inside its request")
            case .stream: return .clientGone("the connection to the client broke")
            }
        }
        upload = reader
        exchange.returnCredit(credit - piece.count)
        bytesIn += piece.count
        if bytesIn > maximumBodyBytes {
            return .answer(.bodyTooLarge, reason: "a body too large for protocol v1")
        }
        piece.fit()
        let limit = Deadline.after(snapshot.limits.responseTimeout)
        switch progress {
        case .more: _ = exchange.send(body: piece, ends: false, until: limit)
        case .ended(let trailers):
            upload = nil
            responseDeadline = limit
            if let trailers {
                if !piece.isEmpty { _ = exchange.send(body: piece, ends: false, until: limit) }
                var lines = Piece(capacity: trailers.bytes.count)
                trailers.appendEndToEnd(to: &lines.bytes, dropping: .forbiddenInTrailers)
                exchange.send(trailers: lines)
            } else {
                _ = exchange.send(body: piece, ends: true, until: limit)
            }
        case .nothing:
            if exchange.willPoll(doorbell, wantsCredit: false, wantsArrivals: true) {
                let start = Deadline.now
                wait(stream, for: .readable, until: min(nextLook, uploadRate.deadline))
                let moved = bytesIn - bytesMetered
                bytesMetered = bytesIn
                if !uploadRate.account(since: start, bytes: moved) {
                    return .answer(.bodyTooSlow, reason: "the client sends its body too slowly")
                }
            }
        }
        return nil
    }

    private func wait(_ stream: ByteStream, for interest: Readiness, until deadline: Deadline) {
        let ready = stream.wait(for: interest, doorbell: doorbell, until: deadline)
        exchange.didPoll()
        if ready.contains(.rung) { doorbell.clear() }
    }

    // MARK: - The end

    private func finish(_ connection: ClientConnection, _ end: End) -> ClientWorker.Step {
        var asked = Asked(request)
        asked.bytesIn = bytesIn
        asked.exchange = exchange.id
        asked.sent = sent
        asked.answered = answered
        switch end {
        case .complete:
            exchange.finish()
            relay.log(asked, connection, status: response.status, bytesOut: response.bytesOut)
            if upload != nil || response.closes { return relay.linger(connection) }
            return relay.awaitNext(connection)
        case .upgraded:
            return .upgrade(
                ClientUpgrade(relay: relay, request: request, exchange: exchange, asked: asked))
        case .answer(let answer, let reason):
            // A reset that came from the agent needs only our side's end.
            if exchange.cut == nil { exchange.reset(.cancelled, reason) }
            exchange.finish()
            if !response.hasSent {
                asked.bodyIsUnread = upload != nil
                return relay.answer(answer, on: connection, asked, reason: reason)
            }
            if let limit = answer.limit { relay.metrics.reached(limit) }
            relay.log(
                asked, connection, status: response.status, bytesOut: response.bytesOut,
                error: answer.error.proxyStatus, reason: reason)
            return .cut
        case .clientGone(let reason):
            exchange.reset(.cancelled, "\(reason)")
            // The status that nginx made known for this; nobody sees it but the log.
            relay.log(
                asked, connection, status: response.hasBegun ? response.status : 499,
                bytesOut: response.bytesOut, error: "client_gone", reason: "\(reason)")
            return .cut
        case .revoked:
            exchange.reset(.cancelled, "the client's key was revoked")
            if !response.hasSent {
                asked.bodyIsUnread = upload != nil
                return relay.answer(.noKey, on: connection, asked, reason: "key revoked")
            }
            relay.log(
                asked, connection, status: response.status, bytesOut: response.bytesOut,
                error: Answer.noKey.error.proxyStatus, reason: "key revoked")
            return .cut
        }
    }
}
