// What one recv(2) has brought and TLS has not yet taken.
//
// Called by: OpenSSL, through TLSEngine, on the thread that owns the connection.
// Waits for: nothing. The socket is non-blocking.
// Hard: OpenSSL has a buffer of its own for this ("read ahead"), but moves all of what it holds to
// the front for each record: with many small records that costs more than decrypting them.

import COpenSSL
import Glibc

/// Bytes from one socket, taken from the start. Owned by one thread.
final class ReceiveBuffer {
    private let descriptor: Int32
    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0
    /// The peer has ended its direction.
    private var isAtEnd = false

    /// For requests and their like; a connection that fills it gets the large one.
    private static let smallCapacity = 4 * 1024
    /// A few TLS records.
    private static let largeCapacity = 72 * 1024

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { free(base) }

    var isEmpty: Bool { start == end }

    /// Takes up to `count` bytes; receives where nothing is left.
    ///
    /// - Returns: nil where nothing has come, or the connection failed (errno says how); 0 at its end.
    private func take(_ destination: UnsafeMutableRawPointer, _ count: Int) -> Int? {
        if isEmpty {
            let received = receive()
            if received < 0 { return nil }
            isAtEnd = received == 0
            (start, end) = (0, received)
        }
        let taken = min(count, end - start)
        if taken > 0, let base { memcpy(destination, base + start, taken) }
        start += taken
        return taken
    }

    private func receive() -> Int {
        if base == nil || (end == capacity && capacity < ReceiveBuffer.largeCapacity) {
            // Nothing is in the one before.
            free(base)
            capacity = base == nil ? ReceiveBuffer.smallCapacity : ReceiveBuffer.largeCapacity
            base = malloc(capacity)
            if base == nil { fatalError("out of memory") }
        }
        while true {
            let received = recv(descriptor, base, capacity, Int32(MSG_DONTWAIT))
            if received >= 0 || errno != EINTR { return received }
        }
    }

    /// Gives memory back that a connection at rest does not need.
    func trim() {
        if !isEmpty { return }
        free(base)
        base = nil
        (start, end, capacity) = (0, 0, 0)
    }

    /// How OpenSSL reads from a ReceiveBuffer. Made once, never freed.
    nonisolated(unsafe) static let bioMethod: OpaquePointer = {
        guard
            let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "receive buffer")
        else { fatalError("out of memory") }
        BIO_meth_set_read_ex(method) { bio, bytes, count, taken in
            BIO_clear_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY)
            guard let bytes, let buffer = ReceiveBuffer.of(bio) else { return 0 }
            guard let read = buffer.take(bytes, count) else {
                if errno == EAGAIN { BIO_set_flags(bio, BIO_FLAGS_READ | BIO_FLAGS_SHOULD_RETRY) }
                return 0
            }
            taken?.pointee = read
            return read > 0 ? 1 : 0
        }
        BIO_meth_set_ctrl(method) { bio, command, _, _ in
            command == BIO_CTRL_EOF && ReceiveBuffer.of(bio)?.isAtEnd == true ? 1 : 0
        }
        return method
    }()

    /// Set by TLSEngine, which keeps the buffer alive as long as its BIO.
    private static func of(_ bio: OpaquePointer?) -> ReceiveBuffer? {
        BIO_get_data(bio).map { Unmanaged<ReceiveBuffer>.fromOpaque($0).takeUnretainedValue() }
    }
}
