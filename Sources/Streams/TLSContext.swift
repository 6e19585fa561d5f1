// What TLS connections of one kind share: certificate and trust, versions and ciphers.

import COpenSSL
import Glibc

/// A certificate, key or trust file that cannot be used.
package struct TLSConfigurationError: Error {
    /// What the file that is to blame was named for.
    package enum Subject: Sendable { case certificate, privateKey, trust }

    package let subject: Subject
    /// For the operator: what is wrong, and what to do.
    package let message: String
}

/// An SSL_CTX, as a server or as a client.
///
/// Thread-safe: OpenSSL counts its references atomically and only reads it once it is set up;
/// nothing here changes it after `init`.
package final class TLSContext: @unchecked Sendable {
    // @unchecked: set up in `init`, then only read by SSL_new, which OpenSSL allows from any thread.
    let pointer: OpaquePointer
    let isServer: Bool

    /// A certificate chain and its private key (PEM files).
    package struct Identity: Sendable {
        package let certificate: String
        package let privateKey: String

        package init(certificate: String, privateKey: String) {
            self.certificate = certificate
            self.privateKey = privateKey
        }
    }

    /// Of a server, with its certificate chain and private key.
    package init(certificate: String, privateKey: String) throws(TLSConfigurationError) {
        ERR_clear_error()
        pointer = TLSContext.make(TLS_server_method())
        isServer = true
        try show(Identity(certificate: certificate, privateKey: privateKey))
        // Sessions are kept by the clients, in tickets: no memory here, and any worker can resume.
        _ = shim_SSL_CTX_set_session_cache_mode(pointer, Int(SSL_SESS_CACHE_OFF))
        _ = SSL_CTX_set_num_tickets(pointer, 1)
        let name = Array("magicmirrord".utf8)
        _ = SSL_CTX_set_session_id_context(pointer, name, UInt32(name.count))
    }

    /// Of a client that verifies its peer by the system's trust store, or by `trust` (a PEM file)
    /// alone; nil for `verifies` off.
    ///
    /// - Parameter identity: what it shows to a peer that asks for a certificate.
    package init(
        trust: String?, verifies: Bool, identity: Identity? = nil
    ) throws(TLSConfigurationError) {
        ERR_clear_error()
        pointer = TLSContext.make(TLS_client_method())
        isServer = false
        SSL_CTX_set_verify(pointer, verifies ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, nil)
        if let trust {
            try requireFile(trust, .trust)
            if SSL_CTX_load_verify_file(pointer, trust) != 1 {
                throw failure(
                    .trust, "cannot use trusted certificates '\(trust)'", opensslError(),
                    remedy: "they must be in PEM")
            }
        } else if verifies, SSL_CTX_set_default_verify_paths(pointer) != 1 {
            throw failure(
                .trust, "cannot use the system's trusted certificates", opensslError(),
                remedy: "install ca-certificates")
        }
        if let identity { try show(identity) }
    }

    private func show(_ identity: Identity) throws(TLSConfigurationError) {
        let (certificate, privateKey) = (identity.certificate, identity.privateKey)
        // A key under a password is refused: nobody is there to type it.
        SSL_CTX_set_default_passwd_cb(pointer) { _, _, _, _ in -1 }
        try requireFile(certificate, .certificate)
        try requireFile(privateKey, .privateKey)
        if SSL_CTX_use_certificate_chain_file(pointer, certificate) != 1 {
            throw failure(
                .certificate, "cannot use certificate '\(certificate)'", opensslError(),
                remedy: "it must be a chain in PEM, the program's own certificate first")
        }
        if SSL_CTX_use_PrivateKey_file(pointer, privateKey, SSL_FILETYPE_PEM) != 1 {
            let error = opensslError()
            if shim_ERR_is_key_mismatch(error) != 0 { throw mismatch(certificate, privateKey) }
            throw failure(
                .privateKey, "cannot use private key '\(privateKey)'", error,
                remedy: "it must be in PEM, without a password")
        }
        // A key of another kind than the certificate's is only found here.
        if SSL_CTX_check_private_key(pointer) != 1 {
            _ = opensslError()
            throw mismatch(certificate, privateKey)
        }
    }

    deinit { SSL_CTX_free(pointer) }

    private static func make(_ method: OpaquePointer?) -> OpaquePointer {
        guard let context = SSL_CTX_new(method) else { fatalError("SSL_CTX_new failed") }
        _ = shim_SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION)
        _ = SSL_CTX_set_options(
            context,
            shim_SSL_OP_NO_RENEGOTIATION | shim_SSL_OP_NO_COMPRESSION
                | shim_SSL_OP_CIPHER_SERVER_PREFERENCE | shim_SSL_OP_PRIORITIZE_CHACHA)
        // A write may be repeated from a buffer that has moved, as Swift's arrays do.
        _ = shim_SSL_CTX_set_mode(
            context,
            Int(SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER) | Int(SSL_MODE_ENABLE_PARTIAL_WRITE))
        // Authenticated encryption with forward secrecy only (RFC 9325 §4.2).
        let lists =
            SSL_CTX_set_cipher_list(
                context, "ECDHE+AESGCM:ECDHE+CHACHA20:!aNULL:!SHA1:!PSK") == 1
            && SSL_CTX_set_ciphersuites(
                context,
                "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256") == 1
            && shim_SSL_CTX_set_groups_list(context, "X25519:P-256:P-384") == 1
        if !lists { fatalError("OpenSSL lacks the ciphers of TLS 1.3") }
        return context
    }
}

/// The oldest error in OpenSSL's queue of this thread, which it empties; 0: none.
private func opensslError() -> UInt {
    let code = ERR_get_error()
    ERR_clear_error()
    return code
}

/// The words for the oldest error in OpenSSL's queue of this thread, which it empties.
func opensslReason() -> String { opensslReason(opensslError()) }

private func opensslReason(_ code: UInt) -> String {
    if code == 0 { return "unknown error" }
    // ERR_reason_error_string knows no system errors; those have the errno in the code.
    if let reason = ERR_reason_error_string(code) { return String(cString: reason) }
    return describe(errno: Int32(truncatingIfNeeded: code & 0x7fff_ffff))
}

/// Throws for what is there and is no file: OpenSSL would wait for ever at a pipe without a writer.
private func requireFile(
    _ path: String, _ subject: TLSConfigurationError.Subject
) throws(TLSConfigurationError) {
    var status = stat()
    if stat(path, &status) == 0, status.st_mode & S_IFMT != S_IFREG {
        throw TLSConfigurationError(
            subject: subject, message: "cannot use '\(path)': it is not a regular file")
    }
}

/// - Parameter remedy: for a file that can be read, but is not what it should be.
private func failure(
    _ subject: TLSConfigurationError.Subject, _ what: String, _ error: UInt, remedy: String
) -> TLSConfigurationError {
    let isOfSystem = error != 0 && ERR_reason_error_string(error) == nil
    return TLSConfigurationError(
        subject: subject,
        message: "\(what): \(opensslReason(error))" + (isOfSystem ? "" : " (\(remedy))"))
}

private func mismatch(_ certificate: String, _ privateKey: String) -> TLSConfigurationError {
    TLSConfigurationError(
        subject: .privateKey,
        message: "private key '\(privateKey)' does not match certificate '\(certificate)'"
            + " (give the key that the first certificate of the chain was made for)")
}
