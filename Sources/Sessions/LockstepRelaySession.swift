// The thread that owns the WebSocket of an agent that speaks protocol v1, from the upgrade to the
// close: one request at a time.
//
// Called by: the relay's AgentEndpoint, on the thread `agent-NAME`. The workers are those of v2:
// what they send through the queue becomes one message here, and its answer comes back in pieces.
// Waits for: the socket or the queue's doorbell; at most for the answer that is due, or until the
// next heartbeat.
// Hard: messages have no numbers, and the original agent says nothing where its request failed. So
// each request is followed by a Ping of its own: that agent takes frames in their order, and a Pong
// before an answer means that none will come. An answer whose client has gone is awaited all the
// same, or the next client would get it.

import Connections
import Streams
import Threads
import Wire

package struct LockstepLimits: Sendable {
    package let session: SessionLimits
    /// From the request to its answer.
    package let responseTimeout: Duration
    /// Of a request or an answer; both are held whole.
    package let maximumBodyBytes: Int

    package init(session: SessionLimits, responseTimeout: Duration, maximumBodyBytes: Int) {
        self.session = session
        self.responseTimeout = responseTimeout
        self.maximumBodyBytes = maximumBodyBytes
    }
}

/// A session. Not Sendable: its owner thread makes it and runs it.
package final class LockstepRelaySession {
    /// A request that is still coming from its client.
    private struct Upload {
        let exchange: Exchange
        let head: RequestHead
        var body: [UInt8]?
    }

    /// A request that the agent has.
    private struct Running {
        /// Nil once the client has gone: the answer is thrown away.
        var exchange: Exchange?
        let methodIsHead: Bool
        let barrier: [UInt8]
        let deadline: Deadline
    }

    /// The original agent gives up at the tenth failure on one connection.
    private static let maximumFailures = 9

    private var link: LockstepLink
    private let limits: LockstepLimits
    private let observer: any SessionObserver
    private let queue: MessageQueue
    private let budget = CreditBudget()
    private var batch = RingBuffer<OutgoingMessage>()

    // At most one of the two.
    private var upload: Upload?
    private var running: Running?
    /// Answers that wait for their clients to take them.
    private var deliveries: [LockstepDelivery] = []
    /// An exchange is over but for such an answer: the next one waits, since they fill the memory.
    private var owesPlace = false
    private var lastID: UInt32 = 0
    private var failures = 0
    private var isDraining = false

    private var nextHeartbeat: Deadline
    private var answerDeadline = Deadline.distantFuture

    /// - Parameter input: bytes that came with the upgrade's head.
    package init(
        _ stream: sending ByteStream, _ input: InputBuffer, limits: LockstepLimits,
        observer: any SessionObserver
    ) throws(DoorbellError) {
        link = LockstepLink(
            stream, input, isAgent: false,
            maximumMessageBytes: LockstepText.maximumMessageBytes(
                bodyBytes: limits.maximumBodyBytes))
        self.limits = limits
        self.observer = observer
        queue = try MessageQueue()
        nextHeartbeat = .after(limits.session.heartbeatInterval)
    }

    /// Runs the session to its end. Blocks as long as it lives, and as long as clients take the
    /// answers that had come before.
    package func run() -> SessionEnd {
        // A v1 agent says nothing of itself. The credit is what a body may have, and one byte more
        // to see that it has more.
        let peer = Settings(maximumExchanges: 1, initialCredit: limits.maximumBodyBytes + 1)
        observer.sessionStands(
            SessionHandle(
                peer: peer, queue: queue, budget: budget, maximumBodyBytes: limits.maximumBodyBytes)
        )
        let end: SessionEnd
        do {
            try loop()
        } catch {
            end = link.lastWord(after: error)
        }
        close(end)
        return end
    }

    /// - Throws: always, in the end.
    private func loop() throws(SessionEnd) -> Never {
        while true {
            try takeMessages()
            try link.write()
            let isAllRead = try read()
            try watch()
            try link.write()
            if isDrained { throw .stopped }
            if !isAllRead { continue }
            guard queue.prepareToSleep(isBlocked: false) else { continue }
            link.wait(
                queue.doorbell, until: running?.deadline ?? min(nextHeartbeat, answerDeadline))
            queue.awake()
        }
    }

    private var isDrained: Bool {
        isDraining && upload == nil && running == nil && deliveries.isEmpty && queue.closeIfEmpty()
    }

    // MARK: - From the workers

    private func takeMessages() throws(SessionEnd) {
        if try queue.takeAll(into: &batch) { isDraining = true }
        while let message = batch.popFirst() { try take(message) }
    }

    private func take(_ message: OutgoingMessage) throws(SessionEnd) {
        switch (message.type, message.content) {
        case (.request, .piece(let head)):
            try begin(message.exchange, head, ends: message.endsDirection)
        case (.data, .piece(let piece)):
            guard upload?.exchange === message.exchange else { return }
            if upload?.body == nil { upload?.body = [] }
            upload?.body?.append(contentsOf: piece.bytes[piece.payload])
            if message.endsDirection { try ask() }
        case (.trailers, _):
            // Version 1 has no place for them.
            if upload?.exchange === message.exchange { try ask() }
        case (.credit, .credit(let grant)): deliver(to: message.exchange, grant)
        case (.reset, _): cancel(message.exchange)
        default: break
        }
    }

    private func begin(_ exchange: Exchange, _ piece: Piece, ends: Bool) throws(SessionEnd) {
        lastID &+= 1
        exchange.setID(lastID)
        let head: RequestHead
        do {
            head = try LockstepText.requestHead(piece)
        } catch {
            return cutUnopened(exchange, Reset(.httpRequestError, reason: error.reason))
        }
        if upload != nil || running != nil {
            return cutUnopened(
                exchange, Reset(.connectionLimitReached, reason: "more than one exchange"))
        }
        upload = Upload(exchange: exchange, head: head)
        if ends { return try ask() }
        // The body is wanted before the agent can be asked for anything (RFC 9110 §10.1.1).
        if head.fields.contains(.expect, token: "100-continue") {
            exchange.deliverAndWake(
                .head(Piece("HTTP/1.1 100 Continue\r\n\r\n".utf8), ends: false))
        }
    }

    /// Sends the request that is complete now.
    private func ask() throws(SessionEnd) {
        guard let upload = upload.take() else { return }
        let barrier = LockstepText.barrier + Array("\(upload.exchange.id)".utf8)
        running = Running(
            exchange: upload.exchange, methodIsHead: upload.head.methodIs("HEAD"),
            barrier: barrier, deadline: .after(limits.responseTimeout))
        try link.send(text: LockstepText.request(upload.head, body: upload.body))
        link.send(.ping, barrier)
    }

    /// The client has gone, or has its answer.
    private func cancel(_ exchange: Exchange) {
        if upload?.exchange === exchange {
            upload = nil
            observer.exchangeIsOver()
        }
        if running?.exchange === exchange { running?.exchange = nil }
        deliveries.removeAll { $0.exchange === exchange }
        payPlace()
    }

    // MARK: - From the agent

    /// - Returns: whether nothing more is there now.
    private func read() throws(SessionEnd) -> Bool {
        for _ in 0..<LockstepLink.maximumEventsPerTurn {
            guard let event = try link.next() else { return true }
            answerDeadline = .distantFuture
            switch event {
            case .message(let message): try answer(message)
            case .ping(let payload): link.send(.pong, payload)
            case .pong(let payload): try pass(payload)
            case .close(let payload): throw SessionEnd(payload)
            }
        }
        return false
    }

    private func answer(_ message: consuming Piece) throws(SessionEnd) {
        guard let running, !link.isSending else {
            throw .protocolError("an answer that nobody asked for")
        }
        do {
            let (head, body) = try LockstepText.answer(
                in: message, methodIsHead: running.methodIsHead,
                maximumBodyBytes: limits.maximumBodyBytes)
            finishRunning()
            if let exchange = running.exchange {
                exchange.deliverAndWake(.head(head, ends: body.isEmpty))
                deliveries.append(LockstepDelivery(body, to: exchange))
                deliver(to: exchange, 0)
            }
            owesPlace = true
            payPlace()
        } catch {
            switch error {
            case .reset(let reset):
                tell(reset)
                finishRunning()
                observer.exchangeIsOver()
            case .protocolError(let reason):
                tell(Reset(.httpProtocolError, reason: reason))
                throw .protocolError(reason)
            }
        }
    }

    /// - Throws: `.recycled` where the agent would not live through another failure.
    private func pass(_ barrier: [UInt8]) throws(SessionEnd) {
        guard running?.barrier == barrier, !link.isSending else { return }
        tell(Reset(.connectionTerminated, reason: "the agent's request to the origin failed"))
        failures += 1
        if failures == LockstepRelaySession.maximumFailures { throw .recycled }
        finishRunning()
        observer.exchangeIsOver()
    }

    /// Cuts the running exchange. Its place stays taken: whoever got it while the session is ending
    /// would have asked in vain.
    private func tell(_ reset: Reset, isLoss: Bool = false) {
        running?.exchange?.deliverAndWake(.reset(reset), isLoss: isLoss)
        running?.exchange = nil
    }

    private func finishRunning() {
        running = nil
        nextHeartbeat = .after(limits.session.heartbeatInterval)
    }

    // MARK: - To the clients

    private func deliver(to exchange: Exchange, _ grant: Int) {
        guard let index = deliveries.firstIndex(where: { $0.exchange === exchange }) else { return }
        deliveries[index].go(grant: grant)
        if deliveries[index].left == 0 { deliveries.remove(at: index) }
        payPlace()
    }

    /// A slow client does not keep the others from the agent, while its answer is not too large.
    private func payPlace() {
        let held = deliveries.reduce(0) { $0 + $1.left }
        if owesPlace, held <= limits.maximumBodyBytes {
            owesPlace = false
            observer.exchangeIsOver()
        }
    }

    // MARK: - Deadlines and the end

    /// Stages a Ping when one is due. While a request runs none is answered, and none is needed.
    private func watch() throws(SessionEnd) {
        let now = Deadline.now
        if let running {
            answerDeadline = .distantFuture
            if now < running.deadline { return }
            tell(Reset(.httpResponseTimeout, reason: "no answer from the agent in time"))
            throw .unanswered
        }
        if now >= answerDeadline { throw .silent }
        if now >= nextHeartbeat {
            nextHeartbeat = now + limits.session.heartbeatInterval.nanoseconds
            answerDeadline = min(
                answerDeadline, now + limits.session.heartbeatTimeout.nanoseconds)
            link.send(.ping, [])
        }
    }

    private func close(_ end: SessionEnd) {
        queue.refuseRequests()
        observer.sessionEnds(end)
        let reset = Reset(.connectionTerminated, reason: "the session ended")
        if let upload = upload.take() { cutUnopened(upload.exchange, reset, isLoss: true) }
        if running != nil {
            tell(reset, isLoss: true)
            running = nil
            observer.exchangeIsOver()
        }
        link.close(end)
        deliverRest()
        var unsent = queue.close()
        for delivery in deliveries { delivery.exchange.deliverAndWake(.reset(reset)) }
        deliveries = []
        payPlace()
        while let message = batch.popFirst() { cutUnopened(message, reset) }
        while let message = unsent.popFirst() { cutUnopened(message, reset) }
    }

    /// Blocks until the clients have taken the answers that came whole, or gone.
    private func deliverRest() {
        while !deliveries.isEmpty {
            do {
                _ = try queue.takeAll(into: &batch)
            } catch {
                return
            }
            while let message = batch.popFirst() {
                switch message.content {
                case .credit(let grant): deliver(to: message.exchange, grant)
                case .reset: cancel(message.exchange)
                case .piece:
                    cutUnopened(
                        message, Reset(.connectionTerminated, reason: "the session ended"))
                }
            }
            if deliveries.isEmpty { return }
            guard queue.prepareToSleep(isBlocked: false) else { continue }
            _ = poll(-1, for: [], doorbell: queue.doorbell, until: .after(seconds: 60))
            queue.doorbell.clear()
            queue.awake()
        }
    }

    private func cutUnopened(_ message: OutgoingMessage, _ reset: Reset) {
        if message.type == .request { cutUnopened(message.exchange, reset, isLoss: true) }
    }

    private func cutUnopened(_ exchange: Exchange, _ reset: Reset, isLoss: Bool = false) {
        exchange.deliverAndWake(.reset(reset), isLoss: isLoss)
        observer.exchangeIsOver()
    }
}
