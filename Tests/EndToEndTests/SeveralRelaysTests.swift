// Three relays behind HAProxy by the configuration that is shipped, and clients that ask without a
// pause while one of them is started, stopped or killed.
//
// The clients speak plain HTTP to a second HAProxy, which makes TLS of it.

import Foundation
import Testing

@Suite(.serialized)
struct SeveralRelaysTests {
    @Test func `a relay that starts or stops beside others costs no request`() throws {
        try stage { stage in
            let play = try Play(stage, running: 2)
            try play.load.waitForRight(200)

            try play.start(2)
            try play.waitForTurn(of: 2)
            try play.load.waitForRight(200)

            let first = try play.relay(0)
            first.program.send(SIGTERM)
            #expect(try first.program.exit() == .code(0))
            try play.load.waitForRight(200)
            try play.start(0)
            try play.waitForTurn(of: 0)
            try play.load.waitForRight(200)

            let tally = try play.load.stop()
            print("one relay more, one stopped, and started again: \(tally)")
            #expect(tally.wrong.isEmpty, "\(tally.wrong.prefix(5))")
            #expect(tally.refused.isEmpty, "\(tally)")
            #expect(tally.broken == 0, "\(tally)")
        }
    }

    @Test func `a relay that is killed beside others costs what it carried`() throws {
        try stage { stage in
            let play = try Play(stage, running: 3)
            try play.load.waitForRight(200)
            let start = ContinuousClock.now
            try play.relay(1).program.end()
            // More than can have been in flight: new ones are among them.
            try play.load.waitForRight(2 * Play.clients)
            let seconds = (.now - start) / .seconds(1)
            try play.load.waitForRight(500)
            // Its service manager waits for longer than HAProxy takes to notice.
            try play.front.program.expectLog("the loss") { $0.contains("relays/relay2 is DOWN") }
            try play.start(1)
            try play.waitForTurn(of: 1)
            try play.load.waitForRight(200)

            let tally = try play.load.stop()
            print("one relay of three killed, all well within \(seconds) s: \(tally)")
            #expect(tally.wrong.isEmpty, "\(tally.wrong.prefix(5))")
            #expect(tally.broken + tally.refused.values.reduce(0, +) <= Play.clients, "\(tally)")
            let twice = play.seen.withLock { $0.filter { $0.value > 1 } }
            #expect(twice.isEmpty, "sent twice: \(twice.count)")
        }
    }
}

/// Relays, HAProxy and an agent as the shipped file wants them, but that what takes a second there
/// takes a tenth of it here.
private struct Play {
    static let clients = 4

    let load: Load
    /// How often each request that changes something has reached the origin.
    let seen: Signalled<[String: Int]>
    private let stage: Stage
    private let authority: Authority
    let front: (program: Program, port: Int, certificate: Certificate)
    private let running = Signalled([Int: Relay]())

    init(_ stage: Stage, running count: Int) throws {
        self.stage = stage
        let seen = Signalled([String: Int]())
        self.seen = seen
        let origin = stage.keep(try Load.origin(unix: nil, seen))
        let agentKey = try stage.addKey(role: "agent", name: "prom")
        let clientKey = try stage.addKey(role: "client")
        authority = try stage.authority()
        let certificate = try authority.sign("relay.example.com")
        let ports = try (0..<3).map { _ in try Listener.lastingPort() }
        for (index, port) in ports.enumerated() {
            // Each has the same keys, in a file of its own.
            try FileManager.default.createDirectory(
                atPath: stage.path("\(index)"), withIntermediateDirectories: false)
            try FileManager.default.copyItem(
                atPath: stage.path("keys"), toPath: stage.path("\(index)/keys"))
            try stage.write(
                "\(index)/relay.conf",
                """
                listen = 127.0.0.1:\(port)
                certificate = \(certificate.file)
                private-key = \(certificate.key)
                trusted-proxies = 127.0.0.1
                keys = keys
                drain-delay = 1s

                """)
        }
        var relays: [Relay] = []
        for index in 0..<count { relays.append(try Play.relay(stage, index, authority)) }
        let started = relays
        running.withLock { $0 = Dictionary(uniqueKeysWithValues: zip(0..., started)) }
        // Later than the relays: one that it has not found it asks only once that was there for long.
        front = try Play.front(stage, authority, ports)

        let file = try stage.write(
            "agent.conf",
            """
            remote = wss://localhost:\(front.port)/mirror/1
            remote = wss://localhost:\(front.port)/mirror/2
            remote = wss://localhost:\(front.port)/mirror/3
            maximum-reconnect-delay = 1s
            ca-file = \(front.certificate.file)
            apikey = \(agentKey.secret)
            name = prom
            local = \(origin.url)

            """)
        let agent = try stage.start(Built.agent, ["--config", file])
        for number in 1...count {
            _ = try agent.expectOutput("relay \(number)") { $0.hasSuffix("/mirror/\(number)") }
        }
        load = Load(
            Mirror(
                relay: relays[0], agent: agent, agentKey: agentKey, clientKey: clientKey,
                front: try Play.plain(stage, to: front.port)),
            clients: Play.clients)
    }

    func relay(_ index: Int) throws -> Relay {
        guard let relay = running.withLock({ $0[index] }) else { throw Failure("not started") }
        return relay
    }

    /// Starts a relay, also one that has ended.
    func start(_ index: Int) throws {
        let relay = try Play.relay(stage, index, authority)
        running.withLock { $0[index] = relay }
    }

    /// Waits until the relay has answered one of the clients.
    func waitForTurn(of index: Int) throws {
        try relay(index).program.expectLog("an exchange") { $0.contains("STATUS=200") }
    }

    private static func relay(
        _ stage: Stage, _ index: Int, _ authority: Authority
    ) throws -> Relay {
        try Relay(
            stage, arguments: ["--config", stage.path("\(index)/relay.conf")],
            keys: stage.path("\(index)/keys"), authority: authority.file)
    }

    private static func front(
        _ stage: Stage, _ authority: Authority, _ ports: [Int]
    ) throws -> (program: Program, port: Int, certificate: Certificate) {
        let certificate = try stage.certificate("front")
        let port = try Listener.freePort()
        let file = try stage.shipped(
            "haproxy-several.cfg",
            try stage.haproxyPlaces(certificate, port: port).merging([
                "/etc/haproxy/relays-ca.pem": authority.file,
                "inter 1s fastinter 500ms": "inter 100ms fastinter 50ms",
                "192.0.2.11:443": "127.0.0.1:\(ports[0])",
                "192.0.2.12:443": "127.0.0.1:\(ports[1])",
                "192.0.2.13:443": "127.0.0.1:\(ports[2])",
            ]) { $1 })
        let program = try stage.startHAProxy(file, ports: [port])
        return (program, port, certificate)
    }

    /// Where plain HTTP becomes TLS on its way to `port`.
    private static func plain(_ stage: Stage, to port: Int) throws -> Int {
        let plain = try Listener.freePort()
        let file = try stage.write(
            "plain.cfg",
            """
            defaults
                mode tcp
                timeout connect 10s
                timeout client 60s
                timeout server 60s
            listen plain
                bind 127.0.0.1:\(plain)
                server front 127.0.0.1:\(port) ssl verify none

            """)
        try stage.startHAProxy(file, ports: [plain])
        return plain
    }
}
