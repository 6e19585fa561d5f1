// Hashes, base64 and comparison against published values.

import Streams
import Testing

@Suite struct CryptographyTests {
    private func hexadecimal(_ bytes: [UInt8]) -> String {
        bytes.map { ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined()
    }

    @Test(arguments: [
        ("", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"),
        ("abc", "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"),
    ])
    func `SHA-256 is as in FIPS 180-4`(text: String, hash: String) {
        #expect(hexadecimal(Cryptography.sha256(Array(text.utf8))) == hash)
    }

    @Test func `SHA-1 is as in FIPS 180-4`() {
        #expect(
            hexadecimal(Cryptography.sha1(Array("abc".utf8)))
                == "a9993e364706816aba3e25717850c26c9cd0d89d")
    }

    /// RFC 4648 §10.
    @Test(arguments: [
        ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="),
        ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
    func `base64 there and back`(text: String, encoded: String) {
        #expect(Cryptography.base64(Array(text.utf8)) == Array(encoded.utf8))
        #expect(Cryptography.decodeBase64(Array(encoded.utf8)) == Array(text.utf8))
    }

    @Test(arguments: [
        "Z", "Zg", "Zg=", "Zg===", "Zm9vYg", " Zg==", "Zg== ", "Zg==\n", "Zm9\n", "Z!==", "Zm9_",
        "====", "Z===", "=g==", "Zg=v", "Zg==Zg==", "Zm-v",
    ])
    func `what is no base64 is none`(text: String) {
        #expect(Cryptography.decodeBase64(Array(text.utf8)) == nil)
    }

    @Test func `equal is equal`() {
        #expect(Cryptography.equal([], []))
        #expect(Cryptography.equal([1, 2, 3], [1, 2, 3]))
        #expect(!Cryptography.equal([1, 2, 3], [1, 2, 4]))
        #expect(!Cryptography.equal([1, 2, 3], [1, 2]))
    }

    @Test func `random bytes are as many as asked, and not the same twice`() {
        #expect(Cryptography.randomBytes(0).isEmpty)
        #expect(Cryptography.randomBytes(33).count == 33)
        #expect(Cryptography.randomBytes(16) != Cryptography.randomBytes(16))
    }
}
