// Bytes that wait to be sent on one socket: the memory end of TLS, and of plain text.
//
// Called by: ByteStream and, through OpenSSL, TLSEngine, on the thread that owns the connection.
// Waits for: nothing.
// Hard: many TLS records go out in one send(2), which costs less than sending each saves in copying
// (measured); so whoever writes much calls `send` every few records, before much has collected.

import COpenSSL
import Glibc

/// A growing buffer that is filled at its end and sent from its start. Owned by one thread.
final class OutputBuffer {
    private let descriptor: Int32
    private var base: UnsafeMutableRawPointer?
    private var capacity = 0
    private var start = 0
    private var end = 0

    init(descriptor: Int32) { self.descriptor = descriptor }

    deinit { free(base) }

    var count: Int { end - start }

    func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress, !bytes.isEmpty else { return }
        reserve(bytes.count)
        // `reserve` made room for all of it behind `end`.
        memcpy(base! + end, source, bytes.count)
        end += bytes.count
    }

    private func reserve(_ more: Int) {
        if end + more <= capacity { return }
        if start > 0 {
            memmove(base!, base! + start, end - start)
            end -= start
            start = 0
        }
        if end + more <= capacity { return }
        var larger = max(capacity * 2, 2048)
        while larger < end + more { larger *= 2 }
        guard let moved = realloc(base, larger) else { fatalError("out of memory") }
        base = moved
        capacity = larger
    }

    /// Sends what the socket takes now.
    ///
    /// - Returns: whether everything has gone.
    func send() throws(StreamError) -> Bool {
        while start < end {
            let sent = Glibc.send(
                descriptor, base! + start, end - start, Int32(MSG_DONTWAIT) | Int32(MSG_NOSIGNAL))
            if sent >= 0 {
                start += sent
            } else if errno == EAGAIN {
                return false
            } else if errno != EINTR {
                throw StreamError(errno, "send")
            }
        }
        start = 0
        end = 0
        return true
    }

    /// Gives memory back that a connection at rest does not need.
    func trim() {
        if end == 0 {
            free(base)
            base = nil
            capacity = 0
        }
    }

    /// How OpenSSL writes into an OutputBuffer. Made once, never freed.
    nonisolated(unsafe) static let bioMethod: OpaquePointer = {
        guard let method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "output buffer")
        else { fatalError("out of memory") }
        BIO_meth_set_write_ex(method) { bio, bytes, count, written in
            // Set by TLSEngine, which keeps the buffer alive as long as its BIO.
            guard let data = BIO_get_data(bio) else { return 0 }
            let output = Unmanaged<OutputBuffer>.fromOpaque(data).takeUnretainedValue()
            output.append(UnsafeRawBufferPointer(start: bytes, count: count))
            written?.pointee = count
            return 1
        }
        BIO_meth_set_ctrl(method) { _, command, _, _ in command == BIO_CTRL_FLUSH ? 1 : 0 }
        return method
    }()
}
