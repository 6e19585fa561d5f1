// A peer that breaks the protocol: the session closes with 1002 and says why, and everybody who had
// to do with it is told.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

/// One way to break the protocol, and what the session says of it.
struct Violation: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let reason: String
    let say: @Sendable (RawPeer) throws -> Void

    init(
        _ description: String, _ reason: String, _ say: @escaping @Sendable (RawPeer) throws -> Void
    ) {
        testDescription = description
        self.reason = reason
        self.say = say
    }
}

private let head = [UInt8]("HTTP/1.1 200 OK\r\n\r\n")
private let requestHead = [UInt8]("GET / HTTP/1.1\r\nHost: a\r\n\r\n")

@Suite struct ViolationTests {
    /// What either side may do wrong on exchange 1, which is open both ways.
    static let byEither: [Violation] = [
        Violation("data for an id never opened", "exchange 2 was never opened") {
            try $0.send(.data, exchange: 2, [1])
        },
        Violation("data for id 0", "exchange 0 was never opened") {
            try $0.send(.data, exchange: 0, [1])
        },
        Violation("trailers for an id never opened", "exchange 7 was never opened") {
            try $0.send(.trailers, exchange: 7, [])
        },
        Violation("credit for an id never opened", "exchange 2 was never opened") {
            try $0.sendCredit(1, exchange: 2)
        },
        Violation("a reset for the last id of all", "exchange 4294967295 was never opened") {
            try $0.sendReset(1, exchange: .max)
        },
        Violation("SETTINGS twice", "SETTINGS twice") { try $0.sendSettings() },
        Violation("an unknown flag", "unknown flags 2") {
            try $0.send(.data, flags: 2, exchange: 1, [1])
        },
        Violation("an unknown flag beside END", "unknown flags 129") {
            try $0.send(.data, flags: 0x81, exchange: 1, [1])
        },
        Violation("an unknown flag on DRAIN", "unknown flags 4") { try $0.send(.drain, flags: 4) },
        Violation("empty data that ends nothing", "DATA without bytes") {
            try $0.send(.data, exchange: 1)
        },
        Violation("data beyond the credit", "exchange 1 beyond its credit") {
            try $0.send(.data, exchange: 1, [UInt8](repeating: 0, count: 65_516))
            try $0.send(.data, exchange: 1, [0])
        },
        Violation("data beyond what is left of the credit", "exchange 1 beyond its credit") {
            try $0.send(.data, exchange: 1, [UInt8](repeating: 0, count: 40_000))
            try $0.send(.data, exchange: 1, [UInt8](repeating: 0, count: 25_517))
        },
        Violation("credit beyond 2^31 - 1", "exchange 1 beyond its credit") {
            try $0.sendCredit(0x7FFF_FFFF, exchange: 1)
        },
        Violation("credit just beyond 2^31 - 1", "exchange 1 beyond its credit") {
            try $0.sendCredit(0x7FFF_FFFF - 262_144, exchange: 1)
            try $0.sendCredit(1, exchange: 1)
        },
        Violation("credit of 3 bytes", "malformed credit") {
            try $0.send(.credit, exchange: 1, [0, 0, 1])
        },
        Violation("credit of 5 bytes", "malformed credit") {
            try $0.send(.credit, exchange: 1, [0, 0, 0, 0, 1])
        },
        Violation("a reset without a whole code", "malformed reset") {
            try $0.send(.reset, exchange: 1, [0])
        },
        Violation("a reset with too much to say", "malformed reset") {
            try $0.send(.reset, exchange: 1, [UInt8](repeating: 0x61, count: 515))
        },
        Violation("data after its end", "a message after the end of exchange 1") {
            try $0.send(.data, flags: 1, exchange: 1, [1])
            try $0.send(.data, exchange: 1, [1])
        },
        Violation("a second end", "a message after the end of exchange 1") {
            try $0.send(.data, flags: 1, exchange: 1)
            try $0.send(.data, flags: 1, exchange: 1)
        },
        Violation("trailers after the end", "a message after the end of exchange 1") {
            try $0.send(.data, flags: 1, exchange: 1)
            try $0.send(.trailers, exchange: 1)
        },
        Violation("data after trailers", "a message after the end of exchange 1") {
            try $0.send(.trailers, exchange: 1, [UInt8]("A: b\r\n\r\n"))
            try $0.send(.data, exchange: 1, [1])
        },
        Violation("data after a reset", "a message after the end of exchange 1") {
            try $0.sendReset(1, exchange: 1)
            try $0.send(.data, exchange: 1, [1])
        },
        Violation("a message without a whole header", "message shorter than its header") {
            try $0.send(bytes: $0.frame(2, [3, 0, 0, 0, 0]))
        },
        Violation("an empty message", "message shorter than its header") {
            try $0.send(bytes: $0.frame(2, []))
        },
        Violation("text", "text message where binary ones are spoken") {
            try $0.send(bytes: $0.frame(1, RawPeer.message(3, exchange: 1, [1])))
        },
        Violation("reserved bits", "reserved bits set in a frame") {
            var frame = $0.frame(2, RawPeer.message(3, exchange: 1, [1]))
            frame[0] |= 0x40
            try $0.send(bytes: frame)
        },
        Violation("an opcode that is none", "unknown frame opcode") {
            try $0.send(bytes: $0.frame(3, [1]))
        },
        Violation("a ping in fragments", "fragmented control frame") {
            try $0.send(bytes: $0.frame(9, [1], isFinal: false))
        },
        Violation("a long ping", "control frame longer than 125 bytes") {
            try $0.send(bytes: $0.frame(9, [UInt8](repeating: 1, count: 126)))
        },
        Violation("a continuation of nothing", "frame out of order") {
            try $0.send(bytes: $0.frame(0, RawPeer.message(3, exchange: 1, [1])))
        },
        Violation("a message inside another", "frame out of order") {
            try $0.send(
                bytes: $0.frame(2, RawPeer.message(3, exchange: 1, [1]), isFinal: false))
            try $0.send(bytes: $0.frame(2, RawPeer.message(3, exchange: 1, [1])))
        },
        Violation("a frame too large", "frame too large") {
            try $0.send(
                bytes: $0.frame(
                    2, RawPeer.message(3, exchange: 1, [UInt8](repeating: 1, count: 65_537))))
        },
        Violation("a message too large, in fragments", "message too large") {
            let payload = [UInt8](repeating: 1, count: 40_000)
            try $0.send(
                bytes: $0.frame(2, RawPeer.message(3, exchange: 1, payload), isFinal: false))
            try $0.send(bytes: $0.frame(0, payload, isFinal: false))
        },
        Violation("half a close code", "malformed close frame") {
            try $0.send(bytes: $0.frame(8, [3]))
        },
        Violation("a close code that is never sent", "malformed close frame") {
            try $0.sendClose(code: 1006)
        },
    ]

