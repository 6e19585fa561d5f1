// A unix socket that sends datagrams to one receiver, many with one call.
//
// Called by: the journal's thread, for journald.
// Waits for: room in the receiver's queue, in `send`, at most a second.

import CLinux
import Glibc

/// Not Sendable: one thread owns it.
package final class DatagramConnection {
    private let socket: Socket
    private let receiver: SocketAddress

    /// The most datagrams that go out with one call.
    package static let maximumCount = 64

    /// - Throws: also where nobody receives at `path`.
    package init(to path: String) throws(StreamError) {
        receiver = try .unix(path: path)
        let kind = Int32(SOCK_DGRAM.rawValue | SOCK_CLOEXEC.rawValue)
        let descriptor = Glibc.socket(AF_UNIX, kind, 0)
        if descriptor < 0 { throw StreamError(errno, "socket") }
        socket = Socket(descriptor: descriptor)
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        let status = setsockopt(
            descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        if status != 0 { throw StreamError(errno, "setsockopt") }
        try connect()
    }

    /// Connects anew, where the receiver's socket was replaced by another of the same path.
    package func connect() throws(StreamError) {
        let status = receiver.withPointer { Glibc.connect(socket.descriptor, $0, $1) }
        if status != 0 { throw StreamError(errno, "connect") }
    }

    /// Sends datagrams of `bytes`, each a range of it. Blocks until the receiver has taken some, at
    /// most a second.
    ///
    /// - Parameter datagrams: at least one, at most `maximumCount`.
    /// - Returns: how many were taken, from the first on.
    /// - Throws: `.timedOut` where it has no room; `.failed` with EMSGSIZE where the first one is
    ///   larger than any that can be sent; what else has happened to the receiver.
    package func send(
        _ bytes: [UInt8], _ datagrams: ArraySlice<Range<Int>>
    ) throws(StreamError) -> Int {
        let taken = bytes.withUnsafeBytes { bytes in
            withUnsafeTemporaryAllocation(of: iovec.self, capacity: datagrams.count) { parts in
                withUnsafeTemporaryAllocation(of: mmsghdr.self, capacity: datagrams.count) {
                    send(bytes, datagrams, parts, $0)
                }
            }
        }
        if taken == -EAGAIN { throw .timedOut }
        if taken < 0 { throw StreamError(-taken, "sendmmsg") }
        return Int(taken)
    }

    /// - Returns: how many were taken, or a negative errno.
    private func send(
        _ bytes: UnsafeRawBufferPointer, _ datagrams: ArraySlice<Range<Int>>,
        _ parts: UnsafeMutableBufferPointer<iovec>, _ headers: UnsafeMutableBufferPointer<mmsghdr>
    ) -> Int32 {
        for (index, range) in datagrams.enumerated() {
            // sendmmsg(2) only reads what the parts name; `rebasing` checks the range.
            let datagram = UnsafeRawBufferPointer(rebasing: bytes[range])
            parts.initializeElement(
                at: index,
                to: iovec(
                    iov_base: UnsafeMutableRawPointer(mutating: datagram.baseAddress),
                    iov_len: datagram.count))
            var header = mmsghdr()
            header.msg_hdr.msg_iov = parts.baseAddress! + index
            header.msg_hdr.msg_iovlen = 1
            headers.initializeElement(at: index, to: header)
        }
        while true {
            let taken = sendmmsg(
                socket.descriptor, headers.baseAddress, UInt32(datagrams.count), 0)
            if taken >= 0 { return taken }
            let number = errno
            if number != EINTR { return -number }
        }
    }
}
