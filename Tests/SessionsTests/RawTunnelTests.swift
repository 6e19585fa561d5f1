// Tunnels at both ends of a session: raw bytes both ways, and how each end is carried over.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

private let askingHead = [UInt8]("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n")
private let switchingHead = [UInt8]("HTTP/1.1 101 Switching\r\nUpgrade: raw\r\n\r\n")

/// An upgraded exchange with a tunnel on a thread of its own at each end, and the outer ends of
/// both sockets in the hands of the test.
private final class Tunnels: Sendable {
    enum Place { case relay, agent }

    let client: Handover<ByteStream>
    let origin: Handover<ByteStream>
    let relayExchange: Exchange
    let agentExchange: Exchange
    private let ends = Monitor<[Place: String]>([:])
    private let stops = Monitor(false)

    /// - Parameter first: bytes that came with the request.
    init(_ sides: TwoSides, _ transport: Transport, number: Int = 1, first: [UInt8] = []) throws {
        let toClient = try Connected(transport)
        let toOrigin = try Connected(transport)
        client = toClient.agent
        origin = toOrigin.relay
        let limit = UpgradeLimit()
        let handle = try #require(sides.relay.handle())
        relayExchange = try #require(
            handle.open(request: Piece(askingHead), ends: false, permit: limit.take(atMost: 2)))
        agentExchange = try #require(sides.agent.request()).exchange
        agentExchange.permitUpgrade(try #require(limit.take(atMost: 2)))
        agentExchange.send(head: Piece(switchingHead), ends: false, as: .response)
        guard case .head = relayExchange.take(until: soon) else { throw StreamError.timedOut }
        #expect(sides.relay.isUpgraded(number))
        try start(.relay, relayExchange, toClient.relay, first)
        try start(.agent, agentExchange, toOrigin.agent, [])
    }

    private func start(
        _ place: Place, _ exchange: Exchange, _ socket: Handover<ByteStream>, _ first: [UInt8]
    ) throws {
        let doorbell = try Doorbell()
        try Threads.Thread.start(name: "tunnel") { [self] in
            let stream = socket.take()
            try? stream.handshake(until: soon)
            var tunnel = RawTunnel(exchange, doorbell, stream, InputBuffer(first)) { [stops] in
                stops.withLock { $0 } ? "stopped by the test" : nil
            }
            let end = tunnel.run(broken: .cancelled)
            ends.withLock { $0[place] = "\(end)" }
            ends.broadcast()
        }
    }

    func stop() { stops.withLock { $0 = true } }

    /// How the tunnel there ended, as text; nil where it does not.
    func end(_ place: Place) -> String? { ends.wait(until: soon) { $0[place] } }
}

/// What the peers of a tunnel do.
private enum Talker {
    /// Sends a body to its end, and takes another to its end, at once.
    static func talk(_ stream: ByteStream, sending out: Body, taking back: Body) throws -> Bool {
        try stream.handshake(until: soon)
        var (sent, taken) = (0, 0)
        var (hasTold, hasHeard) = (false, false)
        while !hasTold || !hasHeard {
            var buffer: [UInt8] = []
            let arrival =
                hasHeard ? .nothing : try stream.read(appendingTo: &buffer, room: 40_000)
            if !back.holds(buffer[...], at: taken) { return false }
            taken += buffer.count
            hasHeard = hasHeard || arrival == .end
            let hasSent = try stream.send()
            if hasSent, sent < out.count {
                let count = min(50_000, out.count - sent)
                try stream.append(out.bytes(from: sent, count: count))
                sent += count
                if sent == out.count { stream.appendEnd() }
                continue
            }
            if hasSent, !hasTold {
                if out.count == 0 { stream.appendEnd() }
                try stream.send(until: soon)
                stream.endWriting()
                hasTold = true
            }
            if arrival != .nothing { continue }
            var interest: Readiness = hasHeard ? [] : .readable
            if stream.unsent > 0 { interest.insert(.writable) }
            if interest.isEmpty { continue }
            if stream.wait(for: interest, until: soon).isEmpty { return false }
        }
        return taken == back.count
    }

    /// Reads to the end.
    ///
    /// - Throws: where the connection breaks.
    static func read(_ stream: ByteStream) throws(StreamError) -> [UInt8] {
        var bytes: [UInt8] = []
        while try stream.read(appendingTo: &bytes, room: 9_000, until: soon) != .end {}
        return bytes
    }

    static func write(_ stream: ByteStream, _ text: String) throws(StreamError) {
        try stream.append([UInt8](text))
        try stream.send(until: soon)
    }

    /// Whether the connection breaks, rather than ends.
    static func breaks(_ stream: ByteStream) -> Bool {
        do throws(StreamError) {
            _ = try read(stream)
            return false
        } catch {
            return error == .closed
        }
    }
}

