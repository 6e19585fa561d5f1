// Makes a certificate for trying things out: an authority whose key is thrown away, and one
// certificate under it. Called by: `magicmirrord --quickstart`, at its start.

import COpenSSL
import Glibc

/// PEM texts: the authority's certificate, and the server's certificate and private key.
package struct MadeCertificate: Sendable {
    package let authority: [UInt8]
    package let certificate: [UInt8]
    package let privateKey: [UInt8]

    /// Makes a P-256 authority and a certificate for `names` (DNS names and addresses in figures),
    /// good for `days`.
    ///
    /// The authority's key only lives inside this call: nobody can sign anything else with it.
    package init(names: [String], days: Int) {
        let authorityKey = Key()
        let serverKey = Key()
        let authorityName = "magicmirror quickstart authority"
        let root = Certificate(
            name: authorityName, issuer: authorityName, key: authorityKey, signer: authorityKey,
            days: days,
            extensions: [
                (NID_basic_constraints, "critical,CA:TRUE,pathlen:0"),
                (NID_key_usage, "critical,keyCertSign"), (NID_subject_key_identifier, "hash"),
            ])
        let alternatives = names.map { name in
            let isAddress =
                (try? SocketAddress.resolve(host: name, port: 0, numericOnly: true)) != nil
            return (isAddress ? "IP:" : "DNS:") + name
        }
        let leaf = Certificate(
            name: "magicmirror quickstart", issuer: authorityName, key: serverKey,
            signer: authorityKey, days: days,
            extensions: [
                (NID_basic_constraints, "critical,CA:FALSE"),
                (NID_key_usage, "critical,digitalSignature"), (NID_ext_key_usage, "serverAuth"),
                (NID_subject_alt_name, alternatives.joined(separator: ",")),
            ])
        authority = pem { PEM_write_bio_X509($0, root.pointer) }
        certificate = pem { PEM_write_bio_X509($0, leaf.pointer) }
        privateKey = pem {
            PEM_write_bio_PrivateKey($0, serverKey.pointer, nil, nil, 0, nil, nil)
        }
    }
}

private final class Key {
    let pointer: OpaquePointer

    init() {
        guard let key = shim_EVP_EC_gen("P-256") else { fatalError("EVP_EC_gen failed") }
        pointer = key
    }

    deinit { EVP_PKEY_free(pointer) }
}

private final class Certificate {
    let pointer: OpaquePointer

    /// Everything in it is ours: a call can only fail where memory has run out.
    init(
        name: String, issuer: String, key: Key, signer: Key, days: Int,
        extensions: [(Int32, String)]
    ) {
        guard let certificate = X509_new() else { fatalError("out of memory for a certificate") }
        pointer = certificate
        X509_set_version(certificate, 2)
        // 63 random bits: a serial number is positive and unlike any other (RFC 5280 §4.1.2.2).
        let serial = Cryptography.randomBytes(8).reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1)
        // From an hour ago: the clock of the other side may be a little behind.
        X509_gmtime_adj(shim_X509_getm_notBefore(certificate), -3600)
        X509_gmtime_adj(shim_X509_getm_notAfter(certificate), days * 86_400)
        setName(X509_get_subject_name(certificate), name)
        setName(X509_get_issuer_name(certificate), issuer)
        X509_set_pubkey(certificate, key.pointer)
        for (identifier, value) in extensions {
            var context = X509V3_CTX()
            X509V3_set_ctx(&context, certificate, certificate, nil, nil, 0)
            guard let entry = X509V3_EXT_conf_nid(nil, &context, identifier, value) else {
                fatalError("cannot make a certificate: \(opensslReason())")
            }
            X509_add_ext(certificate, entry, -1)
            X509_EXTENSION_free(entry)
        }
        if X509_sign(certificate, signer.pointer, EVP_sha256()) == 0 {
            fatalError("cannot sign a certificate: \(opensslReason())")
        }
    }

    deinit { X509_free(pointer) }

    private func setName(_ subject: OpaquePointer?, _ text: String) {
        let bytes = Array(text.utf8)
        X509_NAME_add_entry_by_txt(
            subject, "CN", MBSTRING_UTF8, bytes, Int32(bytes.count), -1, 0)
    }
}

/// What `write` puts into a memory BIO.
private func pem(_ write: (OpaquePointer) -> Int32) -> [UInt8] {
    guard let bio = BIO_new(BIO_s_mem()) else { fatalError("out of memory for a certificate") }
    defer { BIO_free(bio) }
    guard write(bio) == 1 else { fatalError("cannot write PEM: \(opensslReason())") }
    var text = [UInt8](repeating: 0, count: 16 * 1024)
    let count = BIO_read(bio, &text, Int32(text.count))
    return Array(text.prefix(Int(max(count, 0))))
}
