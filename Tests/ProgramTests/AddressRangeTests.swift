// Addresses and networks: what is inside, and what is none.

import Testing

@testable import Program

@Suite struct AddressRangeTests {
    @Test func `an address range holds its addresses and no others`() {
        let table: [(String, String, Bool)] = [
            ("127.0.0.1", "127.0.0.1", true), ("127.0.0.1", "127.0.0.2", false),
            ("10.0.0.0/8", "10.255.0.1", true), ("10.0.0.0/8", "11.0.0.1", false),
            ("0.0.0.0/0", "1.2.3.4", true), ("0.0.0.0/0", "::1", false),
            ("192.168.4.0/22", "192.168.7.255", true), ("192.168.4.0/22", "192.168.8.0", false),
            ("::1", "::1", true), ("fd00::/8", "fd12::1", true), ("fd00::/8", "fe80::1", false),
            ("10.0.0.0/8", "::ffff:10.1.1.1", true), ("::/0", "1.2.3.4", false),
            ("10.0.0.0/8", "unknown", false),
        ]
        for (range, address, isInside) in table {
            #expect(AddressRange(range)?.contains(address) == isInside, "\(range) \(address)")
        }
        for text in [
            "", "10", "10.0.0.1/8", "10.0.0.0/33", "10.0.0.0/", "10.0.0.0/-1", "host", "::/129",
        ] {
            #expect(AddressRange(text) == nil, "\(text)")
        }
        #expect(AddressRange.isLoopback("127.9.9.9"))
        #expect(AddressRange.isLoopback("::1"))
        #expect(!AddressRange.isLoopback("0.0.0.0"))
        #expect(!AddressRange.isLoopback("localhost"))
    }
}
