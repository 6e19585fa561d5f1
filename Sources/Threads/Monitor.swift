// State, its mutex and its condition variable in one type: the only place where threads meet.
//
// Nobody holds two monitors, and no I/O happens inside one, so there is no lock order to know.
// Built on pthreads: the standard library's mutex has no condition variable and gives false
// reports under the thread sanitizer.

import CLinux
import Glibc

/// A value that many threads share, reached only under its lock.
///
/// Thread-safe: `State` is only touched inside `withLock` and `wait`. `State` must be Sendable, so
/// that a closure cannot carry a reference to something unshared out of the lock.
package final class Monitor<State: Sendable>: @unchecked Sendable {
    // @unchecked: `state` is only touched with `mutex` held; both pointers are set once.
    private var state: State
    // Allocated by hand: a mutex must keep its address, which a stored property does not promise.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let condition: UnsafeMutablePointer<pthread_cond_t>

    package init(_ state: State) {
        self.state = state
        mutex = .allocate(capacity: 1)
        condition = .allocate(capacity: 1)
        mutex.initialize(to: pthread_mutex_t())
        condition.initialize(to: pthread_cond_t())
        check(pthread_mutex_init(mutex, nil), "pthread_mutex_init")
        check(pthread_cond_init(condition, nil), "pthread_cond_init")
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    /// Runs `body` with the lock held. Do no I/O in it and enter no other monitor.
    @inline(__always)
    package func withLock<Result, Failure: Error>(
        _ body: (inout State) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        check(pthread_mutex_lock(mutex), "pthread_mutex_lock")
        defer { check(pthread_mutex_unlock(mutex), "pthread_mutex_unlock") }
        return try body(&state)
    }

    /// Blocks until `take` returns a value, or until `deadline` has passed.
    ///
    /// `take` runs with the lock held, at once and after each wake-up: it tests and takes in one
    /// step, so nothing can come between.
    ///
    /// - Returns: what `take` returned, or nil at the deadline.
    package func wait<Result>(
        until deadline: Deadline, _ take: (inout State) -> Result?
    ) -> Result? {
        check(pthread_mutex_lock(mutex), "pthread_mutex_lock")
        defer { check(pthread_mutex_unlock(mutex), "pthread_mutex_unlock") }
        var limit = deadline.timespecValue
        while true {
            if let result = take(&state) { return result }
            let status = pthread_cond_clockwait(condition, mutex, CLOCK_MONOTONIC, &limit)
            if status == ETIMEDOUT { return take(&state) }
            check(status, "pthread_cond_clockwait")
        }
    }

    /// Wakes one waiting thread. Call it after the lock was released: the woken thread needs it.
    package func signal() { check(pthread_cond_signal(condition), "pthread_cond_signal") }

    /// Wakes every waiting thread.
    package func broadcast() { check(pthread_cond_broadcast(condition), "pthread_cond_broadcast") }
}

/// A failing pthread call means broken memory or a bug of ours: going on would be worse.
@inline(__always)
func check(_ status: Int32, _ name: StaticString) {
    if status != 0 { fatalError("\(name) failed: \(status)") }
}
