// OpenSSL's hashing, base64, comparison and random bytes, for byte arrays.

import COpenSSL

package enum Cryptography {
    /// SHA-256: 32 bytes.
    package static func sha256(_ bytes: some Collection<UInt8>) -> [UInt8] {
        digest(Array(bytes), EVP_sha256(), length: 32)
    }

    /// SHA-1: 20 bytes. Only for the WebSocket handshake, where it is no secret's guard
    /// (RFC 6455 §4.2.2).
    package static func sha1(_ bytes: [UInt8]) -> [UInt8] {
        digest(bytes, EVP_sha1(), length: 20)
    }

    private static func digest(_ bytes: [UInt8], _ type: OpaquePointer?, length: Int) -> [UInt8] {
        Array(unsafeUninitializedCapacity: length) { out, count in
            // Both digests are built in: a failure means memory has run out.
            guard EVP_Digest(bytes, bytes.count, out.baseAddress, nil, type, nil) == 1 else {
                fatalError("EVP_Digest failed")
            }
            count = length
        }
    }

    /// Base64 with padding (RFC 4648 §4), one line.
    package static func base64(_ bytes: [UInt8]) -> [UInt8] {
        // EVP_EncodeBlock writes a NUL behind its text.
        let capacity = (bytes.count + 2) / 3 * 4 + 1
        return Array(unsafeUninitializedCapacity: capacity) { out, count in
            count = Int(EVP_EncodeBlock(out.baseAddress, bytes, Int32(bytes.count)))
        }
    }

    /// The bytes of base64 text with padding, or nil where it is none.
    package static func decodeBase64(_ text: some Collection<UInt8>) -> [UInt8]? {
        // An array, or a slice of one, is read where it stands.
        text.withContiguousStorageIfAvailable { decodeBase64($0) }
            ?? Array(text).withUnsafeBufferPointer { decodeBase64($0) }
    }

    private static func decodeBase64(_ text: UnsafeBufferPointer<UInt8>) -> [UInt8]? {
        if text.isEmpty { return [] }
        if text.count % 4 != 0 { return nil }
        let padding = text.suffix(2).reversed().prefix { $0 == UInt8(ascii: "=") }.count
        // EVP_DecodeBlock skips white space at both ends, and takes padding anywhere; we don't.
        for byte in text.dropLast(padding) where byte <= 0x20 || byte == UInt8(ascii: "=") {
            return nil
        }
        let capacity = text.count / 4 * 3
        var isValid = true
        let bytes = [UInt8](unsafeUninitializedCapacity: capacity) { out, count in
            let decoded = EVP_DecodeBlock(out.baseAddress, text.baseAddress, Int32(text.count))
            isValid = Int(decoded) == capacity
            count = isValid ? capacity - padding : 0
        }
        return isValid ? bytes : nil
    }

    /// Bytes that nobody can guess. Traps where the system has no randomness.
    package static func randomBytes(_ count: Int) -> [UInt8] {
        Array(unsafeUninitializedCapacity: count) { out, initialized in
            guard RAND_bytes(out.baseAddress, Int32(count)) == 1 else {
                fatalError("RAND_bytes failed")
            }
            initialized = count
        }
    }

    /// Whether two byte strings are equal, in a time that depends on their lengths only.
    package static func equal(_ left: [UInt8], _ right: ArraySlice<UInt8>) -> Bool {
        left.count == right.count
            && right.withUnsafeBytes { CRYPTO_memcmp(left, $0.baseAddress, left.count) == 0 }
    }
}
