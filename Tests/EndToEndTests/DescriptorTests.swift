// Descriptors that run out: what stands goes on, what comes has to wait, and all is well once there
// are some again.
//
// A limit that is lowered while a program runs leaves it no more than it has.

import Foundation
import Testing

struct DescriptorTests {
    @Test func `a relay out of descriptors serves those that it has, and then the others`() throws {
        try stage { stage in
            let admin = stage.path("admin")
            let mirror = try stage.mirror(.echoingTarget(), relay: "admin-listen = unix:\(admin)\n")
            let relay = mirror.relay.program
            let first = try mirror.connect()
            try first.write(mirror.request("GET", "/1"))
            #expect(try first.readResponse().text == "/1")

            try limit(stage, relay, spare: 2)
            let start = ContinuousClock.now
            // The system connects them; the relay can take two.
            let others = try (0..<6).map { number in
                let client = try mirror.connect()
                try client.write(mirror.request("GET", "/other/\(number)"))
                return client
            }
            try relay.expectLog("the lack of descriptors") {
                $0.hasPrefix("error: cannot accept connections, out of descriptors or memory")
            }
            try first.write(mirror.request("GET", "/2"))
            #expect(try first.readResponse().text == "/2")

            try limit(stage, relay, spare: 1000)
            for (number, client) in others.enumerated() {
                #expect(try client.readResponse().text == "/other/\(number)")
            }
            let seconds = (.now - start) / .seconds(1)
            let failures = try stage.metric("accept_failures_total", at: admin)
            // It pauses instead of turning in circles.
            #expect(failures >= 1 && Double(failures) <= seconds + 2, "\(failures) in \(seconds) s")
            #expect(!relay.log.lines.contains { $0.contains("disconnected") })
        }
    }

    @Test func `an agent without a descriptor for its origin says so, and the session stands`()
        throws
    {
        try stage { stage in
            let origin = try Origin { visit in
                guard let request = try visit.readRequest() else { return }
                try visit.connection.write(
                    Answer(200, body: request.target, closes: true).bytes(to: "GET"))
            }
            let metrics = stage.path("metrics")
            let mirror = try stage.mirror(origin, agent: ["--metrics-listen", "unix:\(metrics)"])
            #expect(try mirror.get("/1").text == "/1")
            #expect(origin.waitForEnded(1))
            try limit(stage, mirror.agent, spare: 0)
            // The connection of the request before may just be going.
            let without = try askUntil("no descriptor is left", .patient) {
                try mirror.get("/2")
            } _: {
                $0.status != 200
            }
            expectProblem(without, 503, "destination_unavailable")
            #expect(Int(without["Retry-After"] ?? "") != nil)
            try mirror.agent.expectLog("why") { $0.contains("Too many open files") }

            try limit(stage, mirror.agent, spare: 100)
            #expect(try mirror.get("/3").text == "/3")
            #expect(try stage.metric("agent_sessions", at: metrics) == 1)
            #expect(!mirror.relay.program.log.lines.contains { $0.contains("disconnected") })
        }
    }

    @Test func `an agent without a descriptor for its relay tries again until there is one`() throws
    {
        try stage { stage in
            let quick = try stage.write("agent.conf", "maximum-reconnect-delay = 500ms\n")
            let mirror = try stage.mirror(.echoingTarget(), agent: ["--config", quick])
            #expect(try mirror.get("/1").text == "/1")
            mirror.relay.program.end()
            try mirror.agent.expectLog("the loss") { $0.contains("connecting again") }
            try limit(stage, mirror.agent, spare: 0, below: 3)
            try mirror.agent.expectLog("why") {
                $0.contains("cannot connect to the relay") && $0.contains("Too many open files")
            }
            try mirror.relay.startOnSamePort()
            try limit(stage, mirror.agent, spare: 100)
            let back = try askUntil("the agent is back", .patient) {
                try mirror.get("/2")
            } _: {
                $0.status == 200
            }
            #expect(back.text == "/2")
        }
    }

    @Test func `a key that was revoked while the relay could open no file ends when it can`() throws
    {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/1"))
            #expect(try client.readResponse().text == "/1")
            try limit(stage, mirror.relay.program, spare: 0, below: 3)
            try mirror.relay.revoke(mirror.clientKey)
            try mirror.relay.program.expectLog("that it can't read the keys") {
                $0.hasPrefix("error: cannot read the keys; those from before stay")
            }
            try limit(stage, mirror.relay.program, spare: 100)
            _ = try askUntil("the key has ended", .patient) {
                try mirror.get("/2")
            } _: {
                $0.status == 401
            }
            let complaints = mirror.relay.program.log.lines.count {
                $0.contains("cannot read the keys")
            }
            #expect(complaints == 1)
        }
    }

    /// Leaves a running program so many descriptors beyond those that it has.
    ///
    /// - Parameter bound: forbids all from this one on, also those that come free.
    private func limit(
        _ stage: Stage, _ program: Program, spare: Int, below bound: Int? = nil
    ) throws {
        let numbers = try FileManager.default.contentsOfDirectory(
            atPath: "/proc/\(program.pid)/fd"
        ).compactMap { Int($0) }
        // They are given out from the lowest on.
        var free = (0...).lazy.filter { !numbers.contains($0) }.makeIterator()
        var limit = 0
        for _ in 0...spare { limit = free.next() ?? 0 }
        let done = try stage.run(
            "prlimit", ["--pid", "\(program.pid)", "--nofile=\(bound ?? limit):"])
        guard done.exit == .code(0) else { throw Failure(done.error) }
    }
}
