// A bounded first-in-first-out queue between threads.

/// A queue that holds at most `capacity` elements. Thread-safe: all state is in one monitor.
public final class BlockingQueue<Element: Sendable>: Sendable {
    @usableFromInline
    struct State: Sendable {
        @usableFromInline var elements = RingBuffer<Element>()
        @usableFromInline var idle = 0
        @usableFromInline var isClosed = false

        @inlinable
        init() {}
    }
    @usableFromInline let state: Monitor<State>
    @usableFromInline let capacity: Int

    @inlinable
    public init(capacity: Int) {
        self.capacity = capacity
        state = Monitor(State())
    }

    /// Puts `element` at the end and wakes one taker. Does not block.
    ///
    /// - Returns: false, and the element is not queued, where the queue is full or closed.
    @inlinable
    public func offer(_ element: Element) -> Bool {
        let (accepted, wake) = state.withLock { state -> (Bool, Bool) in
            if state.isClosed || state.elements.count >= capacity { return (false, false) }
            state.elements.append(element)
            return (true, state.idle > 0)
        }
        if wake { state.signal() }
        return accepted
    }

    /// Blocks until an element is there, the queue is closed and empty, or `deadline` passes.
    @inlinable
    public func take(until deadline: Deadline) -> Element? {
        var isCounted = false
        let taken = state.wait(until: deadline) { state -> Element?? in
            let element = state.elements.popFirst()
            if element != nil || state.isClosed {
                if isCounted { state.idle -= 1 }
                return .some(element)
            }
            if !isCounted {
                isCounted = true
                state.idle += 1
            }
            return nil
        }
        guard let taken else {
            state.withLock { $0.idle -= 1 }
            return nil
        }
        return taken
    }

    /// How many takers wait for more than the queue holds.
    @inlinable
    public var idleTakers: Int { state.withLock { $0.idle - $0.elements.count } }

    @inlinable
    public var isClosed: Bool { state.withLock { $0.isClosed } }

    /// Refuses further elements; takers get what is there, then nil.
    @inlinable
    public func close() {
        state.withLock { $0.isClosed = true }
        state.broadcast()
    }
}