    static let byAgent: [Violation] = [
        Violation("a response for an id never opened", "exchange 2 was never opened") {
            try $0.send(.response, exchange: 2, head)
        },
        Violation("a request", "REQUEST from an agent") {
            try $0.send(.request, exchange: 2, requestHead)
        },
        Violation("a response after its end", "a message after the end of exchange 1") {
            try $0.send(.response, flags: 1, exchange: 1, head)
            try $0.send(.response, exchange: 1, head)
        },
        Violation("heads without end", "more heads than may wait on exchange 1") { peer in
            for _ in 0..<17 {
                try peer.send(.response, exchange: 1, [UInt8]("HTTP/1.1 102 Processing\r\n\r\n"))
            }
        },
        Violation("a frame without a mask", "frame masked by the wrong side") {
            try $0.send(
                bytes: RawPeer.frame(2, RawPeer.message(3, exchange: 1, [1]), masked: false))
        },
    ]

    static let byRelay: [Violation] = [
        Violation("a request with id 0", "exchange 0 opened after 1") {
            try $0.send(.request, exchange: 0, requestHead)
        },
        Violation("an id used twice", "exchange 1 opened after 1") {
            try $0.send(.request, exchange: 1, requestHead)
        },
        Violation("an id smaller than the last", "exchange 3 opened after 5") {
            try $0.send(.request, exchange: 5, requestHead)
            try $0.send(.request, exchange: 3, requestHead)
        },
        Violation("an id used twice, after its reset", "exchange 5 opened after 5") {
            try $0.send(.request, flags: 1, exchange: 5, requestHead)
            try $0.sendReset(1, exchange: 5)
            try $0.send(.request, flags: 1, exchange: 5, requestHead)
        },
        Violation("more requests than are taken", "more than 3 exchanges") {
            try $0.send(.request, flags: 1, exchange: 2, requestHead)
            try $0.send(.request, flags: 1, exchange: 3, requestHead)
            try $0.send(.request, flags: 1, exchange: 4, requestHead)
        },
        Violation("opening and cancelling in a loop", "more than 3 exchanges") { peer in
            for id in UInt32(2)...3 {
                try peer.send(.request, exchange: id, requestHead)
                try peer.sendReset(1, exchange: id)
            }
            try peer.send(.request, exchange: 4, requestHead)
        },
        Violation("a response", "RESPONSE from a relay") {
            try $0.send(.response, exchange: 1, head)
        },
        Violation("data after a request without a body", "a message after the end of exchange 2") {
            try $0.send(.request, flags: 1, exchange: 2, requestHead)
            try $0.send(.data, exchange: 2, [1])
        },
        Violation("a frame with a mask", "frame masked by the wrong side") {
            try $0.send(
                bytes: RawPeer.frame(2, RawPeer.message(3, exchange: 1, [1]), masked: true))
        },
    ]

