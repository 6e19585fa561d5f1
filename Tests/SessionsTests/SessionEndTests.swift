// How sessions end: by loss, by silence, by order, by draining; and that everybody who waits on one
// is woken.

import Connections
import Glibc
import Sessions
import Streams
import Synchronization
import Testing
import Threads
import Wire

private let requestHead = [UInt8]("POST / HTTP/1.1\r\nHost: a\r\n\r\n")
private let responseHead = [UInt8]("HTTP/1.1 200 OK\r\n\r\n")

@Suite struct SessionLossTests {
    /// What a worker may wait for when its session is lost.
    enum Wait: CaseIterable, Sendable {
        case arrival
        case arrivalAfterTheEnd
        case poll
        case pollAfterTheEnd
        case room
    }

    @Test(arguments: Wait.allCases)
    func `a lost session wakes whoever waits on it`(wait: Wait) throws {
        let confronted = try Confronted(.relay, peerSettings: "initial-credit: 100000000\n")
        let (side, peer) = (confronted.side, confronted.peer)
        let handle = try #require(side.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        switch wait {
        case .arrivalAfterTheEnd, .pollAfterTheEnd:
            try peer.send(.response, flags: 1, exchange: 1, responseHead)
            guard case .head(_, ends: true) = exchange.take(until: soon) else {
                Issue.record("no head")
                return
            }
        default: break
        }
        if wait != .room {
            #expect(exchange.takeCredit(upTo: .max) == 100_000_000)
        }
        let isWaiting = Atomic(false)
        let crew = Crew()
        try crew.start { _ in
            guard let doorbell = try? Doorbell() else { return }
            isWaiting.store(true, ordering: .relaxed)
            // No deadline: only the loss ends these waits.
            switch wait {
            case .arrival, .arrivalAfterTheEnd: _ = exchange.take(until: .distantFuture)
            case .poll, .pollAfterTheEnd:
                while exchange.willPoll(doorbell, wantsCredit: true, wantsArrivals: true) {
                    _ = poll(-1, for: [], doorbell: doorbell, until: .distantFuture)
                    exchange.didPoll()
                    doorbell.clear()
                }
            case .room:
                // The peer reads nothing, so the queue fills.
                let piece = Piece([UInt8](repeating: 1, count: 60_000))
                while exchange.send(body: piece, ends: false, until: .distantFuture) {}
            }
        }
        #expect(eventually { isWaiting.load(ordering: .relaxed) })
        // What the session tells before it is lost comes first: the worker waits, or will.
        if wait != .room { _ = try peer.messagesSoFar() }
        peer.end()
        #expect(crew.hasEnded())
        #expect(eventually { exchange.cut?.code == .connectionTerminated })
        // How it was lost depends on what the session was doing: reading, or writing.
        guard case .lost = side.end() else {
            Issue.record("the session did not notice its loss")
            return
        }
        #expect(side.isOver(1))
        exchange.finish()
        #expect(side.over == 1)
    }

    @Test(arguments: Transport.allCases)
    func `every exchange of a lost session is cut, and its place free, once`(
        transport: Transport
    ) throws {
        let sides = try TwoSides(transport)
        let handle = try #require(sides.relay.handle())
        let count = 20
        let crew = Crew()
        let isCut = Atomic(0)
        try crew.start(count) { number in
            guard let exchange = handle.open(request: Piece(requestHead), ends: number % 2 == 0)
            else { return }
            while let arrival = exchange.take(until: soon) {
                if case .reset = arrival { isCut.add(1, ordering: .relaxed) }
                if exchange.cut != nil { break }
            }
            exchange.finish()
        }
        for _ in 0..<count { #expect(sides.agent.request() != nil) }
        sides.agent.handle()?.close(.lost("by the test"))
        #expect(crew.hasEnded())
        #expect(isCut.load(ordering: .relaxed) == count)
        #expect(sides.relay.end() != nil)
        #expect(sides.agent.end() == .lost("by the test"))
        #expect(sides.relay.isOver(count))
        #expect(sides.agent.isOver(count))
        #expect(sides.relay.state.withLock { $0.sessionEnds } == 1)
    }

    @Test func `exchanges opened while the session ends are refused, or cut`() throws {
        for _ in 0..<20 {
            let sides = try TwoSides()
            let handle = try #require(sides.relay.handle())
            let opened = Atomic(0)
            let crew = Crew()
            try crew.start(3) { _ in
                while let exchange = handle.open(request: Piece(requestHead), ends: true) {
                    opened.add(1, ordering: .relaxed)
                    // Until it is cut; nobody answers.
                    while exchange.cut == nil, exchange.take(until: soon) != nil {}
                    exchange.finish()
                }
            }
            _ = sides.agent.request()
            handle.close(.disconnected)
            #expect(crew.hasEnded())
            #expect(sides.relay.end() == .disconnected)
            #expect(sides.relay.isOver(opened.load(ordering: .relaxed)))
            #expect(
                sides.agent.end()
                    == .closedByPeer(code: 1012, reason: "disconnected by the operator"))
        }
    }
}

