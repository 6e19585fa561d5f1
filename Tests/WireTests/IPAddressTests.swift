// Addresses: what is one, what is none, and the one way to write each.

import Testing

@testable import Wire

@Suite struct IPAddressTests {
    @Test(arguments: [
        ("0.0.0.0", "0.0.0.0"), ("255.255.255.255", "255.255.255.255"), ("192.0.2.7", "192.0.2.7"),
        ("::", "::"), ("::1", "::1"), ("1::", "1::"), ("2001:DB8::1", "2001:db8::1"),
        ("2001:0db8:0000:0000:0000:0000:0000:0001", "2001:db8::1"),
        ("1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7:8"), ("1:2:3:4:5:6:7::", "1:2:3:4:5:6:7:0"),
        ("::2:3:4:5:6:7:8", "0:2:3:4:5:6:7:8"), ("1:0:0:4:0:0:0:8", "1:0:0:4::8"),
        ("1:0:0:4:5:0:0:8", "1::4:5:0:0:8"), ("1:0:3:0:5:0:7:0", "1:0:3:0:5:0:7:0"),
        ("::ffff:192.0.2.7", "192.0.2.7"), ("::FFFF:c000:0207", "192.0.2.7"),
        ("64:ff9b::192.0.2.33", "64:ff9b::c000:221"), ("fe80::", "fe80::"),
    ])
    func `an address is read, and written in one way`(text: String, written: String) {
        #expect(IPAddress(text)?.description == written)
        #expect(IPAddress(written) == IPAddress(text))
    }

    @Test(arguments: [
        "", "1", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.04", "1.2.3.", ".1.2.3", "1..2.3",
        "1.2.3.4 ", " 1.2.3.4", "1.2.3.-4", "1.2.3.0x4", "0x7f000001", "2130706433", "1.2.3.4/8",
        ":", ":::", "::1::", "1::2::3", ":1:2:3:4:5:6:7", "1:2:3:4:5:6:7:", "1:2:3:4:5:6:7",
        "1:2:3:4:5:6:7:8:9", "1:2:3:4:5:6:7:8::", "::1:2:3:4:5:6:7:8", "12345::", "g::", "::1.2.3",
        "1.2.3.4::", "::1.2.3.4:5", "::ffff:1.2.3.4.5", "[::1]", "::1%eth0", "localhost", "unknown",
        "_hidden", "1:2:3:4:5:6:7:1.2.3.4",
        "2001:0db8:0000:0000:0000:0000:0000:0000:192.168.100.100",
    ])
    func `what is no address is not made one`(text: String) {
        #expect(IPAddress(text) == nil)
    }

    @Test(arguments: [
        ("192.0.2.7", "192.0.2.7"), ("192.0.2.7:80", "192.0.2.7"), ("192.0.2.7:65535", "192.0.2.7"),
        ("[2001:db8::1]", "2001:db8::1"), ("[2001:db8::1]:443", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"), ("::1", "::1"),
    ])
    func `an element of a list of hops may have brackets and a port`(text: String, address: String)
    {
        #expect(IPAddress(element: [UInt8](text)[...])?.description == address)
    }

    @Test(arguments: [
        "", "unknown", "_secret", "_secret:80", "192.0.2.7:", "192.0.2.7:x", "192.0.2.7:123456",
        "[192.0.2.7]", "[2001:db8::1", "2001:db8::1]", "[2001:db8::1]443", "[2001:db8::1]:",
        "[]", "[]:80", "\"192.0.2.7\"", "for=192.0.2.7", "192.0.2.7;x", "-", "192.0.2.7 192.0.2.8",
        String(repeating: "1", count: 10_240), String(repeating: ":", count: 10_240),
    ])
    func `an element that is no address is none`(text: String) {
        #expect(IPAddress(element: [UInt8](text)[...]) == nil)
    }
}
