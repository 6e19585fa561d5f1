// The PROXY protocol, versions 1 and 2: each form, each wrong one, and every length.

import Testing

@testable import Wire

private let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

/// A header of version 2.
private func binary(
    _ command: UInt8, _ family: UInt8, _ payload: [UInt8], length: Int? = nil
) -> [UInt8] {
    let length = length ?? payload.count
    return signature + [command, family, UInt8(length >> 8), UInt8(length & 0xFF)] + payload
}

private let four: [UInt8] = [192, 0, 2, 7, 10, 0, 0, 1, 0x12, 0x34, 0x01, 0xBB]
private let six: [UInt8] =
    [0x20, 0x01, 0x0D, 0xB8] + [UInt8](repeating: 0, count: 11) + [1]
    + [UInt8](repeating: 0, count: 15) + [1] + [0x12, 0x34, 0x01, 0xBB]

private let longest = "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"

@Suite struct ProxyHeaderTests {
    static let good: [(name: String, bytes: [UInt8], client: String?)] = [
        ("TCP4", [UInt8]("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"), "192.0.2.7"),
        (
            "TCP4, ends of the range", [UInt8]("PROXY TCP4 255.255.255.255 0.0.0.0 65535 0\r\n"),
            "255.255.255.255"
        ),
        ("TCP6", [UInt8]("PROXY TCP6 2001:db8::1 ::1 4660 443\r\n"), "2001:db8::1"),
        (
            "TCP6, the longest",
            [UInt8]("PROXY TCP6 \(longest) \(longest) 65535 65535\r\n"), longest
        ),
        ("TCP6 with IPv4 inside", [UInt8]("PROXY TCP6 ::ffff:192.0.2.7 ::1 1 2\r\n"), "192.0.2.7"),
        ("UNKNOWN", [UInt8]("PROXY UNKNOWN\r\n"), nil),
        (
            "UNKNOWN with a rest",
            [UInt8]("PROXY UNKNOWN ffff::1 ffff::2 65535 65535 \u{1}\r\n"), nil
        ),
        ("IPv4", binary(0x21, 0x11, four), "192.0.2.7"),
        ("IPv6", binary(0x21, 0x21, six), "2001:db8::1"),
        ("unix", binary(0x21, 0x31, [UInt8](repeating: 0x61, count: 216)), nil),
        ("unspecified", binary(0x21, 0x00, []), nil),
        ("unspecified with a rest", binary(0x21, 0x00, [1, 2, 3]), nil),
        ("LOCAL", binary(0x20, 0x00, []), nil),
        ("LOCAL with an address", binary(0x20, 0x11, four), nil),
        ("LOCAL with a family nobody knows", binary(0x20, 0xFF, [1, 2, 3]), nil),
        ("TLVs", binary(0x21, 0x11, four + [0x04, 0x00, 0x02, 0x61, 0x62]), "192.0.2.7"),
        ("TLVs that are none", binary(0x21, 0x11, four + [0x04, 0xFF, 0xFF]), "192.0.2.7"),
        (
            "as long as may be",
            binary(0x21, 0x21, six + [UInt8](repeating: 0xAA, count: 520 - 36)), "2001:db8::1"
        ),
    ]

    @Test(arguments: good.indices)
    func `a header is read at its last byte, and nothing behind it`(index: Int) throws {
        let (name, bytes, client) = Self.good[index]
        for end in bytes.indices {
            #expect(try ProxyHeader.parse(Array(bytes[..<end])) == nil, "\(name): \(end)")
        }
        let wanted = ProxyHeader(length: bytes.count, client: client.flatMap { IPAddress($0) })
        #expect((client == nil) == (wanted.client == nil))
        #expect(try ProxyHeader.parse(bytes) == wanted, "\(name)")
        #expect(try ProxyHeader.parse(bytes + [UInt8]("PROXY \r\n")) == wanted, "\(name)")
        #expect(bytes.count <= ProxyHeader.maximumLength)
    }

