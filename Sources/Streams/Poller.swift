// epoll(7), one-shot: tells which of many resting sockets have become readable.
//
// Called by: the parking lot; `arm` from any thread, `wait` from its own.
// Waits for: a socket, in `wait`.
// Hard: one-shot means that a socket speaks once and is silent until it is armed again, so only one
// thread ever hears of it.

import CLinux
import Glibc
import Threads

/// Thread-safe: the descriptor is set once, and the kernel serialises the calls.
package final class Poller: Sendable {
    private let descriptor: Int32

    package init() throws(StreamError) {
        descriptor = epoll_create1(Int32(EPOLL_CLOEXEC))
        if descriptor < 0 { throw StreamError(errno, "epoll_create1") }
    }

    deinit { close(descriptor) }

    /// Makes `wait` return `socket` once, as soon as it is readable, closed or broken.
    ///
    /// - Parameter isKnown: it was armed before; closing it makes it unknown.
    package func arm(_ socket: Int32, isKnown: Bool) throws(StreamError) {
        var event = epoll_event()
        event.events = EPOLLIN.rawValue | EPOLLRDHUP.rawValue | EPOLLONESHOT.rawValue
        event.data.fd = socket
        let operation = isKnown ? EPOLL_CTL_MOD : EPOLL_CTL_ADD
        if epoll_ctl(descriptor, operation, socket, &event) != 0 {
            throw StreamError(errno, "epoll_ctl")
        }
    }

    /// Blocks until some socket speaks, or `deadline` passes.
    ///
    /// - Returns: at most 64 sockets; none at the deadline.
    package func wait(until deadline: Deadline) -> [Int32] {
        var events = [epoll_event](repeating: epoll_event(), count: 64)
        let count = epoll_wait(descriptor, &events, 64, deadline.millisecondsLeft)
        if count < 0 {
            if errno == EINTR { return [] }
            fatalError("epoll_wait failed: \(errno)")
        }
        return events.prefix(Int(count)).map { $0.data.fd }
    }
}
