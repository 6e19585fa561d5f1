// The bounded queue that feeds a session's owner thread.
//
// Called by: workers (put), the owner (take, prepareToSleep), control threads (drain, close).
// Waits for: room, in `put` only; the owner never waits here, it polls the doorbell beside its
// socket. The bell is rung only when the owner sleeps: under load nobody pays for it.
// Hard: the owner says "I sleep" and looks for messages under one lock, so no message can come
// between the look and the sleep without ringing.

import Threads
import Wire

/// Messages to one peer. Thread-safe: all state is in one monitor.
final class MessageQueue: Sendable {
    fileprivate struct State: Sendable {
        var messages = RingBuffer<OutgoingMessage>()
        var bytes = 0
        var waiting = 0
        var ownerSleeps = false
        var isClosed = false
        var order: Order?
    }

    /// What a control thread wants of the owner.
    enum Order: Sendable {
        case drain
        case close(SessionEnd)
    }

    /// Body bytes that may wait here. Heads, credit and resets go past it: their number is bounded
    /// by the exchanges.
    static let maximumBytes = 512 * 1024

    private let state = Monitor(State())
    let doorbell: Doorbell

    init() throws(DoorbellError) { doorbell = try Doorbell() }

    /// Queues a message without waiting for room: a head, credit, a reset.
    ///
    /// - Returns: false where the session has ended; the message is dropped.
    @discardableResult
    func putUrgent(_ message: OutgoingMessage) -> Bool {
        let (accepted, ring) = state.withLock { $0.append(message) }
        if ring { doorbell.ring() }
        return accepted
    }

    /// Queues a message; blocks until there is room, at most until `deadline`.
    ///
    /// - Returns: false where the session has ended or the deadline passed; the message is dropped.
    func put(_ message: OutgoingMessage, until deadline: Deadline) -> Bool {
        let ring = state.wait(until: deadline) { state -> Bool? in
            if state.isClosed { return .some(false) }
            if state.bytes >= MessageQueue.maximumBytes {
                return nil
            }
            let (_, ring) = state.append(message)
            return ring
        }
        guard let ring else { return false }
        if ring { doorbell.ring() }
        return !isClosed
    }

    /// Whether a body message would find room now.
    var hasRoom: Bool { state.withLock { $0.bytes < MessageQueue.maximumBytes || $0.isClosed } }

    var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Gives the owner an order. An order to close is not replaced by a later one.
    func order(_ order: Order) {
        let ring = state.withLock { state in
            if case .close = state.order { return false }
            state.order = order
            return state.wakeOwner()
        }
        if ring { doorbell.ring() }
    }

    // MARK: - The owner's side

    /// Exchanges everything that waits, first to last, for the owner's empty `batch`; makes room.
    func takeAll(into batch: inout RingBuffer<OutgoingMessage>) -> Order? {
        let (order, wasFull) = state.withLock { state in
            swap(&state.messages, &batch)
            let result = (state.order, state.bytes >= MessageQueue.maximumBytes)
            state.bytes = 0
            state.order = nil
            return result
        }
        if wasFull { state.broadcast() }
        return order
    }

    /// Says that the owner is about to sleep.
    ///
    /// - Returns: false where something has come that it must see first.
    func prepareToSleep() -> Bool {
        state.withLock { state in
            if !state.messages.isEmpty || state.order != nil { return false }
            state.ownerSleeps = true
            return true
        }
    }

    func awake() { state.withLock { $0.ownerSleeps = false } }

    /// Closes where nothing waits: from then on every put is refused.
    func closeIfEmpty() -> Bool {
        state.withLock { state in
            if !state.messages.isEmpty { return false }
            state.isClosed = true
            return true
        }
    }

    /// Refuses everything from now on and wakes whoever waits for room.
    ///
    /// - Returns: what was still queued.
    func close() -> RingBuffer<OutgoingMessage> {
        let rest = state.withLock { state in
            let rest = state.messages
            state.messages = RingBuffer()
            state.isClosed = true
            return rest
        }
        state.broadcast()
        return rest
    }
}

extension MessageQueue.State {
    fileprivate mutating func append(_ message: OutgoingMessage) -> (accepted: Bool, ring: Bool) {
        if isClosed { return (false, false) }
        bytes += message.cost
        messages.append(message)
        return (true, wakeOwner())
    }

    fileprivate mutating func wakeOwner() -> Bool {
        let ring = ownerSleeps
        ownerSleeps = false
        return ring
    }
}