    @Test(arguments: [
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n", ProxyHeaderError.malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443 1\r\n", .malformed),
        ("PROXY TCP4  192.0.2.7 10.0.0.1 4660 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443 \r\n", .malformed),
        ("PROXY TCP4\t192.0.2.7 10.0.0.1 4660 443\r\n", .family),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 65536\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 -1 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 04660 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 99999999999999999999 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.007 10.0.0.1 4660 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 example 4660 443\r\n", .malformed),
        ("PROXY TCP4 2001:db8::1 ::1 4660 443\r\n", .malformed),
        ("PROXY TCP4 ::ffff:192.0.2.7 10.0.0.1 4660 443\r\n", .malformed),
        ("PROXY TCP6 192.0.2.7 10.0.0.1 4660 443\r\n", .malformed),
        ("PROXY TCP6 [2001:db8::1] ::1 4660 443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r443\r\n", .malformed),
        ("PROXY TCP4 192.0.2.7 10.0.0.1\n4660 443\r\n", .malformed),
        ("PROXY TCP5 192.0.2.7 10.0.0.1 4660 443\r\n", .family),
        ("PROXY UDP4 192.0.2.7 10.0.0.1 4660 443\r\n", .family),
        ("PROXY tcp4 192.0.2.7 10.0.0.1 4660 443\r\n", .family),
        ("PROXY UNKNOWNX\r\n", .family),
        ("PROXY \r\n", .family),
        ("PROXY UNKNOWN " + String(repeating: "x", count: 93), .tooLong),
        ("PROXY UNKNOWN " + String(repeating: "x", count: 92) + "\r\n", .tooLong),
        ("PROXYTCP4", .missing), ("proxy TCP4", .missing), ("GET / HTTP/1.1\r\n", .missing),
        ("\u{16}\u{3}\u{1}", .missing), (" PROXY", .missing), ("\r\n\r\nGET", .missing),
        ("\n", .missing), ("P\r\n", .missing),
    ])
    func `a line that is none is refused`(text: String, error: ProxyHeaderError) {
        let bytes = [UInt8](text)
        #expect(throws: error) { try ProxyHeader.parse(bytes) }
        // No prefix of it is a header either.
        for end in bytes.indices {
            let header = try? ProxyHeader.parse(Array(bytes[..<end]))
            #expect(header == nil || header == .some(nil))
        }
    }

    @Test func `the longest line is read, and not one byte more`() throws {
        let longest = [UInt8]("PROXY UNKNOWN " + String(repeating: "x", count: 91) + "\r\n")
        #expect(longest.count == 107)
        #expect(try ProxyHeader.parse(longest) == ProxyHeader(length: 107, client: nil))
    }

    static let bad: [(name: String, bytes: [UInt8], error: ProxyHeaderError)] = [
        ("version 1 in binary", binary(0x11, 0x11, four), .version),
        ("version 3", binary(0x31, 0x11, four), .version),
        ("an unknown command", binary(0x22, 0x11, four), .version),
        ("a length beyond the limit", binary(0x21, 0x11, four, length: 521), .tooLong),
        ("the largest length", binary(0x21, 0x11, four, length: 0xFFFF), .tooLong),
        ("a LOCAL beyond the limit", binary(0x20, 0x00, [], length: 521), .tooLong),
        ("IPv4 cut short", binary(0x21, 0x11, Array(four.dropLast())), .malformed),
        ("IPv4 with nothing", binary(0x21, 0x11, []), .malformed),
        ("IPv6 cut short", binary(0x21, 0x21, Array(six.dropLast())), .malformed),
        ("IPv6 as long as IPv4", binary(0x21, 0x21, four), .malformed),
        ("unix cut short", binary(0x21, 0x31, [UInt8](repeating: 0, count: 215)), .malformed),
        ("UDP over IPv4", binary(0x21, 0x12, four), .family),
        ("UDP over IPv6", binary(0x21, 0x22, six), .family),
        ("a datagram", binary(0x21, 0x32, [UInt8](repeating: 0, count: 216)), .family),
        ("a family without a transport", binary(0x21, 0x10, four), .family),
        ("a transport without a family", binary(0x21, 0x01, four), .family),
        ("a family nobody knows", binary(0x21, 0x41, four), .family),
    ]

    @Test(arguments: bad.indices)
    func `a binary header that is none is refused`(index: Int) {
        let (name, bytes, error) = Self.bad[index]
        #expect(throws: error, "\(name)") { try ProxyHeader.parse(bytes) }
    }

    @Test func `the signature is compared byte by byte`() {
        for index in signature.indices {
            var bytes = binary(0x21, 0x11, four)
            bytes[index] ^= 0x20
            #expect(throws: ProxyHeaderError.missing) { try ProxyHeader.parse(bytes) }
            #expect(throws: ProxyHeaderError.missing) {
                try ProxyHeader.parse(Array(bytes[...index]))
            }
        }
    }

    @Test func `no bytes make the parser trap, or read beyond the limit`() {
        var random = SeededGenerator(17)
        for _ in 0..<20_000 {
            var bytes = binary(
                UInt8.random(in: 0x1F...0x22, using: &random),
                [0x00, 0x11, 0x21, 0x31, 0x12].randomElement(using: &random)!,
                random.bytes(Int.random(in: 0...300, using: &random)),
                length: Int.random(in: 0...600, using: &random))
            if Bool.random(using: &random) {
                bytes = [UInt8]("PROXY ") + random.bytes(40, from: [UInt8]("TCP46 .:019\r\n"))
            }
            if let header = try? ProxyHeader.parse(bytes) {
                #expect(header.length <= min(bytes.count, ProxyHeader.maximumLength))
            }
        }
    }
}
