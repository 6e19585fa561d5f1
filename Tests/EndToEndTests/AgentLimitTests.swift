// Each limit of the agent: what reaches it passes, one more is refused, and counted by its key.

import Foundation
import Testing

/// The head of an answer that has `excess` more than a limit allows.
struct AnswerLimit: Sendable, CustomTestStringConvertible {
    let key: String
    let value: Int
    let head: @Sendable (_ excess: Int) -> String

    var testDescription: String { key }
}

private let answerLimits: [AnswerLimit] = [
    AnswerLimit(key: "maximum-head-bytes", value: 1024) { excess in
        let start = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX: "
        let missing = 1024 + excess - start.utf8.count - 4
        return start + String(repeating: "x", count: missing) + "\r\n\r\n"
    },
    AnswerLimit(key: "maximum-fields", value: 16) { excess in
        "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n"
            + (0..<15 + excess).map { "X-\($0): y\r\n" }.joined() + "\r\n"
    },
]

struct AgentLimitTests {
    /// A mirror whose agent has these lines in its configuration.
    private func mirror(
        _ stage: Stage, _ origin: Origin, _ lines: String, relay: String = ""
    ) throws -> Mirror {
        let file = try stage.write("agent.conf", lines + Counting.agent.line(stage))
        return try stage.mirror(origin, relay: relay, agent: ["--config", file])
    }

