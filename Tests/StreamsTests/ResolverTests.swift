// Lookups of names: their deadline, and how many may hang.

import Streams
import Testing
import Threads

@Suite struct ResolverTests {
    private let loopback: [SocketAddress]

    init() throws {
        loopback = try SocketAddress.resolve(host: "127.0.0.1", port: 80, numericOnly: true)
    }

    /// A resolver that answers once it is let.
    private final class Slow: Sendable {
        private let state = Monitor((asked: 0, answers: false))
        private let addresses: [SocketAddress]

        init(_ addresses: [SocketAddress]) { self.addresses = addresses }

        var asked: Int { state.withLock { $0.asked } }

        func answer() {
            state.withLock { $0.answers = true }
            state.broadcast()
        }

        func look() -> [SocketAddress] {
            state.withLock { $0.asked += 1 }
            _ = state.wait(until: soon) { $0.answers ? true : nil }
            return addresses
        }
    }

    private func error(_ resolver: Resolver, _ deadline: Deadline) -> StreamError? {
        do {
            _ = try resolver.addresses(of: "name.test", port: 80, until: deadline)
            return nil
        } catch {
            return error
        }
    }

    @Test func `an answer and a failure are passed on as they are`() throws {
        let resolver = Resolver(maximumLookups: 1) { host, port throws(StreamError) in
            if host == "none.test" { throw .nameUnknown("nobody ('\(host)')") }
            return try SocketAddress.resolve(host: "127.0.0.2", port: port, numericOnly: true)
        }
        // One after the other: a lookup that has ended makes room.
        for _ in 1...3 {
            let found = try resolver.addresses(of: "name.test", port: 81, until: soon)
            #expect(found.map(\.description) == ["127.0.0.2:81"])
            #expect(throws: StreamError.nameUnknown("nobody ('none.test')")) {
                try resolver.addresses(of: "none.test", port: 81, until: soon)
            }
        }
    }

    @Test
    func `a resolver that hangs is left at the deadline, and costs so many threads and no more`()
        throws
    {
        let slow = Slow(loopback)
        let resolver = Resolver(maximumLookups: 2) { _, _ throws(StreamError) in slow.look() }
        let late = StreamError.nameUnknown("no answer from the resolver in time ('name.test')")
        for _ in 1...4 { #expect(error(resolver, .after(milliseconds: 20)) == late) }
        #expect(slow.asked == 2)
        // An address in figures needs none of them.
        let figures = try resolver.addresses(of: "::1", port: 80, until: .now)
        #expect(figures.map(\.description) == ["[::1]:80"])
        slow.answer()
        #expect(error(resolver, soon) == nil)
    }

    @Test func `who waits for a place among the lookups gets it`() throws {
        let slow = Slow(loopback)
        let resolver = Resolver(maximumLookups: 1) { _, _ throws(StreamError) in slow.look() }
        let answered = Monitor(0)
        for number in 1...3 {
            try Thread.start(name: "test-\(number)") { [loopback] in
                let found = try? resolver.addresses(of: "name.test", port: 80, until: soon)
                if found?.count == loopback.count { answered.withLock { $0 += 1 } }
                answered.broadcast()
            }
        }
        slow.answer()
        #expect(answered.wait(until: soon) { $0 == 3 ? true : nil } == true)
    }
}