@Suite struct RawTunnelTests {
    @Test(arguments: Transport.allCases)
    func `upgraded exchanges beyond all places carry bytes both ways, each to its end`(
        transport: Transport
    ) throws {
        // One place: each exchange gives it up as soon as it is upgraded.
        let sides = try TwoSides(.tcp, agent: Settings(maximumExchanges: 1, instance: "test"))
        let sizes = [(0, 700_000), (900_000, 0), (1, 1), (600_000, 600_000)]
        let crew = Crew()
        let failures = Monitor([String]())
        var tunnels: [Tunnels] = []
        for (index, (up, down)) in sizes.enumerated() {
            let made = try Tunnels(sides, transport, number: index + 1)
            tunnels.append(made)
            let (request, response) = (
                Body(seed: 2 * index, count: up), Body(seed: 2 * index + 1, count: down)
            )
            try crew.start(2) { number in
                let isRight =
                    number == 0
                    ? try? Talker.talk(made.client.take(), sending: request, taking: response)
                    : try? Talker.talk(made.origin.take(), sending: response, taking: request)
                if isRight != true { failures.withLock { $0.append("\(index) at \(number)") } }
            }
        }
        #expect(crew.hasEnded())
        #expect(failures.withLock { $0 } == [])
        for made in tunnels {
            #expect(made.end(.relay) == "complete")
            #expect(made.end(.agent) == "complete")
        }
        // They were never over in the sense of a place.
        #expect(sides.relay.over == 0)
        sides.close()
        #expect(sides.relay.over == 0)
    }

    @Test func `bytes that came with the head go first`() throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, .tcp, first: [UInt8]("first, "))
        let (client, origin) = (tunnels.client.take(), tunnels.origin.take())
        try Talker.write(client, "second")
        client.end()
        #expect(try Talker.read(origin).text == "first, second")
        origin.end()
        #expect(try Talker.read(client).isEmpty)
        sides.close()
    }

    @Test(arguments: [Transport.tcp, .tls])
    func `a socket that breaks breaks the other one`(transport: Transport) throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, transport)
        let origin = tunnels.origin.take()
        try origin.handshake(until: soon)
        do {
            let client = tunnels.client.take()
            try client.handshake(until: soon)
            client.abort()
        }
        #expect(Talker.breaks(origin))
        #expect(tunnels.end(.relay)?.hasPrefix("broken") == true)
        #expect(tunnels.end(.agent)?.hasPrefix("cut") == true)
        sides.close()
    }

    @Test(arguments: Transport.allCases)
    func `an origin that ends and takes no more has closed in order`(transport: Transport) throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, transport)
        let client = tunnels.client.take()
        let crew = Crew()
        try crew.start { _ in
            let origin = tunnels.origin.take()
            try? origin.handshake(until: soon)
            try? Talker.write(origin, "last words")
            origin.end()
        }
        try client.handshake(until: soon)
        #expect(crew.hasEnded())
        #expect(try Talker.read(client).text == "last words")
        // Nobody is there any more who could take this; that breaks nothing.
        while tunnels.relayExchange.cut == nil {
            guard (try? Talker.write(client, "too late")) != nil else { break }
        }
        #expect(tunnels.end(.agent) == "complete")
        #expect(tunnels.end(.relay) == "complete")
        sides.close()
    }

    @Test func `a session that is lost breaks both sockets`() throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, .tcp)
        let (client, origin) = (tunnels.client.take(), tunnels.origin.take())
        sides.relay.handle()?.close(.revoked)
        #expect(Talker.breaks(client))
        #expect(Talker.breaks(origin))
        #expect(tunnels.end(.relay)?.hasPrefix("cut") == true)
        #expect(tunnels.end(.agent)?.hasPrefix("cut") == true)
        sides.close()
        #expect(sides.relay.over == 0)
    }

    @Test func `a reason to stop is found within a second, and breaks both sockets`() throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, .tcp)
        let (client, origin) = (tunnels.client.take(), tunnels.origin.take())
        tunnels.stop()
        #expect(Talker.breaks(client))
        #expect(Talker.breaks(origin))
        sides.close()
    }

    @Test func `a head among raw bytes breaks the tunnel`() throws {
        let sides = try TwoSides()
        let tunnels = try Tunnels(sides, .tcp)
        let client = tunnels.client.take()
        tunnels.agentExchange.send(head: Piece(switchingHead), ends: false, as: .response)
        #expect(Talker.breaks(client))
        #expect(tunnels.end(.relay)?.contains("a head or trailers") == true)
        #expect(tunnels.end(.agent)?.hasPrefix("cut") == true)
        sides.close()
    }
}

@Suite struct UpgradePlaceTests {
    @Test func `a 101 that nobody asked for gives no place away`() throws {
        let sides = try TwoSides()
        let handle = try #require(sides.relay.handle())
        let exchange = try #require(handle.open(request: Piece(askingHead), ends: false))
        let atAgent = try #require(sides.agent.request()).exchange
        atAgent.send(head: Piece(switchingHead), ends: false, as: .response)
        guard case .head = exchange.take(until: soon) else { throw StreamError.timedOut }
        exchange.reset(.cancelled)
        atAgent.finish()
        #expect(sides.relay.isOver(1))
        #expect(sides.agent.isOver(1))
        #expect(sides.relay.state.withLock { $0.upgraded } == 0)
        #expect(sides.agent.state.withLock { $0.upgraded } == 0)
        sides.close()
    }

    @Test func `a place among the upgrades is free when both sides have ended`() throws {
        let sides = try TwoSides()
        let handle = try #require(sides.relay.handle())
        let limit = UpgradeLimit()
        do {
            let exchange = try #require(
                handle.open(request: Piece(askingHead), ends: false, permit: limit.take(atMost: 1)))
            #expect(limit.take(atMost: 1) == nil)
            exchange.reset(.cancelled)
        }
        let atAgent = try #require(sides.agent.request()).exchange
        #expect(limit.take(atMost: 1) == nil)
        atAgent.finish()
        #expect(eventually { limit.take(atMost: 1) != nil })
        #expect(sides.relay.isOver(1))
        sides.close()
    }
}
