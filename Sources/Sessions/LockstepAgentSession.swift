// The thread that owns the WebSocket to a relay that speaks protocol v1, from the upgrade to the
// close: one request at a time.
//
// Called by: the agent's RelaySession, on the thread `relay-NAME`. The workers are those of v2.
// Waits for: the socket or the queue's doorbell, until the next heartbeat.
// Hard: messages have no numbers. Every request gets exactly one answer, in its turn, whatever goes
// wrong; and pings are answered at once, so the socket is read while a request runs and what has
// come too early waits here. A relay that does not wait for answers is not read any further.

import Connections
import Streams
import Threads
import Wire

/// A session. Not Sendable: its owner thread makes it and runs it.
package final class LockstepAgentSession {
    /// What came and has not had its turn.
    private enum Waiting {
        case request(Piece)
        /// A Ping that asks what has been answered.
        case barrier([UInt8])
    }

    private struct Running {
        let exchange: Exchange
        /// The request's body, on its way to the worker.
        var delivery: LockstepDelivery
        /// Of the whole answer: one without an end would keep all others waiting.
        let deadline: Deadline
        var head: ResponseHead?
        var body: [UInt8] = []
    }

    /// Bytes of requests that wait before no more are read.
    private static let maximumWaitingBytes = 1024 * 1024
    private static let maximumWaiting = 128

    private var link: LockstepLink
    private let host: [UInt8]
    private let limits: LockstepLimits
    private let observer: any SessionObserver
    private let queue: MessageQueue
    private let budget = CreditBudget()
    private var batch = RingBuffer<OutgoingMessage>()

    private var waiting = RingBuffer<Waiting>()
    private var waitingBytes = 0
    private var running: Running?
    private var lastID: UInt32 = 0
    private var isDraining = false
    private var nextHeartbeat: Deadline

    /// - Parameters:
    ///   - input: bytes that came with the upgrade's head.
    ///   - host: the Host of the origin: version 1 does not carry that of the client.
    package init(
        _ stream: sending ByteStream, _ input: InputBuffer, host: [UInt8], limits: LockstepLimits,
        observer: any SessionObserver
    ) throws(DoorbellError) {
        // The original relay reads only while it waits for an answer, so it may leave a ping
        // unanswered for ever; but its system acknowledges it.
        stream.requireAcknowledgement(
            within: limits.session.heartbeatInterval + limits.session.heartbeatTimeout)
        link = LockstepLink(
            stream, input, isAgent: true,
            maximumMessageBytes: LockstepText.maximumMessageBytes(
                bodyBytes: limits.maximumBodyBytes))
        self.host = host
        self.limits = limits
        self.observer = observer
        queue = try MessageQueue()
        nextHeartbeat = .after(limits.session.heartbeatInterval)
    }

    /// Runs the session to its end. Blocks as long as it lives.
    package func run() -> SessionEnd {
        // A v1 relay says nothing of itself.
        observer.sessionStands(
            SessionHandle(
                peer: Settings(), queue: queue, budget: budget,
                maximumBodyBytes: limits.maximumBodyBytes))
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
            if try queue.takeAll(into: &batch) { isDraining = true }
            while let message = batch.popFirst() { try take(message) }
            try link.write()
            if let running, running.deadline.hasPassed {
                try fail(
                    Reset(.httpResponseTimeout, reason: "no whole answer in time, as v1 needs"))
            }
            let isAllRead = try read()
            try beginNext()
            if Deadline.now >= nextHeartbeat {
                nextHeartbeat = .after(limits.session.heartbeatInterval)
                link.send(.ping, [])
            }
            try link.write()
            if isDraining, running == nil, waiting.isEmpty, !link.isSending, queue.closeIfEmpty() {
                throw .drained
            }
            // What has just been sent may have made way for the next.
            if running == nil, !link.isSending, !waiting.isEmpty { continue }
            if !isAllRead, mayRead { continue }
            guard queue.prepareToSleep(isBlocked: false) else { continue }
            link.wait(
                reads: mayRead, queue.doorbell,
                until: min(nextHeartbeat, running?.deadline ?? nextHeartbeat))
            queue.awake()
        }
    }

    private var mayRead: Bool {
        waitingBytes < LockstepAgentSession.maximumWaitingBytes
            && waiting.count < LockstepAgentSession.maximumWaiting
    }

    // MARK: - From the relay

    /// - Returns: whether nothing more is there now.
    private func read() throws(SessionEnd) -> Bool {
        for _ in 0..<LockstepLink.maximumEventsPerTurn {
            if !mayRead { return false }
            guard let event = try link.next() else { return true }
            switch event {
            case .message(let message):
                waitingBytes += message.bytes.count
                waiting.append(.request(message))
            case .ping(let payload):
                if payload.starts(with: LockstepText.barrier) {
                    waiting.append(.barrier(payload))
                } else {
                    link.send(.pong, payload)
                }
            case .pong: break
            case .close(let payload): throw SessionEnd(payload)
            }
        }
        return false
    }

    /// Takes what has its turn now.
    private func beginNext() throws(SessionEnd) {
        while running == nil, !link.isSending, let next = waiting.popFirst() {
            switch next {
            case .barrier(let payload): link.send(.pong, payload)
            case .request(let message):
                waitingBytes -= message.bytes.count
                try begin(message)
            }
        }
    }

    private func begin(_ message: consuming Piece) throws(SessionEnd) {
        // The limit of messages leaves room for a head: a body can be in it, and too large.
        guard let request = LockstepText.request(in: message, host: host),
            request.body.count <= limits.maximumBodyBytes
        else {
            return try link.send(text: LockstepText.answer(failure: .httpRequestError))
        }
        lastID &+= 1
        // One byte more than an answer may have, to see that it has more.
        let exchange = Exchange(
            queue: queue, budget: budget, credit: limits.maximumBodyBytes + 1)
        exchange.setID(lastID)
        let ends = request.body.isEmpty
        running = Running(
            exchange: exchange, delivery: LockstepDelivery(request.body, to: exchange),
            deadline: .after(limits.responseTimeout))
        if ends { exchange.peerSendsNothing() }
        observer.requestArrived(exchange, head: request.head, ends: ends)
        running?.delivery.go()
    }

    // MARK: - From the worker

    private func take(_ message: OutgoingMessage) throws(SessionEnd) {
        guard running?.exchange === message.exchange else { return }
        switch message.content {
        case .credit(let grant): running?.delivery.go(grant: grant)
        case .reset(let reset): try fail(reset)
        case .piece(let piece):
            switch message.type {
            case .response:
                let head: ResponseHead?
                do {
                    head = try LockstepText.answerHead(piece)
                } catch {
                    return try fail(Reset(.httpProtocolError, reason: error.reason))
                }
                if let head { running?.head = head }
            case .data:
                running?.body.append(contentsOf: piece.bytes[piece.payload])
                if running?.body.count ?? 0 > limits.maximumBodyBytes {
                    return try fail(
                        Reset(.httpProtocolError, reason: "an answer too large for protocol v1"))
                }
            default: break
            }
            if message.endsDirection { try answer() }
        }
    }

    private func answer() throws(SessionEnd) {
        guard let running = running.take() else { return }
        observer.exchangeIsOver()
        guard let head = running.head else {
            return try link.send(text: LockstepText.answer(failure: .httpProtocolError))
        }
        try link.send(text: LockstepText.answer(head, body: running.body))
    }

    /// The relay must learn of a failure too: it waits for one answer to each request.
    private func fail(_ reset: Reset) throws(SessionEnd) {
        guard let failed = running.take() else { return }
        // For a worker that goes on; the other way round it has said so itself.
        failed.exchange.deliverAndWake(.reset(reset))
        observer.exchangeIsOver()
        try link.send(text: LockstepText.answer(failure: reset.code ?? .connectionTerminated))
    }

    // MARK: - The end

    private func close(_ end: SessionEnd) {
        _ = queue.close()
        observer.sessionEnds(end)
        if let running = running.take() {
            running.exchange.deliverAndWake(
                .reset(Reset(.connectionTerminated, reason: "the session ended")))
            observer.exchangeIsOver()
        }
        link.close(end)
    }
}
