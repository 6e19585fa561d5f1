// A bad network between agent and relay, made of network namespaces (Harness/Network). Needs root.

import Foundation
import Testing

@Suite(.serialized)
struct NetworkTests {
    /// A network, and a mirror over it whose programs soon notice a loss and try again.
    private func alert(_ stage: Stage) throws -> (Network, Mirror) {
        let heartbeat = "heartbeat-interval = 1s\nheartbeat-timeout = 1s\n"
        let network = try Network(stage)
        let mirror = try network.mirror(
            Load.origin(unix: stage.path("origin")), relay: heartbeat,
            agent: heartbeat + "connect-timeout = 2s\nreconnect-delay = 100ms\n"
                + "maximum-reconnect-delay = 500ms\nidle-timeout = 1s\n")
        return (network, mirror)
    }

    /// Has clients ask while the agent's network changes; no answer may be a wrong one, and behind
    /// the change they are right again.
    private func expectReturn(_ change: (Network, Mirror) throws -> Void) throws {
        try stage { stage in
            let (network, mirror) = try alert(stage)
            let load = Load(mirror)
            try load.waitForRight(20)
            try change(network, mirror)
            try load.waitForRight(20)
            #expect(try load.stop().wrong.isEmpty)
        }
    }

    @Test func `each answer is right through a network that loses and delays packets`() throws {
        try stage { stage in
            let network = try Network(stage)
            let mirror = try network.mirror(Load.origin(unix: stage.path("origin")))
            try network.lose(toRelay: 0.05, toAgent: 0.05, delayed: 0.02)
            let load = Load(mirror)
            try load.waitForRight(60, .long)
            let tally = try load.stop(.long)
            #expect(tally.right == tally.all, "\(tally)")
            #expect(!mirror.relay.program.log.lines.contains { $0.contains("disconnected") })
        }
    }

    @Test(arguments: [(1.0, 1.0), (1.0, 0.0), (0.0, 1.0)])
    func `a network that goes silent is noticed at both ends, and both find back`(
        toRelay: Double, toAgent: Double
    ) throws {
        try stage { stage in
            let (network, mirror) = try alert(stage)
            #expect(try mirror.get("/load/x").status == 200)
            let idle = try [mirror.relay.program, mirror.agent].map {
                ($0, try $0.descriptorCount(), try $0.threadCount())
            }
            let load = Load(mirror)
            try load.waitForRight(20)
            try network.lose(toRelay: toRelay, toAgent: toAgent)
            // With one direction left, whoever notices first can tell the other.
            let isWhole = toRelay == toAgent
            for (program, end) in [
                (mirror.relay.program, "agent disconnected"), (mirror.agent, "session ended"),
            ] {
                try program.expectLog(end) {
                    $0.contains(end) && (!isWhole || $0.contains("no answer to a heartbeat"))
                }
            }
            let meanwhile = try mirror.get("/load/x")
            expectProblem(meanwhile, 503, "destination_unavailable")
            #expect(Int(meanwhile["Retry-After"] ?? "") != nil)

            try network.lose()
            try load.waitForRight(20)
            let tally = try load.stop()
            #expect(tally.wrong.isEmpty, "\(tally.wrong.prefix(5))")
            #expect(tally.refused[503, default: 0] > 0)
            for (program, descriptors, threads) in idle {
                try program.expectNoMore(descriptors: descriptors, threads: threads)
            }
        }
    }

    @Test func `an agent that gets another address is back from there`() throws {
        try expectReturn { network, mirror in
            try network.onAgent("ip", "addr", "flush", "dev", "wire")
            try network.onAgent("ip", "addr", "add", "10.77.0.3/24", "dev", "wire")
            try mirror.relay.program.expectLog("the agent at its new address") {
                $0.hasPrefix("agent connected ") && $0.contains("CLIENT=10.77.0.3")
            }
        }
    }

    @Test func `an agent whose network is down for a while is back when it is up`() throws {
        try expectReturn { network, mirror in
            try network.onAgent("ip", "link", "set", "wire", "down")
            try mirror.agent.expectLog("no way to the relay") {
                $0.contains("cannot connect to the relay") && $0.contains("unreachable")
            }
            try network.onAgent("ip", "link", "set", "wire", "up")
        }
    }
}