@Suite struct CloseTests {
    /// Orders to close, and what the peer hears.
    static let orders: [(SessionEnd, Int, String)] = [
        (.stopped, 1001, "the relay stops"),
        (.replaced, 1012, "replaced by a newer session"),
        (.revoked, 1008, "the key was revoked or has expired"),
        (.disconnected, 1012, "disconnected by the operator"),
    ]

    @Test(arguments: orders)
    func `an order to close reaches the peer with its reason`(
        order: SessionEnd, code: Int, reason: String
    ) throws {
        let confronted = try Confronted(.relay)
        confronted.side.handle()?.close(order)
        #expect(confronted.peer.close() == .close(code: code, reason: reason))
        #expect(confronted.side.end() == order)
    }

    @Test func `the first order to close holds`() throws {
        let sides = try TwoSides()
        let handle = try #require(sides.relay.handle())
        handle.drain()
        handle.close(.revoked)
        handle.close(.stopped)
        handle.drain()
        #expect(
            sides.relay.end() == .revoked || sides.relay.end() == .stopped)
        #expect(sides.agent.end() != nil)
    }

    @Test(arguments: [Session.Role.relay, .agent])
    func `a close is answered, and its code and reason known`(role: Session.Role) throws {
        let confronted = try Confronted(role)
        try confronted.peer.sendClose(code: 1013, "try later")
        #expect(confronted.side.end() == .closedByPeer(code: 1013, reason: "try later"))
        #expect(confronted.peer.close() == .close(code: 1000, reason: ""))
    }

    @Test func `a close without a code is a close`() throws {
        let confronted = try Confronted(.agent)
        try confronted.peer.send(bytes: confronted.peer.frame(8, []))
        #expect(confronted.side.end() == .closedByPeer(code: 1005, reason: ""))
        #expect(confronted.peer.close() == .close(code: 1000, reason: ""))
    }

    @Test(arguments: [Transport.tcp, .tls])
    func `a peer that is sending learns why it was closed`(transport: Transport) throws {
        for _ in 0..<20 {
            let sides = try TwoSides(transport)
            let handle = try #require(sides.relay.handle())
            let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
            let atAgent = try #require(sides.agent.request()).exchange
            let body = Body(seed: 1, count: 20_000_000)
            let taken = Atomic(0)
            let crew = Crew()
            try crew.start { _ in _ = Talk.send(body, on: atAgent) }
            try crew.start { _ in
                while case .body(let piece, _) = exchange.take(until: soon) {
                    taken.add(piece.count, ordering: .relaxed)
                }
            }
            // The agent is at it.
            #expect(eventually { taken.load(ordering: .relaxed) > 100_000 })
            handle.close(.revoked)
            #expect(
                sides.agent.end()
                    == .closedByPeer(code: 1008, reason: "the key was revoked or has expired"))
            #expect(sides.relay.end() == .revoked)
            #expect(crew.hasEnded())
        }
    }

    @Test func `an order to close is heard though the peer reads nothing`() throws {
        let confronted = try Confronted(.relay, peerSettings: "initial-credit: 100000000\n")
        let handle = try #require(confronted.side.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        let crew = Crew()
        let sent = Atomic(0)
        try crew.start { _ in
            let piece = Piece([UInt8](repeating: 1, count: 60_000))
            while exchange.send(body: piece, ends: false, until: .distantFuture) {
                sent.add(60_000, ordering: .relaxed)
            }
        }
        #expect(eventually { sent.load(ordering: .relaxed) > 600_000 })
        handle.close(.revoked)
        #expect(crew.hasEnded())
        #expect(confronted.side.end() == .revoked)
        withExtendedLifetime(confronted.peer) {}
    }

    @Test func `no order is lost, whenever it comes`() throws {
        // Heartbeats all the time, so that the order meets the session in any of its steps.
        let limits = SessionLimits(
            heartbeatInterval: .microseconds(50), heartbeatTimeout: .seconds(60))
        for _ in 0..<100 {
            let sides = try TwoSides(limits: limits)
            let handle = try #require(sides.relay.handle())
            #expect(sides.agent.handle() != nil)
            handle.close(.replaced)
            #expect(sides.relay.end() == .replaced)
            #expect(
                sides.agent.end()
                    == .closedByPeer(code: 1012, reason: "replaced by a newer session"))
        }
    }

    @Test func `pings that flood are a protocol error, and cost no memory`() throws {
        let confronted = try Confronted(.relay)
        let peer = confronted.peer
        let pings = (0..<500).flatMap { _ in peer.frame(9, [UInt8](repeating: 1, count: 125)) }
        // Nothing is read: the answers have nowhere to go.
        let deadline = soon
        while !confronted.side.hasEnded, !deadline.hasPassed {
            do { try peer.send(bytes: pings) } catch { break }
        }
        #expect(
            confronted.side.end() == .protocolError("more pings than answers can be sent"))
    }
}

