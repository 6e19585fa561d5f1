// A fixed number of threads that take jobs from one bounded queue.
//
// Hard: each worker waits at a condition of its own, and a job goes to the one that came to rest
// last: its stack is still in the processor's caches. One condition for all of them would wake each
// in its turn.

/// The pool. Thread-safe: all state is in monitors, of which nobody holds two.
public final class WorkerPool<Job: Sendable>: Sendable {
    @usableFromInline
    enum Order: Sendable {
        case none, end
        case job(Job)
    }

    /// Where one worker waits for its next order.
    @usableFromInline
    typealias Seat = Monitor<Order>

    @usableFromInline
    struct State: Sendable {
        @usableFromInline var jobs = RingBuffer<Job>()
        /// The workers without a job; nobody is here while jobs wait.
        @usableFromInline var idle: [Seat] = []
        /// How many jobs may wait.
        @usableFromInline var capacity = 0
        @usableFromInline var isClosed = false

        @inlinable
        init() {}
    }

    @usableFromInline let state = Monitor(State())

    /// A pool without workers yet, which takes no jobs.
    @inlinable
    public init() {}

    /// Starts `workers` threads called `NAME-1`… that run `body` for each job, one at a time, and
    /// lets `waiting` jobs more wait for one.
    ///
    /// Each worker has a doorbell of its own, for jobs that must wait on a socket and on another
    /// thread at once. It may still be rung from the job before: look again, then wait again.
    @inlinable
    public func start(
        name: String, workers: Int, waiting: Int,
        _ body: @escaping @Sendable (Job, Doorbell) -> Void
    ) throws {
        state.withLock { $0.capacity += waiting }
        for number in 1...workers {
            let doorbell = try Doorbell()
            try Thread.start(name: "\(name)-\(number)") { [self] in
                let seat = Seat(.none)
                while let job = next(seat) { body(job, doorbell) }
            }
        }
    }

    /// Blocks until there is a job, or the pool is closed and its line is empty.
    @inlinable
    func next(_ seat: Seat) -> Job? {
        var order = state.withLock { state -> Order in
            if let job = state.jobs.popFirst() { return .job(job) }
            if state.isClosed { return .end }
            state.idle.append(seat)
            return .none
        }
        if case .none = order {
            order =
                seat.wait(until: .distantFuture) { order -> Order? in
                    if case .none = order { return nil }
                    defer { order = .none }
                    return order
                } ?? .end
        }
        if case .job(let job) = order { return job }
        return nil
    }

    /// Gives a job to an idle worker, or puts it at the end of the line. Does not block.
    ///
    /// - Returns: false where the line is full or the pool is closed.
    @inlinable
    public func submit(_ job: Job) -> Bool {
        let (accepted, seat) = state.withLock { state -> (Bool, Seat?) in
            if state.isClosed { return (false, nil) }
            if let seat = state.idle.popLast() { return (true, seat) }
            if state.jobs.count >= state.capacity { return (false, nil) }
            state.jobs.append(job)
            return (true, nil)
        }
        if let seat {
            seat.withLock { $0 = .job(job) }
            seat.signal()
        }
        return accepted
    }

    /// Gives a job to an idle worker, or puts it before all that waits; there is room for it. Does not
    /// block.
    ///
    /// It shows whether workers still come to their next job, however long the line is.
    public func submitFirst(_ job: Job) {
        let seat = state.withLock { state -> Seat? in
            if let seat = state.idle.popLast() { return seat }
            state.jobs.prepend(job)
            return nil
        }
        if let seat {
            seat.withLock { $0 = .job(job) }
            seat.signal()
        }
    }

    /// Workers that have nothing to do and nothing waiting for them.
    @inlinable
    public var idleWorkers: Int { state.withLock { $0.idle.count - $0.jobs.count } }

    /// Lets the workers end once the line is empty. Jobs that run are not interrupted.
    @inlinable
    public func close() {
        let idle = state.withLock { state in
            state.isClosed = true
            defer { state.idle = [] }
            return state.idle
        }
        for seat in idle {
            seat.withLock { $0 = .end }
            seat.signal()
        }
    }
}
