// The bounded queue that feeds a session's owner thread.
//
// Called by: workers (put), the owner (take, prepareToSleep), control threads (drain, close).
// Waits for: room, in `put` only; the owner never waits here, it polls the doorbell beside its
// socket. The bell is rung only when the owner sleeps: under load nobody pays for it.
// Hard: the owner says "I sleep" and looks for messages under one lock, so no message can come
// between the look and the sleep without ringing. While its socket is full it sleeps through
// messages, which could not go out, and only an order to close wakes it.

import Threads
import Wire

/// Messages to one peer. Thread-safe: all state is in one monitor.
final class MessageQueue: Sendable {
    fileprivate struct State: Sendable {
        var messages = RingBuffer<OutgoingMessage>()
        var bytes = 0
        var sleep = Sleep.none
        /// How often the owner was about to sleep.
        var turns = 0
        var isClosed = false
        /// No requests are taken any more.
        var refusesRequests = false
        /// The order to drain, until the owner has taken it.
        var drains = false
        /// The order to close.
        var end: SessionEnd?
    }

    /// What wakes the owner.
    fileprivate enum Sleep: Sendable { case none, untilAnything, untilClose }

    /// Body bytes that may wait here. Heads, credit and resets go past it: their number is bounded
    /// by the exchanges.
    static let maximumBytes = 512 * 1024

    private let state = Monitor(State())
    let doorbell: Doorbell

    init() throws(DoorbellError) { doorbell = try Doorbell() }

    /// Queues a message without waiting for room: a head, credit, a reset.
    ///
    /// - Returns: false where the session has ended, or where this is a request and it takes no more;
    ///   the message is dropped.
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
        let result = state.wait(until: deadline) { state -> (accepted: Bool, ring: Bool)? in
            if state.bytes >= MessageQueue.maximumBytes, !state.isClosed { return nil }
            return state.append(message)
        }
        guard let result else { return false }
        if result.ring { doorbell.ring() }
        return result.accepted
    }

    /// Refuses requests from now on; behind those that wait the owner sends DRAIN.
    func drain() {
        let ring = state.withLock { state in
            state.refusesRequests = true
            state.drains = true
            return state.wakeOwner()
        }
        if ring { doorbell.ring() }
    }

    /// Orders the owner to close. A later order changes nothing.
    func close(_ end: SessionEnd) {
        let ring = state.withLock { state in
            if state.end == nil { state.end = end }
            return state.wakeOwner(toClose: true)
        }
        if ring { doorbell.ring() }
    }

    // MARK: - The owner's side

    /// Exchanges everything that waits, first to last, for the owner's empty `batch`; makes room.
    ///
    /// - Returns: whether DRAIN is to be sent behind it.
    /// - Throws: the order to close.
    func takeAll(into batch: inout RingBuffer<OutgoingMessage>) throws(SessionEnd) -> Bool {
        let (end, drains, wasFull) = state.withLock { state in
            swap(&state.messages, &batch)
            let result = (state.end, state.drains, state.bytes >= MessageQueue.maximumBytes)
            state.bytes = 0
            state.drains = false
            return result
        }
        if wasFull { state.broadcast() }
        if let end { throw end }
        return drains
    }

    /// The order to close, if there is one.
    var orderedEnd: SessionEnd? { state.withLock { $0.end } }

    /// The peer takes no more requests, or there is no id for another one.
    func refuseRequests() { state.withLock { $0.refusesRequests = true } }

    /// Says that the owner is about to sleep.
    ///
    /// - Parameter isBlocked: the socket is full; messages would not wake it, and need not.
    /// - Returns: false where something has come that it must see first.
    func prepareToSleep(isBlocked: Bool) -> Bool {
        state.withLock { state in
            state.turns += 1
            if state.end != nil { return false }
            if !isBlocked, !state.messages.isEmpty || state.drains { return false }
            state.sleep = isBlocked ? .untilClose : .untilAnything
            return true
        }
    }

    func awake() { state.withLock { $0.sleep = .none } }

    /// How many turns the owner's loop has made.
    var turns: Int { state.withLock { $0.turns } }

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
        if isClosed || (refusesRequests && message.type == .request) { return (false, false) }
        bytes += message.cost
        messages.append(message)
        return (true, wakeOwner())
    }

    /// - Returns: whether the bell must be rung.
    fileprivate mutating func wakeOwner(toClose: Bool = false) -> Bool {
        if sleep == .none || (sleep == .untilClose && !toClose) { return false }
        sleep = .none
        return true
    }
}
