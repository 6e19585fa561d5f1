// State, its mutex and its condition variable in one type: the only place where threads meet.
//
// Nobody holds two monitors, and no I/O happens inside one, so there is no lock order to know.
// Built on pthreads: the standard library's mutex has no condition variable and gives false
// reports under the thread sanitizer.
// Hard: it is on the way of every request many times. So its parts share one allocation, and its
// code is specialised in its users: that is why this target says `public` where others say
// `package`, for only `@inlinable public` code crosses from one target to the next.

import CLinux
import Glibc

/// A value that many threads share, reached only under its lock.
///
/// Thread-safe: `State` is only touched inside `withLock` and `wait`. `State` must be Sendable, so
/// that a closure cannot carry a reference to something unshared out of the lock.
public final class Monitor<State: Sendable>: @unchecked Sendable {
    // @unchecked: the pointers are set once, and `state` is only touched with `mutex` held.

    @usableFromInline
    struct Block {
        @usableFromInline var mutex = pthread_mutex_t()
        @usableFromInline var condition = pthread_cond_t()
        @usableFromInline var state: State

        @inlinable
        init(state: State) { self.state = state }
    }

    // Allocated by hand: a mutex must keep its address, which a stored property does not promise.
    @usableFromInline let block: UnsafeMutablePointer<Block>
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    @usableFromInline let condition: UnsafeMutablePointer<pthread_cond_t>
    @usableFromInline let state: UnsafeMutablePointer<State>

    @inlinable
    public init(_ state: State) {
        // malloc(3) itself: `allocate` asks for an alignment, and that is another, slower way in it.
        precondition(MemoryLayout<Block>.alignment <= 16)
        guard let memory = malloc(MemoryLayout<Block>.size) else { fatalError("out of memory") }
        block = memory.bindMemory(to: Block.self, capacity: 1)
        block.initialize(to: Block(state: state))
        // The fields of an initialized struct have fixed addresses inside it.
        mutex = block.pointer(to: \.mutex)!
        condition = block.pointer(to: \.condition)!
        self.state = block.pointer(to: \.state)!
        check(pthread_mutex_init(mutex, nil), "pthread_mutex_init")
        check(pthread_cond_init(condition, nil), "pthread_cond_init")
    }

    @inlinable
    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        block.deinitialize(count: 1)
        free(block)
    }

    /// Runs `body` with the lock held. Do no I/O in it and enter no other monitor.
    @inlinable @inline(__always)
    public func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        check(pthread_mutex_lock(mutex), "pthread_mutex_lock")
        defer { check(pthread_mutex_unlock(mutex), "pthread_mutex_unlock") }
        return try body(&state.pointee)
    }

    /// Blocks until `take` returns a value, or until `deadline` has passed.
    ///
    /// `take` runs with the lock held, at once and after each wake-up: it tests and takes in one
    /// step, so nothing can come between.
    ///
    /// - Returns: what `take` returned, or nil at the deadline.
    @inlinable
    public func wait<Result>(
        until deadline: Deadline, _ take: (inout State) -> Result?
    ) -> Result? {
        check(pthread_mutex_lock(mutex), "pthread_mutex_lock")
        defer { check(pthread_mutex_unlock(mutex), "pthread_mutex_unlock") }
        while true {
            if let result = take(&state.pointee) { return result }
            if !sleep(until: deadline) { return take(&state.pointee) }
        }
    }

    /// Gives the lock up until somebody signals, and takes it again.
    ///
    /// - Returns: false at the deadline.
    @usableFromInline
    func sleep(until deadline: Deadline) -> Bool {
        var limit = deadline.timespecValue
        let status = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &limit)
        if status == ETIMEDOUT { return false }
        check(status, "pthread_cond_clockwait")
        return true
    }

    /// Wakes one waiting thread. Call it after the lock was released: the woken thread needs it.
    public func signal() { check(pthread_cond_signal(condition), "pthread_cond_signal") }

    /// Wakes every waiting thread.
    public func broadcast() { check(pthread_cond_broadcast(condition), "pthread_cond_broadcast") }
}

/// A failing pthread call means broken memory or a bug of ours: going on would be worse.
@inlinable @inline(__always)
func check(_ status: Int32, _ name: StaticString) {
    if status != 0 { fail(status, name) }
}

@usableFromInline
func fail(_ status: Int32, _ name: StaticString) -> Never {
    fatalError("\(name) failed: \(status)")
}
