// A socket for short notices to unix sockets of datagrams, from any thread.
//
// Called by: NotifySocket, for systemd.
// Waits for: the receiver's queue to have room, in `send` with `waits`, at most the timeout.

import CLinux
import Glibc
import Threads

/// Thread-safe: the descriptor is set once, and the kernel serialises the calls.
package final class NoticeSocket: Sendable {
    private let descriptor: Int32

    /// - Parameter timeout: how long a `send` that waits may wait.
    package init(timeout: Duration) throws(StreamError) {
        descriptor = socket(
            AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        if descriptor < 0 { throw StreamError(errno, "socket") }
        let microseconds = timeout.nanoseconds / 1000
        var length = timeval(
            tv_sec: microseconds / 1_000_000, tv_usec: microseconds % 1_000_000)
        let status = setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &length, socklen_t(MemoryLayout<timeval>.size))
        if status != 0 { fatalError("setsockopt failed: \(errno)") }
    }

    deinit { close(descriptor) }

    /// Sends one datagram.
    ///
    /// - Parameter waits: blocks while the receiver's queue is full, at most the timeout; else that is
    ///   an error at once.
    package func send(
        _ bytes: [UInt8], to address: SocketAddress, waits: Bool
    ) throws(StreamError) {
        let flags = waits ? 0 : Int32(MSG_DONTWAIT)
        while true {
            let count = address.withPointer { pointer, length in
                sendto(descriptor, bytes, bytes.count, flags, pointer, length)
            }
            if count >= 0 { return }
            if errno != EINTR { throw StreamError(errno, "sendto") }
        }
    }
}
