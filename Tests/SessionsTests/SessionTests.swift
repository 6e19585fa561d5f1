// Session against session, on real threads: many exchanges at once, slow takers, cuts in every
// phase, and places that become free once.

import Connections
import Sessions
import Streams
import Synchronization
import Testing
import Threads
import Wire

private let requestHead = [UInt8]("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
private let responseHead = [UInt8]("HTTP/1.1 200 OK\r\n\r\n")

/// What an exchange of these tests carries, out of its number alone: both workers know it.
private struct Plan {
    let number: Int
    let request: Body
    let response: Body

    init(_ number: Int) {
        self.number = number
        var random = SeededGenerator(UInt64(number))
        // Some without a byte, some of a few, some far beyond the credit.
        let sizes = [0, 1, 700, 5_000, 65_536, 65_537, 600_000]
        request = Body(seed: 2 * number, count: sizes.randomElement(using: &random) ?? 0)
        response = Body(seed: 2 * number + 1, count: sizes.randomElement(using: &random) ?? 0)
    }

    init(_ head: Piece) { self.init(Int(head.bytes[head.payload].text) ?? -1) }

    var head: Piece { Piece([UInt8]("\(number)")) }
    var endsByTrailers: Bool { number % 3 == 0 }
    var pieces: ClosedRange<Int> { number % 2 == 0 ? 1...3_000 : 1...65_536 }
}

@Suite struct SessionTests {
    @Test(arguments: Transport.allCases)
    func `many exchanges at once carry their bodies both ways, byte for byte`(
        transport: Transport
    ) throws {
        let places = 12
        let each = 4
        let sides = try TwoSides(transport, agent: Settings(maximumExchanges: places))
        let failures = Monitor([String]())
        let crew = Crew()
        // The agent's pool.
        try crew.start(places) { _ in
            guard let doorbell = try? Doorbell() else { return }
            for _ in 0..<each {
                guard let arrived = sides.agent.request() else { return }
                let plan = Plan(arrived.head)
                arrived.exchange.send(head: Piece(responseHead), ends: false, as: .response)
                let outcome = Talk.exchange(
                    arrived.exchange, sending: plan.response, taking: plan.request,
                    sizes: plan.pieces, endsByTrailers: plan.endsByTrailers, doorbell)
                if outcome != .complete {
                    failures.withLock { $0.append("agent \(plan.number): \(outcome)") }
                }
                arrived.exchange.finish()
            }
        }
        // The relay's workers, more than there are places.
        let handle = try #require(sides.relay.handle())
        let next = Atomic(0)
        try crew.start(places + 4) { _ in
            guard let doorbell = try? Doorbell() else { return }
            while true {
                let plan = Plan(next.add(1, ordering: .relaxed).oldValue)
                if plan.number >= places * each { return }
                guard sides.relay.takesPlace(of: places),
                    let exchange = handle.open(request: plan.head, ends: false)
                else {
                    failures.withLock { $0.append("relay \(plan.number): not opened") }
                    return
                }
                let outcome = Talk.exchange(
                    exchange, sending: plan.request, taking: plan.response, sizes: plan.pieces,
                    endsByTrailers: plan.endsByTrailers, doorbell)
                if outcome != .complete {
                    failures.withLock { $0.append("relay \(plan.number): \(outcome)") }
                }
                exchange.finish()
            }
        }
        #expect(crew.hasEnded())
        #expect(failures.withLock { $0 } == [])
        #expect(sides.relay.isOver(places * each))
        #expect(sides.agent.isOver(places * each))
        sides.close()
    }
}

@Suite struct SlowTakerTests {
    @Test(arguments: Transport.allCases)
    func `a worker that takes nothing stops its sender, and nobody else`(
        transport: Transport
    ) throws {
        let window = 65_516
        let sides = try TwoSides(transport)
        let handle = try #require(sides.relay.handle())
        let slow = try #require(handle.open(request: Piece(requestHead), ends: false))
        let slowAtAgent = try #require(sides.agent.request()).exchange
        // Both directions of the first exchange are filled to the brim.
        for exchange in [slow, slowAtAgent] {
            var sent = 0
            while case let credit = exchange.takeCredit(upTo: 7_000), credit > 0 {
                let body = Body(seed: 5, count: window).bytes(from: sent, count: credit)
                #expect(exchange.send(body: Piece(body), ends: false, until: soon))
                sent += credit
            }
            #expect(sent == window)
        }
        // A second one passes beside it.
        let quick = try #require(handle.open(request: Piece(requestHead), ends: false))
        let quickAtAgent = try #require(sides.agent.request()).exchange
        let crew = Crew()
        let sent = Monitor<Bool?>(nil)
        try crew.start { _ in
            let isSent = Talk.send(Body(seed: 6, count: 40 * window), on: quickAtAgent)
            sent.withLock { $0 = isSent }
        }
        #expect(Talk.take(Body(seed: 6, count: 40 * window), from: quick) == .complete)
        #expect(crew.hasEnded())
        #expect(sent.withLock { $0 } == true)
        // The first still stands where it stood; what waited is all there.
        for (exchange, other) in [(slow, slowAtAgent), (slowAtAgent, slow)] {
            #expect(exchange.takeCredit(upTo: 1) == 0)
            #expect(other.send(body: Piece(capacity: 0), ends: true, until: soon))
            #expect(Talk.take(Body(seed: 5, count: window), from: exchange) == .complete)
        }
        #expect(sides.relay.isOver(1))
        #expect(sides.agent.isOver(1))
        sides.close()
    }

    @Test func `a peer that reads nothing stops those who send, until it reads`() throws {
        let confronted = try Confronted(.relay, peerSettings: "initial-credit: 2147483647\n")
        let (side, peer) = (confronted.side, confronted.peer)
        let handle = try #require(side.handle())
        let count = 3_000_000
        let sent = Atomic(0)
        let crew = Crew()
        try crew.start(3) { number in
            guard let exchange = handle.open(request: Piece(requestHead), ends: false)
            else { return }
            let body = Body(seed: number, count: count)
            for start in stride(from: 0, to: count, by: 50_000) {
                _ = exchange.takeCredit(upTo: 50_000)
                let piece = Piece(body.bytes(from: start, count: 50_000))
                if !exchange.send(body: piece, ends: false, until: soon) { return }
                sent.add(50_000, ordering: .relaxed)
            }
        }
        // The queue, the batch and the output are bounded, the socket's buffers too.
        #expect(eventually { sent.load(ordering: .relaxed) > 500_000 })
        #expect(sent.load(ordering: .relaxed) < 3_000_000)
        var received: [UInt32: Int] = [:]
        while received.values.reduce(0, +) < 3 * count, let message = peer.nextMessage() {
            if message.type != 3 { continue }
            received[message.exchange, default: 0] += message.payload.count
        }
        #expect(received == [1: count, 2: count, 3: count])
        #expect(crew.hasEnded())
    }
}

/// When an exchange is cut, seen from its request.
private enum Phase: CaseIterable, Sendable {
    case beforeHead
    case afterHead
    case midBody
    case afterRequestEnd
    case afterResponseEnd
}

private enum Cutter: CaseIterable, Sendable { case relay, agent, both }

@Suite struct CutTests {
    @Test(arguments: Phase.allCases, Cutter.allCases)
    fileprivate func `a cut ends an exchange for both, once, in every phase`(
        phase: Phase, cutter: Cutter
    ) throws {
        let sides = try TwoSides(agent: Settings(maximumExchanges: 1))
        let handle = try #require(sides.relay.handle())
        let atRelay = try #require(handle.open(request: Piece(requestHead), ends: false))
        let atAgent = try #require(sides.agent.request()).exchange
        let hasHead = phase != .beforeHead
        if hasHead { atAgent.send(head: Piece(responseHead), ends: false, as: .response) }
        if phase == .midBody {
            for exchange in [atRelay, atAgent] {
                #expect(exchange.takeCredit(upTo: 5) == 5)
                #expect(exchange.send(body: Piece([1, 2, 3, 4, 5]), ends: false, until: soon))
            }
        }
        if phase == .afterRequestEnd {
            #expect(atRelay.send(body: Piece(capacity: 0), ends: true, until: soon))
        }
        if phase == .afterResponseEnd {
            #expect(atAgent.send(body: Piece(capacity: 0), ends: true, until: soon))
        }
        let gate = Monitor(0)
        let notCut = Atomic(0)
        let crew = Crew()
        // Each cuts if it is its turn, takes what there is, and has the last word of every worker.
        try crew.start(2) { number in
            let isRelay = number == 0
            let exchange = isRelay ? atRelay : atAgent
            gate.withLock { $0 += 1 }
            gate.broadcast()
            _ = gate.wait(until: soon) { $0 == 2 ? true : nil }
            if cutter == .both || (cutter == .relay) == isRelay {
                exchange.reset(isRelay ? .cancelled : .connectionTerminated, "cut")
            } else {
                let isCut = eventually { exchange.cut != nil }
                if !isCut { notCut.add(1, ordering: .relaxed) }
                while exchange.take() != nil {}
            }
            exchange.finish()
        }
        #expect(crew.hasEnded())
        #expect(notCut.load(ordering: .relaxed) == 0)
        #expect(sides.relay.isOver(1))
        #expect(sides.agent.isOver(1))
        // The only place is free again, and the next exchange has it.
        let next = try #require(handle.open(request: Piece(requestHead), ends: true))
        let nextAtAgent = try #require(sides.agent.request()).exchange
        #expect(nextAtAgent.id == atAgent.id + 1)
        nextAtAgent.send(head: Piece(responseHead), ends: true, as: .response)
        guard case .head(_, ends: true) = next.take(until: soon) else {
            Issue.record("no answer")
            return
        }
        #expect(sides.relay.isOver(2))
        #expect(sides.agent.isOver(2))
        sides.close()
    }

    @Test(arguments: Transport.allCases)
    func `cuts at any moment leave the session whole`(transport: Transport) throws {
        let places = 8
        let rounds = 40
        let sides = try TwoSides(transport, agent: Settings(maximumExchanges: places))
        let handle = try #require(sides.relay.handle())
        let crew = Crew()
        let complete = Atomic(0)
        let wrong = Monitor([String]())
        try crew.start(places) { number in
            var random = SeededGenerator(UInt64(number))
            guard let doorbell = try? Doorbell() else { return }
            for _ in 0..<rounds {
                guard let arrived = sides.agent.request() else { return }
                let exchange = arrived.exchange
                exchange.send(head: Piece(responseHead), ends: false, as: .response)
                carry(exchange, isRelay: false, &random, doorbell)
            }
        }
        try crew.start(places) { number in
            var random = SeededGenerator(UInt64(100 + number))
            guard let doorbell = try? Doorbell() else { return }
            for _ in 0..<rounds {
                guard sides.relay.takesPlace(of: places),
                    let exchange = handle.open(request: Piece(requestHead), ends: false)
                else {
                    wrong.withLock { $0.append("not opened") }
                    return
                }
                carry(exchange, isRelay: true, &random, doorbell)
            }
        }
        /// Sends and takes a body; now and then it loses patience after a while.
        @Sendable func carry(
            _ exchange: Exchange, isRelay: Bool, _ random: inout SeededGenerator,
            _ doorbell: Doorbell
        ) {
            let out = Body(seed: isRelay ? 1 : 2, count: 150_000)
            let back = Body(seed: isRelay ? 2 : 1, count: 150_000)
            let patience = Int.random(in: 0..<360_000, using: &random)
            let outcome = Talk.exchange(
                exchange, sending: out, taking: back, sizes: 1...20_000, endsByTrailers: false,
                doorbell, until: patience)
            switch outcome {
            case .complete: complete.add(1, ordering: .relaxed)
            case .impatient: exchange.reset(isRelay ? .cancelled : .connectionTerminated)
            case .cut: break
            case .wrong(let reason): wrong.withLock { $0.append(reason) }
            }
            exchange.finish()
        }
        #expect(crew.hasEnded())
        #expect(wrong.withLock { $0 } == [])
        #expect(sides.relay.isOver(places * rounds))
        #expect(sides.agent.isOver(places * rounds))
        #expect(complete.load(ordering: .relaxed) > 0)
        #expect(!sides.relay.hasEnded)
        #expect(!sides.agent.hasEnded)
        sides.close()
        #expect(sides.relay.over == places * rounds)
    }
}