@Suite struct DrainTests {
    @Test func `a relay that drains finishes what runs, opens nothing, then closes`() throws {
        let sides = try TwoSides()
        let handle = try #require(sides.relay.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        let atAgent = try #require(sides.agent.request()).exchange
        handle.drain()
        #expect(handle.open(request: Piece(requestHead), ends: true) == nil)
        #expect(sides.agent.peerHasDrained())
        #expect(!sides.relay.hasEnded)
        // The running one has both directions still.
        let crew = Crew()
        try crew.start { _ in _ = Talk.send(Body(seed: 1, count: 400_000), on: exchange) }
        #expect(Talk.take(Body(seed: 1, count: 400_000), from: atAgent) == .complete)
        #expect(crew.hasEnded())
        try crew.start { _ in _ = Talk.send(Body(seed: 2, count: 400_000), on: atAgent) }
        #expect(Talk.take(Body(seed: 2, count: 400_000), from: exchange) == .complete)
        #expect(sides.relay.end() == .stopped)
        #expect(sides.agent.end() == .closedByPeer(code: 1001, reason: "the relay stops"))
        #expect(sides.relay.isOver(1))
        #expect(sides.agent.isOver(1))
        #expect(crew.hasEnded())
    }

    @Test func `an agent that drains finishes what runs, then the relay closes`() throws {
        let sides = try TwoSides()
        let handle = try #require(sides.relay.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: true))
        let atAgent = try #require(sides.agent.request()).exchange
        sides.agent.handle()?.drain()
        #expect(sides.relay.peerHasDrained())
        #expect(handle.open(request: Piece(requestHead), ends: true) == nil)
        let crew = Crew()
        try crew.start { _ in _ = Talk.send(Body(seed: 2, count: 400_000), on: atAgent) }
        #expect(Talk.take(Body(seed: 2, count: 400_000), from: exchange) == .complete)
        #expect(sides.relay.end() == .drained)
        #expect(sides.agent.end() == .closedByPeer(code: 1000, reason: "drained"))
        #expect(sides.relay.isOver(1))
        #expect(crew.hasEnded())
    }

    @Test(arguments: [
        (Session.Role.relay, SessionEnd.stopped, 1001, "the relay stops"),
        (.agent, .drained, 1000, "drained"),
    ])
    func `a session on which nothing runs is drained at once`(
        role: Session.Role, end: SessionEnd, code: UInt16, reason: String
    ) throws {
        let sides = try TwoSides()
        #expect(sides.relay.handle() != nil)
        #expect(sides.agent.handle() != nil)
        (role == .relay ? sides.relay : sides.agent).handle()?.drain()
        #expect(sides.relay.end() == end)
        #expect(sides.agent.end() == .closedByPeer(code: code, reason: reason))
    }

