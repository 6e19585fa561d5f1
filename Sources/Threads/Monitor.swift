// State, its mutex and its condition variable in one type: the only place where threads meet.
//
// Nobody holds two monitors, and no I/O happens inside one, so there is no lock order to know.
// Built on a mutex of pthreads and futex(2): the standard library's mutex gives false reports under
// the thread sanitizer, and the condition variable of pthreads takes the mutex back as one that
// others wait for, so that each wait ends with a system call that wakes nobody.
// Hard: it is on the way of every request many times. So its parts share one allocation, and its
// code is specialised in its users: that is why this target says `public` where others say
// `package`, for only `@inlinable public` code crosses from one target to the next.

import CLinux
import Glibc
import Synchronization

/// A value that many threads share, reached only under its lock.
///
/// Thread-safe: `State` is only touched inside `withLock` and `wait`. `State` must be Sendable, so
/// that a closure cannot carry a reference to something unshared out of the lock.
public final class Monitor<State: Sendable>: @unchecked Sendable {
    // @unchecked: the pointers are set once, and `state` is only touched with `mutex` held.

    // Allocated by hand: a mutex must keep its address, which a stored property does not promise.
    @usableFromInline let mutex: UnsafeMutablePointer<pthread_mutex_t>
    /// Counts the signals. A thread sleeps until it changes from what it was when the thread last
    /// held the lock, so it misses none.
    @usableFromInline let signals: UnsafeMutablePointer<Atomic<UInt32>>
    /// Threads that sleep, or are about to. It changes under the lock only: whoever signals has held
    /// that since, and sees all that matter.
    @usableFromInline let sleepers: UnsafeMutablePointer<Atomic<UInt32>>
    @usableFromInline let state: UnsafeMutablePointer<State>

    @inlinable
    public init(_ state: State) {
        // malloc(3) itself: `allocate` asks for an alignment, and that is another, slower way in it.
        // What it gives is aligned for this much.
        precondition(MemoryLayout<State>.alignment <= 16)
        let wordOffset = MemoryLayout<pthread_mutex_t>.stride
        let stateOffset = (wordOffset + 2 * MemoryLayout<Atomic<UInt32>>.stride + 15) & ~15
        guard let memory = malloc(stateOffset + MemoryLayout<State>.size) else {
            fatalError("out of memory")
        }
        mutex = memory.bindMemory(to: pthread_mutex_t.self, capacity: 1)
        signals = (memory + wordOffset).bindMemory(to: Atomic<UInt32>.self, capacity: 2)
        sleepers = signals + 1
        self.state = (memory + stateOffset).bindMemory(to: State.self, capacity: 1)
        check(pthread_mutex_init(mutex, nil), "pthread_mutex_init")
        signals.initialize(to: Atomic(0))
        sleepers.initialize(to: Atomic(0))
        self.state.initialize(to: state)
    }

    @inlinable
    deinit {
        state.deinitialize(count: 1)
        pthread_mutex_destroy(mutex)
        free(mutex)
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
        if let result = take(&state.pointee) { return result }
        sleepers.pointee.add(1, ordering: .relaxed)
        defer { sleepers.pointee.subtract(1, ordering: .relaxed) }
        while true {
            let isInTime = sleep(until: deadline)
            if let result = take(&state.pointee) { return result }
            if !isInTime { return nil }
        }
    }

    /// Gives the lock up until somebody signals, and takes it again. May return for nothing.
    ///
    /// - Returns: false at the deadline.
    @usableFromInline
    func sleep(until deadline: Deadline) -> Bool {
        let seen = signals.pointee.load(ordering: .relaxed)
        check(pthread_mutex_unlock(mutex), "pthread_mutex_unlock")
        var limit = deadline.timespecValue
        let status = linux_futex_wait(signals, seen, &limit) == 0 ? 0 : errno
        check(pthread_mutex_lock(mutex), "pthread_mutex_lock")
        switch status {
        case 0, EAGAIN, EINTR: return true
        case ETIMEDOUT: return false
        default: fail(status, "futex")
        }
    }

    /// Wakes one waiting thread. Call it after the lock was released: the woken thread needs it.
    @inlinable
    public func signal() { wake(1) }

    /// Wakes every waiting thread.
    @inlinable
    public func broadcast() { wake(.max) }

    @inlinable
    func wake(_ count: Int32) {
        if sleepers.pointee.load(ordering: .relaxed) > 0 { wakeSleepers(count) }
    }

    @usableFromInline
    func wakeSleepers(_ count: Int32) {
        signals.pointee.add(1, ordering: .relaxed)
        if linux_futex_wake(signals, count) < 0 { fail(errno, "futex") }
    }
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
