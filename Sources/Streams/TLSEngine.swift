// TLS of one connection, between two buffers: what was received, and what is to be sent.
//
// Called by: ByteStream, on the thread that owns the connection. Never by two threads at once.
// Waits for: nothing. The socket is non-blocking; output collects in `output` for the owner to send.
// Hard: since `output` takes everything, SSL_write never blocks and SSL_read only ever wants input:
// no record is half written when the peer asks for new keys. OpenSSL may hold decrypted bytes, or
// whole records, that poll(2) cannot see.

import COpenSSL
import Glibc

/// What one look at a connection brought.
package enum Arrival: Equatable {
    /// So many bytes, at least one.
    case bytes(Int)
    /// Nothing now.
    case nothing
    /// The peer has ended its direction in an orderly way.
    case end
}

final class TLSEngine {
    private let ssl: OpaquePointer
    /// OpenSSL has said that it needs more of the socket: what it holds is only part of a record.
    private var isStarved = false
    // The BIOs of `ssl` keep unowned pointers to these; they die with it.
    private let input: ReceiveBuffer
    private let output: OutputBuffer

    init(_ context: TLSContext, descriptor: Int32, output: OutputBuffer) {
        guard let ssl = SSL_new(context.pointer),
            let read = BIO_new(ReceiveBuffer.bioMethod),
            let write = BIO_new(OutputBuffer.bioMethod)
        else { fatalError("out of memory for a TLS connection") }
        self.ssl = ssl
        self.output = output
        input = ReceiveBuffer(descriptor: descriptor)
        BIO_set_data(read, Unmanaged.passUnretained(input).toOpaque())
        BIO_set_init(read, 1)
        BIO_set_data(write, Unmanaged.passUnretained(output).toOpaque())
        BIO_set_init(write, 1)
        SSL_set_bio(ssl, read, write)
        if context.isServer { SSL_set_accept_state(ssl) } else { SSL_set_connect_state(ssl) }
    }

    deinit { SSL_free(ssl) }

    /// The name that the peer's certificate must have, or its address in figures.
    func expect(host: String) {
        if let address = try? SocketAddress.resolve(host: host, port: 0, numericOnly: true).first {
            X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), address.host)
        } else {
            _ = shim_SSL_set_tlsext_host_name(ssl, host)
            SSL_set1_host(ssl, host)
        }
    }

    /// Goes on with the handshake.
    ///
    /// - Returns: whether it is finished; else the peer must answer first.
    func handshake() throws(StreamError) -> Bool {
        forgetErrors()
        let status = SSL_do_handshake(ssl)
        isStarved = false
        if status == 1 { return true }
        switch SSL_get_error(ssl, status) {
        case SSL_ERROR_WANT_READ:
            isStarved = true
            return false
        case SSL_ERROR_ZERO_RETURN: throw .closed
        default:
            // Where nothing is verified, the result says what would have been found.
            let verification = SSL_get_verify_result(ssl)
            if verification != Int(X509_V_OK), SSL_get_verify_mode(ssl) != SSL_VERIFY_NONE {
                ERR_clear_error()
                throw .certificate(String(cString: X509_verify_cert_error_string(verification)))
            }
            throw failure()
        }
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws(StreamError) -> Arrival {
        forgetErrors()
        var count = 0
        let status = SSL_read_ex(ssl, buffer.baseAddress, buffer.count, &count)
        isStarved = false
        if status == 1 { return .bytes(count) }
        switch SSL_get_error(ssl, status) {
        case SSL_ERROR_WANT_READ:
            isStarved = true
            return .nothing
        case SSL_ERROR_ZERO_RETURN: return .end
        default: throw failure()
        }
    }

    /// Encrypts all of `bytes` into `output`.
    func write(_ bytes: UnsafeRawBufferPointer) throws(StreamError) {
        var rest = bytes
        while !rest.isEmpty {
            forgetErrors()
            var count = 0
            if SSL_write_ex(ssl, rest.baseAddress, rest.count, &count) != 1 { throw failure() }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    /// Whether bytes have been received that poll(2) does not show.
    ///
    /// SSL_has_pending(3) counts half a record too, which is nothing to read: who believed it would
    /// look again and again until the other half comes.
    var hasBuffered: Bool { !isStarved && (!input.isEmpty || SSL_has_pending(ssl) == 1) }

    /// Gives OpenSSL's record buffers back, some 34 KiB, and ours, where nothing is in them.
    func trim() {
        SSL_free_buffers(ssl)
        input.trim()
    }

    /// Tells the peer that nothing follows (RFC 8446 §6.1), into `output`.
    func closeNotify() {
        ERR_clear_error()
        // Before the handshake is done there is nothing to close; then OpenSSL refuses.
        _ = SSL_shutdown(ssl)
        ERR_clear_error()
    }

    /// Empties OpenSSL's queue of this thread, as SSL_get_error(3) wants it. To look first costs less
    /// than to empty what is empty.
    private func forgetErrors() {
        if ERR_peek_error() != 0 { ERR_clear_error() }
    }

    private func failure() -> StreamError {
        let number = errno
        let code = ERR_peek_error()
        // No error in the queue: the socket failed, or the peer closed without a word.
        if code == 0 { return number == 0 ? .closed : StreamError(number, "recv") }
        if shim_ERR_is_unexpected_eof(code) == 1 {
            ERR_clear_error()
            return .closed
        }
        return .tls(opensslReason())
    }
}