    @Test func `no request follows DRAIN, however many are opened at that moment`() throws {
        for _ in 0..<30 {
            let confronted = try Confronted(.relay, peerSettings: "maximum-exchanges: 1000\n")
            let (side, peer) = (confronted.side, confronted.peer)
            let handle = try #require(side.handle())
            let opened = Atomic(0)
            let crew = Crew()
            try crew.start(3) { _ in
                for _ in 0..<100 {
                    if handle.open(request: Piece(requestHead), ends: true) == nil { return }
                    opened.add(1, ordering: .relaxed)
                }
            }
            try crew.start { _ in handle.drain() }
            #expect(crew.hasEnded())
            // Everything that was opened has gone out before, and nothing after.
            var requests = 0
            while let message = peer.nextMessage(), message.type == 1 { requests += 1 }
            #expect(requests == opened.load(ordering: .relaxed))
            if requests > 0 { #expect(try peer.messagesSoFar().isEmpty) }
            for id in 0..<requests {
                try peer.send(.response, flags: 1, exchange: UInt32(id + 1), responseHead)
            }
            #expect(peer.close() == .close(code: 1001, reason: "the relay stops"))
            #expect(side.end() == .stopped)
            #expect(side.isOver(requests))
        }
    }

    @Test func `a session whose ids run out drains, and loses nobody`() throws {
        let connected = try Connected(.pair)
        let side = try Side(.relay, connected.relay, lastID: .max - 3)
        let peer = try RawPeer(.agent, connected.agent)
        try peer.sendSettings()
        #expect(peer.nextMessage()?.type == 0)
        let handle = try #require(side.handle())
        var exchanges: [Exchange] = []
        while exchanges.count < 100,
            let exchange = handle.open(request: Piece(requestHead), ends: true)
        {
            exchanges.append(exchange)
        }
        var ids: [UInt32] = []
        while let message = peer.nextMessage(), message.type == 1 { ids.append(message.exchange) }
        #expect(ids == [.max - 2, .max - 1, .max])
        #expect(handle.open(request: Piece(requestHead), ends: true) == nil)
        for id in ids { try peer.send(.response, flags: 1, exchange: id, responseHead) }
        #expect(peer.close() == .close(code: 1001, reason: "the relay stops"))
        #expect(side.end() == .stopped)
        #expect(side.isOver(exchanges.count))
        // Those that got no id any more are told.
        for (index, exchange) in exchanges.enumerated() {
            switch exchange.take(until: soon) {
            case .head(_, ends: true): #expect(index < 3)
            case .reset(let reset):
                #expect(index >= 3)
                #expect(reset.code == .destinationUnavailable)
            default: Issue.record("exchange \(index) was not told")
            }
        }
    }
}

@Suite struct HeartbeatTests {
    private let short = SessionLimits(
        heartbeatInterval: .milliseconds(20), heartbeatTimeout: .milliseconds(300))

    @Test(arguments: [Session.Role.relay, .agent])
    func `a silent peer ends the session`(role: Session.Role) throws {
        let start = Deadline.now
        let confronted = try Confronted(role, limits: short)
        #expect(confronted.side.end() == .silent)
        #expect(nanosecondsSince(start) >= 300_000_000)
        #expect(
            confronted.peer.close() == .close(code: 1001, reason: "no answer to a heartbeat"))
    }

    @Test func `a peer that answers lives`() throws {
        let sides = try TwoSides(limits: short)
        let handle = try #require(sides.relay.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        // Longer than a silent one would.
        #expect(exchange.take(until: .after(milliseconds: 900)) == nil)
        #expect(!sides.relay.hasEnded)
        #expect(!sides.agent.hasEnded)
        sides.close()
    }

    @Test func `a peer that sends something lives, though it answers no ping`() throws {
        let confronted = try Confronted(.relay, limits: short)
        let start = Deadline.now
        while nanosecondsSince(start) < 900_000_000, let event = confronted.peer.next() {
            if case .ping = event { try confronted.peer.send(raw: 99) }
        }
        #expect(nanosecondsSince(start) >= 900_000_000)
        #expect(!confronted.side.hasEnded)
    }

    @Test func `a peer that reads nothing costs no time`() throws {
        let limits = SessionLimits(
            heartbeatInterval: .milliseconds(500), heartbeatTimeout: .milliseconds(500))
        let confronted = try Confronted(
            .relay, peerSettings: "initial-credit: 100000000\n", limits: limits)
        let handle = try #require(confronted.side.handle())
        let exchange = try #require(handle.open(request: Piece(requestHead), ends: false))
        let piece = Piece([UInt8](repeating: 1, count: 60_000))
        while exchange.send(body: piece, ends: false, until: .distantFuture) {}
        #expect(confronted.side.end() == .silent)
        // It waited for the socket, the whole time; it did not look again and again.
        let cpu = try #require(confronted.side.state.withLock { $0.cpuNanoseconds })
        #expect(cpu < 250_000_000)
    }

    @Test func `a peer that never says its SETTINGS is given up`() throws {
        let limits = SessionLimits(
            heartbeatInterval: .seconds(60), heartbeatTimeout: .seconds(60),
            settingsTimeout: .milliseconds(50))
        let confronted = try Confronted(.relay, limits: limits, greets: false)
        #expect(confronted.side.end() == .protocolError("no SETTINGS in time"))
        #expect(confronted.side.state.withLock { $0.handle == nil })
    }
}
