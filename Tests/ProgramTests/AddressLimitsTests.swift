import Testing
import Threads
import Wire

@testable import Relay

@Suite struct AddressLimitsTests {
    private func network(_ text: String) -> ClientNetwork { ClientNetwork(IPAddress(text)!) }

    @Test(arguments: [
        ("192.0.2.1", "192.0.2.1", true), ("192.0.2.1", "192.0.2.2", false),
        ("192.0.2.1", "::ffff:192.0.2.1", true),
        ("2001:db8:1:2::1", "2001:db8:1:2:ffff::9", true),
        ("2001:db8:1:2::1", "2001:db8:1:3::1", false),
        // The first half of an IPv6 address may have the bits of an IPv4 address.
        ("192.0.2.1", "0:0:c000:201::", false), ("0.0.0.0", "::", false),
    ])
    func `clients are told apart by IPv4 address and IPv6 network`(
        one: String, other: String, isSame: Bool
    ) {
        #expect((network(one) == network(other)) == isSame)
        #expect(network(one) != ClientNetwork(nil))
    }

    @Test func `the exchange after the last is refused, until one ends`() {
        let limits = AddressLimits()
        let client = network("192.0.2.1")
        for _ in 0..<3 { #expect(limits.exchangeBegins(client, atMost: 3)) }
        #expect(!limits.exchangeBegins(client, atMost: 3))
        #expect(limits.exchangeBegins(network("192.0.2.2"), atMost: 3))
        limits.exchangeEnds(client)
        #expect(limits.exchangeBegins(client, atMost: 3))
        #expect(!limits.exchangeBegins(client, atMost: 3))
    }

    @Test func `an address without an exchange takes no room`() {
        let limits = AddressLimits()
        for number in 0..<1000 {
            let client = network("192.0.\(number / 256).\(number % 256)")
            #expect(limits.exchangeBegins(client, atMost: 3))
            #expect(limits.exchangeBegins(client, atMost: 3))
            limits.exchangeEnds(client)
            limits.exchangeEnds(client)
        }
        #expect(limits.count.exchanging == 0)
    }

    @Test func `the wrong key after the last waits for the minute's end`() {
        let limits = AddressLimits()
        let client = network("192.0.2.1")
        let start = Deadline.now
        let second = 1_000_000_000
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start) == nil)
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start + second) == nil)
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start + 2 * second) == nil)
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start + 50 * second) == 11)
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start + (60 * second - 1)) == 1)
        #expect(
            limits.wrongKeyComes(from: network("192.0.2.2"), atMost: 3, now: start + second) == nil)
        #expect(limits.wrongKeyComes(from: client, atMost: 3, now: start + 60 * second) == nil)
    }

    @Test func `the table of wrong keys does not grow beyond its bound, and is emptied`() {
        let limits = AddressLimits()
        let start = Deadline.now
        let address = { (number: Int) in
            ClientNetwork(
                IPAddress(bytes: [
                    10, UInt8(number >> 16), UInt8(number >> 8 & 255), UInt8(number & 255),
                ]))
        }
        let first = AddressLimits.maximumAddresses
        for number in 0..<(first + 1000) {
            #expect(limits.wrongKeyComes(from: address(number), atMost: 1, now: start) == nil)
        }
        #expect(limits.count.withWrongKeys == first)
        // Whoever is in it is held; who came too late is not.
        #expect(limits.wrongKeyComes(from: address(first - 1), atMost: 1, now: start) != nil)
        #expect(limits.wrongKeyComes(from: address(first), atMost: 1, now: start) == nil)
        let next = start + AddressLimits.window.nanoseconds
        #expect(limits.wrongKeyComes(from: address(first), atMost: 1, now: next) == nil)
        #expect(limits.count.withWrongKeys == 1)
    }

    @Test func `a limit of 0 is none`() {
        let limits = AddressLimits()
        for _ in 0..<10_000 {
            #expect(limits.exchangeBegins(network("192.0.2.1"), atMost: 0))
            #expect(limits.wrongKeyComes(from: network("192.0.2.1"), atMost: 0) == nil)
        }
        #expect(limits.count.withWrongKeys == 0)
    }
}