    @Test(arguments: answerLimits)
    func `the head of an answer at the limit passes, and one past it breaks and is counted`(
        limit: AnswerLimit
    ) throws {
        try stage { stage in
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    try visit.write(limit.head(request.target == "/past" ? 1 : 0))
                }
            }
            let mirror = try mirror(stage, origin, "\(limit.key) = \(limit.value)\n")
            #expect(try mirror.get("/at").status == 200)
            #expect(try stage.reached(.agent).values.allSatisfy { $0 == 0 })
            expectProblem(try mirror.get("/past"), 502, "http_protocol_error")
            try stage.expectReached(limit.key, by: .agent)
            #expect(try mirror.get("/at").status == 200)
        }
    }

    @Test func `an agent asks for so many at once, and the relay keeps the next`() throws {
        try stage { stage in
            let origin = try stage.expectTwoAtOnce { origin in
                try mirror(stage, origin, "workers = 2\n", relay: Counting.relay.line(stage))
            }
            #expect(try stage.reached(.agent)["workers"] == 0)
            #expect(origin.accepted == 2)
        }
    }

    @Test func `of what several relays send at once so much waits, and the next is refused`()
        throws
    {
        try stage { stage in
            let gate = Gate()
            let origin = stage.keep(try Origin.answering(at: gate))
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let first = try stage.relay()
            let relays = [first] + (try (2...4).map { try stage.relay(beside: first, "\($0)") })
            let file = try stage.write("agent.conf", "workers = 1\n" + Counting.agent.line(stage))
            let agent = try stage.startAgent(
                first, key: key.secret, local: origin.url,
                ["--config", file] + relays.dropFirst().flatMap { ["--remote", $0.remote] })
            for relay in relays {
                _ = try agent.expectReady("ready mirror=prom remote=\(relay.remote)")
            }
            // Each relay sends one at a time. The first is with the origin before the others come; two
            // of those wait, and which two is nobody's promise.
            var clients = try relays.enumerated().map { number, relay in
                let asks = try Connection.to(port: relay.port)
                try asks.write(
                    "GET /m/alice/prom/\(number) HTTP/1.1\r\nHost: a\r\n\(bearer(client))\r\n\r\n")
                if number == 0 { _ = try origin.waitForRequest() }
                return (asks, "/\(number)")
            }
            try stage.expectReached("workers", by: .agent)
            let answered = try Connection.readable(1, of: clients.map(\.0))[0]
            expectProblem(try answered.readResponse(), 503, "connection_limit_reached")
            clients.removeAll { $0.0 === answered }
            #expect(origin.requests.count == 1)
            gate.open()
            for (asks, target) in clients { #expect(try asks.readResponse().text == target) }
            #expect(try stage.reached(.agent)["workers"] == 1)
        }
    }

    @Test func `the agent upgrades so many, and the next is refused and counted`() throws {
        try stage { stage in
            let mirror = try mirror(stage, .rawEcho(), "maximum-upgrades = 1\n")
            let first = try mirror.upgraded()
            expectProblem(
                try mirror.get("/raw", Mirror.upgrade), 503, "connection_limit_reached")
            try stage.expectReached("maximum-upgrades", by: .agent)
            #expect(try first.echoes("one"))
        }
    }

    @Test func `an origin that does not take the connection in time is counted`() throws {
        try stage { stage in
            let full = try Listener(backlog: 0)
            let first = try Connection.to(port: full.port)
            defer { first.close() }
            let file = try stage.write(
                "agent.conf", "connect-timeout = 1s\n" + Counting.agent.line(stage))
            let mirror = try stage.mirror(
                local: "http://127.0.0.1:\(full.port)", agent: ["--config", file])
            expectProblem(try mirror.get("/x"), 504, "connection_timeout")
            try stage.expectReached("connect-timeout", by: .agent)
        }
    }

    @Test func `an origin that does not answer in time is counted`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.waitForEnd()
            }
            let mirror = try mirror(stage, origin, "response-timeout = 1s\n")
            expectProblem(try mirror.get("/x"), 504, "http_response_timeout")
            try stage.expectReached("response-timeout", by: .agent)
        }
    }

    @Test func `a connection to the origin is kept for its time, closed, and counted`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try mirror(stage, origin, "idle-timeout = 1s\n")
            #expect(try mirror.get("/x").text == "/x")
            #expect(origin.waitForEnded(1))
            try stage.expectReached("idle-timeout", by: .agent)
            #expect(try mirror.get("/y").text == "/y")
            #expect(origin.accepted == 2)
        }
    }

    @Test func `a relay that answers no ping is given up and counted`() throws {
        try stage { stage in
            let mirror = try mirror(
                stage, .echoingTarget(), "heartbeat-interval = 1s\nheartbeat-timeout = 1s\n")
            mirror.relay.program.send(SIGSTOP)
            try stage.expectReached("heartbeat-timeout", by: .agent)
            mirror.relay.program.send(SIGCONT)
        }
    }

    @Test func `what still runs at the end of the agent's drain is broken, and said in the log`()
        throws
    {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\npart")
                try visit.waitForEnd()
            }
            let mirror = try mirror(stage, origin, "drain-timeout = 1s\n")
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            let head = try client.readResponseHead()
            mirror.agent.send(SIGTERM)
            #expect(try mirror.agent.exit() == .code(0))
            try mirror.agent.expectLog("the limit") {
                $0.contains("exchanges were still running at the drain limit")
            }
            #expect(!(try client.readBody(head.head).isWhole))
        }
    }

    @Test func `a resolver that hangs costs an attempt its time, and keeps nobody from stopping`()
        throws
    {
        try stage { stage in
            // Whoever looks a name up opens a pipe into which nobody writes.
            guard mkfifo(stage.path("hosts"), 0o600) == 0 else { throw Failure("no pipe") }
            let file = try stage.write(
                "agent.conf",
                "connect-timeout = 100ms\nreconnect-delay = 1ms\nmaximum-reconnect-delay = 1ms\n")
            let agent = try stage.start(
                Built.agent,
                [
                    "--config", file, "--remote", "ws://relay.test:1/mirror", "--name", "prom",
                    "--apikey-file", try stage.write("key", "secret\n"), "--local", "1",
                ],
                environment: [
                    "LD_PRELOAD": "libnss_wrapper.so", "NSS_WRAPPER_HOSTS": stage.path("hosts"),
                ])
            var seen = 0
            // More than lookups may hang at once.
            for _ in 0..<40 {
                try agent.expectLog("an attempt that was given up", from: seen) {
                    $0.contains("no answer from the resolver in time ('relay.test')")
                }
                seen = agent.log.lines.count
            }
            agent.send(SIGTERM)
            #expect(try agent.exit() == .code(0))
        }
    }
}