    static let first: [Violation] = [
        Violation("data", "a message before SETTINGS") { try $0.send(.data, exchange: 1, [1]) },
        Violation("a drain", "a message before SETTINGS") { try $0.send(.drain) },
        Violation("a request", "a message before SETTINGS") {
            try $0.send(.request, exchange: 1, requestHead)
        },
        Violation("no line", "malformed settings") { try $0.sendSettings("maximum-exchanges") },
        Violation("no room for an exchange", "malformed settings") {
            try $0.sendSettings("maximum-exchanges: 0\n")
        },
        Violation("too much room", "malformed settings") {
            try $0.sendSettings("initial-credit: 2147483648\n")
        },
        Violation("an instance of foreign characters", "malformed settings") {
            try $0.sendSettings("instance: a b\n")
        },
    ]

    @Test(arguments: byEither + byAgent)
    func `a relay closes, and says what the agent did`(violation: Violation) throws {
        let (side, peer) = try confronted(.relay)
        let handle = try #require(side.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        #expect(peer.nextMessage()?.type == 1)
        try violation.say(peer)
        expectClose(side, peer, violation.reason)
        // Whoever waits on the exchange is told, and its place is free: once.
        #expect(isCut(exchange))
        #expect(side.isOver(1))
        #expect(handle.open(request: Piece(requestHead), ends: true) == nil)
    }

    @Test(arguments: byEither + byRelay)
    func `an agent closes, and says what the relay did`(violation: Violation) throws {
        let (side, peer) = try confronted(.agent)
        try peer.send(.request, exchange: 1, requestHead)
        let request = try #require(side.request())
        try violation.say(peer)
        expectClose(side, peer, violation.reason)
        #expect(isCut(request.exchange))
    }

    @Test(arguments: first, [Session.Role.relay, .agent])
    func `the first message is SETTINGS, or the session closes`(
        violation: Violation, role: Session.Role
    ) throws {
        let (side, peer) = try confronted(role, greets: false)
        try violation.say(peer)
        expectClose(side, peer, violation.reason)
        #expect(side.state.withLock { $0.handle == nil })
    }

    private func confronted(
        _ role: Session.Role, greets: Bool = true
    ) throws -> (Side, RawPeer) {
        let confronted = try Confronted(
            role, settings: Settings(maximumExchanges: 3), greets: greets)
        return (confronted.side, confronted.peer)
    }

    private func expectClose(_ side: Side, _ peer: RawPeer, _ reason: String) {
        #expect(peer.close() == .close(code: 1002, reason: reason))
        #expect(side.end() == .protocolError(reason))
        #expect(side.state.withLock { $0.sessionEnds } == 1)
    }

    /// Whether the worker of an exchange learns, behind what had arrived, that it was cut.
    private func isCut(_ exchange: Exchange) -> Bool {
        while let arrival = exchange.take(until: soon) {
            if case .reset = arrival { return true }
        }
        return exchange.cutAndTaken != nil
    }
}
