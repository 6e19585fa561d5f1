// A socket descriptor with one owner, and the waits on it.

import CLinux
import Glibc
import Threads

/// What a wait on a socket is for.
package struct Readiness: OptionSet, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }
    package static let readable = Readiness(rawValue: 1)
    package static let writable = Readiness(rawValue: 2)
    /// Readable or writable.
    package static let movable = Readiness(rawValue: 3)
    /// The doorbell that was given to the wait has rung.
    package static let rung = Readiness(rawValue: 4)
    /// The peer has closed its writing half, or the connection is broken.
    package static let hungUp = Readiness(rawValue: 8)
    /// The connection has failed: it was reset, or its peer has vanished.
    package static let broken = Readiness(rawValue: 16)
}

/// A connected or listening socket: non-blocking, closed on exec, closed with its owner.
package struct Socket: ~Copyable {
    package let descriptor: Int32

    package init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { close(descriptor) }

    /// Small messages go out at once: an acknowledgement that waits for data would cost 40 ms.
    /// And the system finds out within two minutes, not hours, about a peer that has vanished while
    /// nothing is sent: an answer may pause for ever, and so may what is upgraded.
    func setOptions() {
        set(Int32(IPPROTO_TCP), TCP_NODELAY, 1)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(Int32(IPPROTO_TCP), TCP_KEEPIDLE, 60)
        set(Int32(IPPROTO_TCP), TCP_KEEPINTVL, 15)
        set(Int32(IPPROTO_TCP), TCP_KEEPCNT, 4)
    }

    private func set(_ level: Int32, _ option: Int32, _ value: Int32) {
        var value = value
        // Not a TCP socket, or already reset: nothing is lost.
        _ = setsockopt(
            descriptor, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
    }
}

/// Blocks until the socket is ready, the doorbell rings, or `deadline` passes.
///
/// - Returns: what is ready; empty at the deadline.
package func poll(
    _ descriptor: Int32, for interest: Readiness, doorbell: Doorbell? = nil,
    until deadline: Deadline
) -> Readiness {
    var events: Int16 = 0
    if interest.contains(.readable) { events |= Int16(POLLIN) }
    if interest.contains(.writable) { events |= Int16(POLLOUT) }
    if interest.contains(.hungUp) { events |= Int16(linux_POLLRDHUP) }
    // A negative descriptor is passed over (poll(2)). So is a socket of which nothing is wanted: a
    // broken one would end the wait at once, every time.
    var set = (
        pollfd(fd: interest.isEmpty ? -1 : descriptor, events: events, revents: 0),
        pollfd(fd: doorbell?.descriptor ?? -1, events: Int16(POLLIN), revents: 0)
    )
    while true {
        let count = withUnsafeMutablePointer(to: &set) { set in
            set.withMemoryRebound(to: pollfd.self, capacity: 2) { set in
                poll(set, 2, deadline.millisecondsLeft)
            }
        }
        if count == 0 {
            if deadline.hasPassed { return [] }
            continue
        }
        if count < 0 {
            if errno == EINTR { continue }
            fatalError("poll failed: \(errno)")
        }
        var ready = Readiness(rawValue: 0)
        let found = set.0.revents
        if found & Int16(POLLIN) != 0 { ready.insert(.readable) }
        if found & Int16(POLLOUT) != 0 { ready.insert(.writable) }
        if found & Int16(linux_POLLRDHUP) != 0 { ready.insert(.hungUp) }
        // A broken connection is ready for whatever was asked: the next call will say how it broke.
        if found & Int16(POLLERR | POLLHUP) != 0 {
            ready.formUnion(interest.subtracting(.broken))
            ready.insert(.hungUp)
        }
        if found & Int16(POLLERR) != 0 { ready.insert(.broken) }
        if set.1.revents != 0 { ready.insert(.rung) }
        return ready
    }
}
