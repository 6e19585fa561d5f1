// The thread that owns one agent's WebSocket, at either end, from the upgrade to the close.
//
// Called by: the relay's AgentEndpoint and the agent's RelaySession, each on a thread of its own.
// Waits for: the socket or the queue's doorbell, at most until the next heartbeat is due.
// Never waits for a consumer (credit bounds what can arrive), nor in a write (output collects
// until the socket takes it): two peers that both write can't block each other.
// Hard: TLS may hold bytes that poll(2) cannot see, so `wait` of the stream looks there first; and
// reading is bounded in each turn, or a peer that sends without end would starve our writes.

import Connections
import Streams
import Threads
import Wire

/// A session. Its owner thread makes it and runs it: a value, so that nobody else can reach it.
package struct Session: ~Copyable {
    package enum Role { case relay, agent }

    private struct Entry {
        let exchange: Exchange
        var ended = false
        var peerEnded: Bool
        /// It was answered by 101, and has left its place.
        var isUpgraded = false
    }

    private let stream: ByteStream
    private var reader: WebSocketReader
    private var writer: WebSocketWriter
    private let role: Role
    private let settings: Settings
    private let limits: SessionLimits
    private let observer: any SessionObserver

    private let queue: MessageQueue
    private let budget = CreditBudget()
    private var batch = RingBuffer<OutgoingMessage>()
    private var exchanges: [UInt32: Entry] = [:]
    /// How many of them have been upgraded. They may last for days, and take nobody's place.
    private var upgrades = 0
    private var lastID: UInt32
    /// The credit that each exchange begins with, once the peer's SETTINGS have come.
    private var initialCredit: Int?
    /// DRAIN is to be sent behind what is in `batch`; it has been sent.
    private var mustDrain = false
    private var isDraining = false
    private var peerIsDraining = false
    private var wakes: [(Exchange, Exchange.Wake)] = []

    private var nextHeartbeat: Deadline
    private var answerDeadline = Deadline.distantFuture

    /// Bytes read, and bytes encrypted but unsent, in one turn of the loop; of v1 sessions too.
    static let maximumReadPerTurn = 256 * 1024
    static let maximumUnsent = 128 * 1024

    /// - Parameters:
    ///   - input: bytes that came with the upgrade's head.
    ///   - settings: what this side says of itself, but for the initial credit.
    ///   - lastID: the exchange before the first one; a test begins near the end of the ids.
    package init(
        _ stream: sending ByteStream, _ input: InputBuffer, role: Role, settings: Settings,
        limits: SessionLimits, observer: any SessionObserver, lastID: UInt32 = 0
    ) throws(DoorbellError) {
        self.stream = stream
        self.lastID = lastID
        self.role = role
        var settings = settings
        settings.initialCredit = CreditBudget.initialWindow
        self.settings = settings
        self.limits = limits
        self.observer = observer
        // The WebSocket's client masks (RFC 6455 §5.3): that is the agent.
        reader = WebSocketReader(
            input, expectsMask: role == .relay,
            maximumPayload: MessageHeader.length + MessageHeader.maximumPayload)
        writer = WebSocketWriter(masks: role == .agent)
        queue = try MessageQueue()
        nextHeartbeat = .after(limits.heartbeatInterval)
    }

    /// Runs the session to its end. Blocks as long as it lives.
    ///
    /// Every exchange that still runs is cut; the connection is closed.
    package consuming func run() -> SessionEnd {
        let end: SessionEnd
        do {
            // The relay sends its own once it has the agent's and the mirror is entered: so an
            // agent that has them knows that requests can reach it.
            if role == .agent { try sendSettings() }
            try loop()
        } catch {
            end = stream.lastWord(after: error, &reader)
        }
        close(end)
        return end
    }

    private mutating func sendSettings() throws(SessionEnd) {
        var payload: [UInt8] = []
        settings.append(to: &payload)
        try send(.settings, Piece(payload))
    }

    /// Stages a message that belongs to the session itself.
    private mutating func send(_ type: MessageType, _ payload: Piece) throws(SessionEnd) {
        var payload = payload
        do {
            try writer.append(MessageHeader(type, exchange: 0), &payload, to: stream)
        } catch {
            throw .lost(error.description)
        }
    }

    /// - Throws: always, in the end.
    private mutating func loop() throws(SessionEnd) -> Never {
        let settingsDeadline = Deadline.after(limits.settingsTimeout)
        var mayRead = true
        while true {
            try write()
            if mayRead { try read() }
            try heartbeat()
            try write()
            if isDrained { throw isDraining ? .stopped : .drained }
            if initialCredit == nil, settingsDeadline.hasPassed {
                throw .protocolError("no SETTINGS in time")
            }
            let isBlocked = stream.unsent > 0
            guard queue.prepareToSleep(isBlocked: isBlocked) else {
                mayRead = true
                continue
            }
            let deadline = min(nextHeartbeat, answerDeadline)
            let ready = stream.wait(
                for: isBlocked ? .movable : .readable,
                doorbell: queue.doorbell,
                until: initialCredit == nil ? min(deadline, settingsDeadline) : deadline)
            queue.awake()
            mayRead = ready.contains(.readable)
            if ready.contains(.rung) { queue.doorbell.clear() }
        }
    }

    /// The relay closes once everything has finished: only it knows that it opens nothing more.
    private var isDrained: Bool {
        role == .relay && (isDraining || peerIsDraining) && exchanges.isEmpty && batch.isEmpty
            && queue.closeIfEmpty()
    }

    // MARK: - Writing

    /// Frames, encrypts and sends what is queued, as far as the socket takes it.
    ///
    /// - Throws: the order to close too, whether the socket takes anything or not.
    private mutating func write() throws(SessionEnd) {
        do {
            while try stream.send() {
                if batch.isEmpty, try queue.takeAll(into: &batch) { mustDrain = true }
                while stream.unsent + writer.staged < Session.maximumUnsent,
                    var message = batch.popFirst()
                {
                    try encode(&message)
                }
                // Behind the last request: none was queued after the order to drain.
                if mustDrain, batch.isEmpty { try sendDrain() }
                try writer.flush(to: stream)
                if stream.unsent == 0 { return }
            }
        } catch {
            throw SessionEnd(error)
        }
        if let end = queue.orderedEnd { throw end }
        // Only answers to pings add to what the socket does not take.
        if stream.unsent + writer.staged > 4 * Session.maximumUnsent {
            throw .protocolError("more pings than answers can be sent")
        }
    }

    private mutating func encode(_ message: inout OutgoingMessage) throws(SessionEnd) {
        let exchange = message.exchange
        if message.type == .request {
            if lastID == UInt32.max {
                // It was queued before the last id was given away.
                return cutUnopened(
                    message, Reset(.destinationUnavailable, reason: "the session has no more ids"))
            }
            lastID += 1
            exchange.setID(lastID)
            exchanges[lastID] = Entry(exchange: exchange, peerEnded: false)
            // Ids are never used twice: when they run out the session makes place for a new one.
            if lastID == UInt32.max {
                queue.refuseRequests()
                mustDrain = true
            }
        }
        let id = exchange.id
        // An exchange that is over has nothing more to say; credit for it may still be queued.
        guard exchanges[id] != nil else { return }
        // Trailers and resets end by what they are.
        let isEnd = message.endsDirection && message.type != .trailers && message.type != .reset
        let header = MessageHeader(message.type, isEnd: isEnd, exchange: id)
        do {
            switch message.content {
            case .piece(var piece):
                // The message must not hold the piece too, or framing it in place would copy it.
                message.content = .credit(0)
                if message.type == .response, piece.switchesProtocols { upgrade(id) }
                try writer.append(header, &piece, to: stream)
            case .credit(let credit):
                var piece = Piece(capacity: 4)
                Credit.append(UInt32(credit), to: &piece.bytes)
                try writer.append(header, &piece, to: stream)
            case .reset(let reset):
                var piece = Piece(capacity: 64)
                reset.append(to: &piece.bytes)
                try writer.append(header, &piece, to: stream)
            }
        } catch {
            throw .lost(error.description)
        }
        if message.endsDirection { endDirection(id, ours: true) }
    }

    private mutating func endDirection(_ id: UInt32, ours: Bool) {
        guard let index = exchanges.index(forKey: id) else { return }
        if ours {
            exchanges.values[index].ended = true
        } else {
            exchanges.values[index].peerEnded = true
        }
        if exchanges.values[index].ended && exchanges.values[index].peerEnded {
            let entry = exchanges.remove(at: index).value
            if entry.isUpgraded { upgrades -= 1 } else { observer.exchangeIsOver() }
        }
    }

    /// The answer to an exchange is 101: on the agent's side it is about to be sent, on the relay's
    /// it has come, so that the relay never counts less than the agent.
    private mutating func upgrade(_ id: UInt32) {
        guard let index = exchanges.index(forKey: id), !exchanges.values[index].isUpgraded,
            exchanges.values[index].exchange.mayBeUpgraded
        else { return }
        exchanges.values[index].isUpgraded = true
        upgrades += 1
        observer.exchangeIsUpgraded()
    }

    private mutating func sendDrain() throws(SessionEnd) {
        mustDrain = false
        if isDraining { return }
        isDraining = true
        try send(.drain, Piece(capacity: 0))
    }

    // MARK: - Reading

    private mutating func read() throws(SessionEnd) {
        var taken = 0
        defer { wakeWorkers() }
        do {
            while taken < Session.maximumReadPerTurn {
                // First what is there already: it may have come with the upgrade's head.
                while let event = try reader.next() { try receive(event) }
                if taken > 0, !stream.hasBuffered { return }
                switch try reader.fill(from: stream) {
                case .bytes(let count): taken += count
                case .nothing: return
                case .end: throw SessionEnd.lost("closed without a close frame")
                }
                answerDeadline = .distantFuture
            }
            while let event = try reader.next() { try receive(event) }
        } catch {
            throw SessionEnd(error)
        }
    }

    /// After all that was there has been delivered: a worker wakes once for a head and its body.
    private mutating func wakeWorkers() {
        for (exchange, wake) in wakes { exchange.wake(wake) }
        wakes.removeAll(keepingCapacity: true)
    }

    private mutating func receive(_ event: WebSocketEvent) throws(SessionEnd) {
        switch event {
        case .ping(let payload): writer.append(.pong, payload)
        case .pong: break
        case .close(let payload): throw SessionEnd(payload)
        case .message(let piece):
            guard
                let header = MessageHeader.parse(
                    piece.bytes, WebSocketReader.payloadStart..<Piece.headroom)
            else { throw .protocolError("message shorter than its header") }
            try receive(header, piece)
        }
    }

    private mutating func receive(_ header: MessageHeader, _ piece: Piece) throws(SessionEnd) {
        // Unknown types are from a newer version, and not for us, whatever their flags mean.
        guard let type = MessageType(rawValue: header.type) else { return }
        if header.hasUnknownFlags { throw .protocolError("unknown flags \(header.flags)") }
        if initialCredit == nil, type != .settings {
            throw .protocolError("a message before SETTINGS")
        }
        let ends = header.isEnd
        if ends, type != .request, type != .response, type != .data {
            throw .protocolError("flag END on a message that has none")
        }
        switch type {
        case .settings: try receiveSettings(piece)
        case .drain:
            peerIsDraining = true
            queue.refuseRequests()
            observer.peerDrains()
        case .request: try receiveRequest(header.exchange, piece, ends: ends)
        case .response, .data, .trailers, .credit, .reset:
            try receive(type, header.exchange, piece, ends: ends)
        }
    }

    private mutating func receiveSettings(_ piece: Piece) throws(SessionEnd) {
        // Later ones could only change what was agreed.
        if initialCredit != nil { throw .protocolError("SETTINGS twice") }
        let settings: Settings
        do {
            settings = try Settings.parse(piece.bytes, piece.payload)
        } catch {
            throw .protocolError(error.rawValue)
        }
        initialCredit = settings.initialCredit
        observer.sessionStands(
            SessionHandle(peer: settings, queue: queue, budget: budget))
        if role == .relay { try sendSettings() }
    }

    private mutating func receiveRequest(
        _ id: UInt32, _ piece: Piece, ends: Bool
    ) throws(SessionEnd) {
        guard role == .agent, let credit = initialCredit else {
            throw .protocolError("REQUEST from an agent")
        }
        if id <= lastID { throw .protocolError("exchange \(id) opened after \(lastID)") }
        if exchanges.count - upgrades >= settings.maximumExchanges {
            throw .protocolError("more than \(settings.maximumExchanges) exchanges")
        }
        lastID = id
        let exchange = Exchange(queue: queue, budget: budget, credit: credit)
        exchange.setID(id)
        exchanges[id] = Entry(exchange: exchange, peerEnded: ends)
        if ends { exchange.peerSendsNothing() }
        observer.requestArrived(exchange, head: piece, ends: ends)
    }

    private mutating func receive(
        _ type: MessageType, _ id: UInt32, _ piece: Piece, ends: Bool
    ) throws(SessionEnd) {
        guard let entry = exchanges[id] else {
            if id == 0 || id > lastID { throw .protocolError("exchange \(id) was never opened") }
            return
        }
        if entry.peerEnded, type != .credit, type != .reset {
            throw .protocolError("a message after the end of exchange \(id)")
        }
        if type == .response, role == .agent { throw .protocolError("RESPONSE from a relay") }
        let wake: Exchange.Wake?
        var endsDirection = ends
        switch type {
        case .credit:
            wake = entry.exchange.addCredit(
                Int(
                    try parsed { () throws(MessageError) in
                        try Credit.parse(piece.bytes, piece.payload)
                    }))
            endsDirection = false
        case .reset:
            wake = entry.exchange.deliver(
                .reset(
                    try parsed { () throws(MessageError) in
                        try Reset.parse(piece.bytes, piece.payload)
                    }))
            endsDirection = true
        case .trailers:
            wake = entry.exchange.deliver(.trailers(piece))
            endsDirection = true
        case .data:
            if piece.isEmpty, !ends { throw .protocolError("DATA without bytes") }
            wake = entry.exchange.deliver(.body(piece, ends: ends))
        default: wake = entry.exchange.deliver(.head(piece, ends: ends))
        }
        guard let wake else {
            if type == .response {
                throw .protocolError("more heads than may wait on exchange \(id)")
            }
            throw .protocolError("exchange \(id) beyond its credit")
        }
        if case .nobody = wake {} else { wakes.append((entry.exchange, wake)) }
        if type == .response, !ends, piece.switchesProtocols { upgrade(id) }
        if endsDirection { endDirection(id, ours: false) }
    }

    private func parsed<Value>(
        _ parse: () throws(MessageError) -> Value
    ) throws(SessionEnd) -> Value {
        do {
            return try parse()
        } catch {
            throw .protocolError(error.rawValue)
        }
    }

    // MARK: - Heartbeats and the end

    /// Stages a Ping when one is due.
    ///
    /// Whatever the peer sends is a sign of life, and moves `answerDeadline` away: its Pong may
    /// stand behind many bytes of answers on a slow line.
    ///
    /// - Throws: `.silent` where the peer has sent nothing for too long.
    private mutating func heartbeat() throws(SessionEnd) {
        let now = Deadline.now
        if now >= answerDeadline { throw .silent }
        if now >= nextHeartbeat {
            nextHeartbeat = now + limits.heartbeatInterval.nanoseconds
            answerDeadline = min(answerDeadline, now + limits.heartbeatTimeout.nanoseconds)
            writer.append(.ping, [])
        }
    }

    private mutating func close(_ end: SessionEnd) {
        let reset = Reset(.connectionTerminated, reason: "the session ended")
        var unsent = queue.close()
        observer.sessionEnds(end)
        for entry in exchanges.values {
            cut(entry.exchange, reset)
            if !entry.isUpgraded { observer.exchangeIsOver() }
        }
        exchanges = [:]
        while let message = batch.popFirst() { cutUnopened(message, reset) }
        while let message = unsent.popFirst() { cutUnopened(message, reset) }
        stream.close(end, &writer)
    }

    private func cutUnopened(_ message: OutgoingMessage, _ reset: Reset) {
        if message.type == .request {
            cut(message.exchange, reset)
            observer.exchangeIsOver()
        }
    }

    private func cut(_ exchange: Exchange, _ reset: Reset) {
        if let wake = exchange.deliver(.reset(reset), isLoss: true) { exchange.wake(wake) }
    }
}

extension Piece {
    /// Whether the head of a response is 101: `HTTP/1.1 101`.
    fileprivate var switchesProtocols: Bool {
        let status = payload.lowerBound + 9
        return count >= 12 && bytes[status..<(status + 3)].elementsEqual("101".utf8)
    }
}
