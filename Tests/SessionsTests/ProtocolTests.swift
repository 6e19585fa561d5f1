// What a session says and takes on the wire, message by message, against a peer spoken by hand.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

private let requestHead = [UInt8]("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
/// What every session grants on a new exchange, and the most that it grants later.
private let initialWindow = 65_516
private let widestWindow = 4 * initialWindow
private let responseHead = [UInt8]("HTTP/1.1 200 OK\r\n\r\n")

/// What was taken from an exchange, one after the other, in short.
private func arrivals(_ exchange: Exchange, _ count: Int) -> [String] {
    (0..<count).map { _ in
        switch exchange.take(until: soon) {
        case .head(let piece, let ends): "head \(piece.count)\(ends ? " end" : "")"
        case .body(let piece, let ends): "body \(piece.count)\(ends ? " end" : "")"
        case .trailers(let piece): "trailers \(piece.count)"
        case .reset(let reset): "reset \(reset.rawCode) \(reset.reason)"
        case nil: "nothing"
        }
    }
}

@Suite struct ProtocolTests {
    // MARK: - What is said

    @Test func `the agent's SETTINGS come first, without waiting for the relay's`() throws {
        let settings = Settings(program: "magicmirror 1.2", maximumExchanges: 7, instance: "x-1")
        let connected = try Connected(.pair)
        let side = try Side(.agent, connected.agent, settings: settings)
        let peer = try RawPeer(.relay, connected.relay)
        expectSettings(peer.nextMessage(), settings)
        try peer.sendSettings("from-the-future: 1\ninitial-credit: 5\n")
        #expect(side.handle()?.peer == Settings(initialCredit: 5))
    }

    @Test func `the relay's SETTINGS come once it knows the agent's`() throws {
        let settings = Settings(program: "magicmirrord 1.2", maximumExchanges: 7)
        let connected = try Connected(.pair)
        let side = try Side(.relay, connected.relay, settings: settings)
        let peer = try RawPeer(.agent, connected.agent)
        try peer.send(bytes: peer.frame(9, [1]))
        #expect(peer.next() == .pong([1]))
        try peer.sendSettings("instance: agent-1\nmaximum-exchanges: 9\n")
        expectSettings(peer.nextMessage(), settings)
        // Whoever hears them can rely on it that the mirror is entered.
        #expect(
            side.state.withLock { $0.handle?.peer }
                == Settings(maximumExchanges: 9, instance: "agent-1"))
    }

    private func expectSettings(_ message: RawPeer.Message?, _ settings: Settings) {
        #expect(message?.type == 0)
        #expect(message?.flags == 0)
        #expect(message?.exchange == 0)
        var expected = settings
        expected.initialCredit = initialWindow
        let payload = message?.payload ?? []
        #expect((try? Settings.parse(payload, payload.indices)) == expected)
    }

    @Test func `bytes that came with the upgrade are read at once`() throws {
        let connected = try Connected(.pair)
        let settings = RawPeer.message(0, [UInt8]("maximum-exchanges: 3\n"))
        let side = try Side(
            .agent, connected.agent, input: RawPeer.frame(2, settings, masked: false))
        #expect(side.handle()?.peer.maximumExchanges == 3)
        withExtendedLifetime(connected) {}
    }

    @Test func `ids count up from 1, whoever opens`() throws {
        let confronted = try Confronted(.relay)
        let handle = try #require(confronted.side.handle())
        let crew = Crew()
        try crew.start(4) { _ in
            for _ in 0..<10 { _ = handle.open(request: Piece(requestHead), ends: true) }
        }
        for id in UInt32(1)...40 {
            let message = confronted.peer.nextMessage()
            #expect(message?.type == 1)
            #expect(message?.flags == 1)
            #expect(message?.exchange == id)
            #expect(message?.payload == requestHead)
        }
        #expect(crew.hasEnded())
    }

    @Test func `an exchange is said as it is`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        #expect(exchange.takeCredit(upTo: 3) == 3)
        #expect(exchange.send(body: Piece([1, 2, 3]), ends: false, until: soon))
        exchange.send(trailers: Piece([UInt8]("A: b\r\n\r\n")))
        #expect(
            try peer.messagesSoFar() == [
                .init(type: 3, flags: 0, exchange: 1, payload: [1, 2, 3]),
                .init(type: 4, flags: 0, exchange: 1, payload: [UInt8]("A: b\r\n\r\n")),
            ])
        let next = try open(side, peer)
        #expect(next.send(body: Piece(capacity: 0), ends: true, until: soon))
        #expect(
            try peer.messagesSoFar() == [.init(type: 3, flags: 1, exchange: 2, payload: [])])
    }

    @Test func `a piece of no bytes that ends nothing is not said`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        #expect(exchange.send(body: Piece(capacity: 0), ends: false, until: soon))
        #expect(try peer.messagesSoFar().isEmpty)
    }

    @Test func `after its end, or its reset, a side says nothing more but one reset`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        _ = exchange.takeCredit(upTo: 100)
        #expect(exchange.send(body: Piece([1]), ends: true, until: soon))
        #expect(!exchange.send(body: Piece([2]), ends: true, until: soon))
        _ = exchange.send(body: Piece([2]), ends: false, until: soon)
        exchange.send(trailers: Piece([UInt8]("\r\n")))
        exchange.reset(.cancelled, "gone")
        exchange.reset(.dnsError)
        exchange.finish()
        _ = exchange.send(body: Piece([3]), ends: false, until: soon)
        #expect(exchange.takeCredit(upTo: 5) == 0)
        #expect(
            try peer.messagesSoFar() == [
                .init(type: 3, flags: 1, exchange: 1, payload: [1]),
                .init(type: 6, flags: 0, exchange: 1, payload: [0, 1] + [UInt8]("gone")),
            ])
    }

    // MARK: - What is taken

    @Test func `a response is taken as it came`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, [UInt8]("HTTP/1.1 103 Early Hints\r\n\r\n"))
        try peer.send(.response, exchange: 1, responseHead)
        try peer.send(.data, exchange: 1, [UInt8](repeating: 7, count: initialWindow))
        try peer.send(.trailers, exchange: 1, [UInt8]("A: b\r\n\r\n"))
        #expect(
            arrivals(exchange, 4) == ["head 28", "head 19", "body 65516", "trailers 8"])
        let next = try open(side, peer)
        try peer.send(.response, exchange: 2, responseHead)
        try peer.send(.data, flags: 1, exchange: 2)
        #expect(arrivals(next, 2) == ["head 19", "body 0 end"])
        let last = try open(side, peer)
        try peer.send(.response, flags: 1, exchange: 3, responseHead)
        #expect(arrivals(last, 1) == ["head 19 end"])
    }

    @Test func `a request is taken as it came`() throws {
        let (side, peer) = try agent()
        try peer.send(.request, exchange: 3, requestHead)
        try peer.send(.data, exchange: 3, [1, 2])
        try peer.send(.data, flags: 1, exchange: 3, [3])
        let first = try #require(side.request())
        #expect(first.exchange.id == 3)
        #expect(Array(first.head.bytes[first.head.payload]) == requestHead)
        #expect(!first.ends)
        var body: [UInt8] = []
        while body.count < 3, case .body(let piece, _) = first.exchange.take(until: soon) {
            body += piece.bytes[piece.payload]
        }
        #expect(body == [1, 2, 3])
        // Ids may leave some out.
        try peer.send(.request, flags: 1, exchange: 900, requestHead)
        let second = try #require(side.request())
        #expect(second.exchange.id == 900)
        #expect(second.ends)
    }

    @Test func `a message in fragments, with a ping inside, is one message`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        let message = RawPeer.message(2, flags: 1, exchange: 1, responseHead)
        try peer.send(bytes: peer.frame(2, Array(message[..<3]), isFinal: false))
        try peer.send(bytes: peer.frame(9, [42]))
        try peer.send(bytes: peer.frame(0, [], isFinal: false))
        try peer.send(bytes: peer.frame(0, Array(message[3..<10]), isFinal: false))
        try peer.send(bytes: peer.frame(0, Array(message[10...])))
        #expect(arrivals(exchange, 1) == ["head 19 end"])
        #expect(peer.next() == .pong([42]))
    }

    @Test func `small pieces that nobody takes wait as few large ones`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, responseHead)
        var bytes: [UInt8] = []
        for number in 0..<20_000 {
            bytes += peer.frame(
                2, RawPeer.message(3, exchange: 1, [UInt8(truncatingIfNeeded: number)]))
        }
        try peer.send(bytes: bytes)
        try peer.send(.trailers, exchange: 1, [])
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(arrivals(exchange, 1) == ["head 19"])
        var body: [UInt8] = []
        var pieces = 0
        while case .body(let piece, false) = exchange.take(until: soon) {
            body += piece.bytes[piece.payload]
            pieces += 1
        }
        #expect(body == (0..<20_000).map { UInt8(truncatingIfNeeded: $0) })
        #expect(pieces <= 20)
    }

    // MARK: - What is ignored

    @Test(arguments: [UInt8(8), 9, 0x80, 0xFF], [UInt8(0), 1, 2, 0xFF])
    func `a message of an unknown type is ignored, whatever it says`(
        type: UInt8, flags: UInt8
    ) throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        for id in [UInt32(0), 1, 2, .max] {
            try peer.send(raw: type, flags: flags, exchange: id, [1, 2, 3])
        }
        try peer.send(.response, flags: 1, exchange: 1, responseHead)
        #expect(arrivals(exchange, 1) == ["head 19 end"])
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(!side.hasEnded)
    }

    @Test func `what comes for an exchange that is over is ignored by the relay`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer, ends: true)
        try peer.send(.response, flags: 1, exchange: 1, responseHead)
        #expect(side.isOver(1))
        try sayLate(peer, isRelay: false)
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(arrivals(exchange, 1) == ["head 19 end"])
        if exchange.take() != nil { Issue.record("more than was sent") }
        #expect(exchange.cut == nil)
        #expect(side.over == 1)
    }

    @Test func `what comes for an exchange that is over is ignored by the agent`() throws {
        let (side, peer) = try agent()
        try peer.send(.request, flags: 1, exchange: 1, requestHead)
        let request = try #require(side.request())
        request.exchange.send(head: Piece(responseHead), ends: true, as: .response)
        #expect(side.isOver(1))
        #expect(peer.nextMessage()?.type == 2)
        try sayLate(peer, isRelay: true)
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(request.exchange.take() == nil)
        #expect(side.over == 1)
    }

    private func sayLate(_ peer: RawPeer, isRelay: Bool) throws {
        try peer.send(.data, exchange: 1, [1])
        try peer.send(.data, flags: 1, exchange: 1)
        try peer.send(.trailers, exchange: 1)
        try peer.sendCredit(.max, exchange: 1)
        try peer.sendReset(1, exchange: 1)
        if !isRelay { try peer.send(.response, exchange: 1, responseHead) }
    }

    @Test func `credit of nothing, pongs and drains may come again and again`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        for _ in 0..<3 {
            try peer.sendCredit(0, exchange: 1)
            try peer.send(bytes: peer.frame(10, [1]))
            try peer.send(.drain)
        }
        try peer.send(.response, flags: 1, exchange: 1, responseHead)
        #expect(arrivals(exchange, 1) == ["head 19 end"])
        #expect(try peer.messagesSoFar().isEmpty)
    }

    @Test func `a ping is answered by its own payload, whatever else waits`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, responseHead)
        // Nobody takes it.
        try peer.send(.data, exchange: 1, [UInt8](repeating: 1, count: initialWindow))
        try peer.send(bytes: peer.frame(9, [UInt8](repeating: 9, count: 125)))
        try peer.send(bytes: peer.frame(9, []))
        #expect(peer.next() == .pong([UInt8](repeating: 9, count: 125)))
        #expect(peer.next() == .pong([]))
        withExtendedLifetime(exchange) {}
        #expect(!side.hasEnded)
    }

    // MARK: - Ending an exchange

    @Test func `a reset is answered, and only then the exchange is over`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, responseHead)
        try peer.send(.reset, exchange: 1, [0, 7] + [UInt8]("origin closed"))
        #expect(arrivals(exchange, 2) == ["head 19", "reset 7 origin closed"])
        #expect(exchange.cut?.code == .httpResponseIncomplete)
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(side.over == 0)
        exchange.finish()
        #expect(side.isOver(1))
        #expect(
            try peer.messagesSoFar() == [.init(type: 6, flags: 0, exchange: 1, payload: [0, 0])])
    }

    @Test func `a reset is not answered where this side has ended`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer, ends: true)
        try peer.sendReset(2, exchange: 1)
        #expect(side.isOver(1))
        #expect(arrivals(exchange, 1) == ["reset 2 "])
        exchange.finish()
        exchange.reset(.cancelled)
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(side.over == 1)
    }

    @Test func `a reset that is not answered keeps its place`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        exchange.reset(.cancelled, "the client went away")
        #expect(peer.nextMessage()?.type == 6)
        // What was on its way is ignored, but does not end the exchange.
        try peer.send(.response, exchange: 1, responseHead)
        try peer.send(.data, exchange: 1, [1, 2, 3])
        #expect(try peer.messagesSoFar().isEmpty)
        if exchange.take() != nil { Issue.record("more than was sent") }
        #expect(side.over == 0)
        try peer.sendReset(0, exchange: 1)
        #expect(side.isOver(1))
        #expect(try peer.messagesSoFar().isEmpty)
    }

    @Test func `a reset after the peer's own end only stops this side`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, responseHead)
        try peer.send(.data, flags: 1, exchange: 1, [1, 2, 3])
        try peer.sendReset(0, exchange: 1)
        #expect(eventually { exchange.cut != nil })
        // The answer is complete, and can be taken.
        #expect(arrivals(exchange, 2) == ["head 19", "body 3 end"])
        #expect(exchange.takeCredit(upTo: 1) == 0)
        #expect(side.over == 0)
        exchange.finish()
        #expect(side.isOver(1))
        #expect(
            try peer.messagesSoFar() == [.init(type: 6, flags: 0, exchange: 1, payload: [0, 0])])
    }

    @Test func `an end after this side's reset ends the exchange`() throws {
        let (side, peer) = try agent()
        try peer.send(.request, exchange: 1, requestHead)
        let exchange = try #require(side.request()).exchange
        exchange.reset(.connectionRefused, "no")
        #expect(
            peer.nextMessage()
                == .init(type: 6, flags: 0, exchange: 1, payload: [0, 2] + [UInt8]("no")))
        try peer.send(.data, exchange: 1, [1])
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(side.over == 0)
        try peer.send(.data, flags: 1, exchange: 1, [1])
        #expect(side.isOver(1))
    }

    @Test func `a code of a later version is known by its number`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer, ends: true)
        try peer.send(.reset, exchange: 1, [0x12, 0x34, 0xFF])
        guard case .reset(let reset) = exchange.take(until: soon) else {
            Issue.record("no reset")
            return
        }
        #expect(reset.code == nil)
        #expect(reset.rawCode == 0x1234)
        #expect(reset.reason == "\u{FFFD}")
        withExtendedLifetime(side) {}
    }

    // MARK: - Credit

    @Test(arguments: [1, 2, 999, 65_536, 300_000])
    func `no more is sent than the peer has granted`(window: Int) throws {
        let confronted = try Confronted(.relay, peerSettings: "initial-credit: \(window)\n")
        let (side, peer) = (confronted.side, confronted.peer)
        let exchange = try open(side, peer)
        let body = Body(seed: 1, count: 2 * window + 10)
        let crew = Crew()
        try crew.start { _ in _ = Talk.send(body, on: exchange) }
        var received: [UInt8] = []
        /// Takes what has come, until there is as much as may come; then nothing more does.
        func expect(_ total: Int) throws {
            while received.count < total, let message = peer.nextMessage() {
                #expect(message.type == 3)
                received += message.payload
            }
            #expect(received.count == total)
            #expect(try peer.messagesSoFar().isEmpty)
        }
        try expect(window)
        try peer.sendCredit(1, exchange: 1)
        try expect(window + 1)
        try peer.sendCredit(UInt32(window), exchange: 1)
        try expect(2 * window + 1)
        try peer.sendCredit(0x7000_0000, exchange: 1)
        while received.count < body.count, let message = peer.nextMessage() {
            received += message.payload
        }
        #expect(received.count == body.count)
        #expect(body.holds(received[...], at: 0))
        #expect(crew.hasEnded())
    }

    @Test(arguments: [1, 999, 60_000, 65_536])
    func `no more is granted than was passed on, within the window, and none after the end`(
        size: Int
    ) throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.send(.response, exchange: 1, responseHead)
        let body = Body(seed: 2, count: size == 1 ? 100_000 : 1_000_000)
        var sent = 0
        var credit = initialWindow
        var taken = 0
        var widest = 0
        /// Uses all the credit there is.
        func send() throws {
            var bytes: [UInt8] = []
            while credit > 0, sent < body.count {
                let count = min(credit, size, body.count - sent)
                let message = RawPeer.message(
                    3, flags: sent + count == body.count ? 1 : 0, exchange: 1,
                    body.bytes(from: sent, count: count))
                bytes += peer.frame(2, message)
                sent += count
                credit -= count
            }
            try peer.send(bytes: bytes)
        }
        try send()
        #expect(arrivals(exchange, 1) == ["head 19"])
        var hasEnded = false
        while !hasEnded {
            // Whoever asks for the next piece has passed the last one on: then it is granted anew.
            let waiting = exchange.take()
            for message in try peer.messagesSoFar() {
                #expect(message.type == 5)
                #expect(message.exchange == 1)
                #expect(sent < body.count)
                credit += message.payload.reduce(0) { $0 << 8 | Int($1) }
            }
            widest = max(widest, credit + sent - taken)
            try send()
            guard case .body(let piece, let ends) = waiting ?? exchange.take(until: soon) else {
                break
            }
            #expect(body.holds(piece.bytes[piece.payload], at: taken))
            taken += piece.count
            hasEnded = ends
        }
        #expect(taken == body.count)
        // Unused credit and what waits here, together.
        #expect(widest <= widestWindow)
        #expect(widest > initialWindow)
        #expect(try peer.messagesSoFar().isEmpty)
    }

    @Test func `what all exchanges together may hold is bounded, and each still moves`() throws {
        let (side, peer) = try relay()
        let handle = try #require(side.handle())
        var exchanges: [Exchange] = []
        for _ in 0..<160 {
            exchanges.append(try #require(handle.open(request: Piece(requestHead), ends: true)))
            #expect(peer.nextMessage()?.type == 1)
        }
        var credit = [UInt32: Int]()
        for exchange in exchanges { credit[exchange.id] = initialWindow }
        for round in 0..<3 {
            for exchange in exchanges {
                // Enough that every window wants to be filled again.
                let count = min(initialWindow, credit[exchange.id] ?? 0)
                #expect(count >= initialWindow / 2, "round \(round)")
                credit[exchange.id]? -= count
                try peer.send(
                    .data, exchange: exchange.id, [UInt8](repeating: 1, count: count))
                #expect(arrivals(exchange, 1) == ["body \(count)"])
                if exchange.take() != nil { Issue.record("more than was sent") }
                for message in try peer.messagesSoFar() {
                    credit[message.exchange]? += message.payload.reduce(0) { $0 << 8 | Int($1) }
                }
            }
            // 2 MiB, one wide window that was given when it was almost reached, and the first
            // window of each.
            let promised = credit.values.reduce(0, +)
            #expect(promised <= 2 << 20 + widestWindow + 160 * initialWindow)
        }
        // What they held is free again for others.
        for exchange in exchanges {
            try peer.send(.response, flags: 1, exchange: exchange.id, responseHead)
        }
        #expect(side.isOver(160))
        exchanges = []
        let last = try open(side, peer, ends: true)
        try peer.send(.data, exchange: last.id, [UInt8](repeating: 1, count: initialWindow))
        #expect(arrivals(last, 1) == ["body \(initialWindow)"])
        #expect(try peer.messagesSoFar().isEmpty)
        if last.take() != nil { Issue.record("more than was sent") }
        #expect(try peer.messagesSoFar().map(\.payload) == [[0, 3, 0xFF, 0xB0]])
    }

    @Test func `credit up to 2^31 - 1 is taken`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        try peer.sendCredit(0x7FFF_FFFF - 262_144, exchange: 1)
        #expect(eventually { exchange.takeCredit(upTo: Int.max) > 0 })
        #expect(try peer.messagesSoFar().isEmpty)
        #expect(!side.hasEnded)
    }

    @Test func `credit that was not used is given back`() throws {
        let (side, peer) = try relay()
        let exchange = try open(side, peer)
        #expect(exchange.takeCredit(upTo: 200_000) == 200_000)
        #expect(exchange.takeCredit(upTo: 200_000) == 62_144)
        #expect(exchange.takeCredit(upTo: 1) == 0)
        #expect(!exchange.hasCredit)
        exchange.returnCredit(5)
        #expect(exchange.hasCredit)
        #expect(exchange.takeCredit(upTo: 10) == 5)
        withExtendedLifetime(side) {}
    }

    // MARK: -

    private func relay() throws -> (Side, RawPeer) {
        let confronted = try Confronted(.relay)
        return (confronted.side, confronted.peer)
    }

    private func agent() throws -> (Side, RawPeer) {
        let confronted = try Confronted(.agent)
        return (confronted.side, confronted.peer)
    }

    /// Opens an exchange; its REQUEST has come.
    private func open(_ side: Side, _ peer: RawPeer, ends: Bool = false) throws -> Exchange {
        let handle = try #require(side.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: ends))
        // Credit for others may come before.
        while let message = peer.nextMessage(), message.type != 1 { #expect(message.type == 5) }
        return exchange
    }
}
