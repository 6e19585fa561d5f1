// Several of everything: agents for one mirror, relays for one agent, and a session that takes the
// place of one whose network died in silence.

import Foundation
import Testing

struct SeveralTests {
    /// An origin that keeps its requests waiting at a gate, but for `/now`.
    private struct Held {
        let origin: Origin
        let gate = Gate()

        init(_ stage: Stage, _ name: String, begins: String = "") throws {
            let gate = self.gate
            origin = stage.keep(
                try Origin { visit in
                    while let request = try visit.readRequest(.long) {
                        if request.target != "/now" {
                            try visit.write(begins)
                            try gate.wait("the request may be answered", .long)
                        }
                        try visit.connection.write(
                            Answer(200, body: name).bytes(to: request.method))
                    }
                })
        }
    }

    /// Asks in the background, so that the test can go on.
    private func asking(
        _ mirror: Mirror, _ method: String, _ path: String, body: String = ""
    ) throws -> Connection {
        let client = try mirror.connect()
        let fields = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
        try client.write(mirror.request(method, path, fields, body: body))
        return client
    }

    // MARK: several agents for one mirror

    @Test func `a request goes to the agent with the most free places`() throws {
        try stage { stage in
            let large = try Held(stage, "large")
            let small = try Held(stage, "small")
            let four = try stage.write("four.conf", "workers = 4\n")
            let two = try stage.write("two.conf", "workers = 2\n")
            let mirror = try stage.mirror(large.origin, agent: ["--config", four])
            try stage.agent(
                mirror.relay, key: mirror.agentKey.secret, local: small.origin.url,
                ["--config", two])
            // Free at first: 4 and 2. The third finds 2 and 2, and goes to the newer one.
            var clients: [Connection] = []
            for index in 1...2 {
                clients.append(try asking(mirror, "GET", "/\(index)"))
                _ = try large.origin.waitForRequest { $0.target == "/\(index)" }
            }
            clients.append(try asking(mirror, "GET", "/3"))
            _ = try small.origin.waitForRequest { $0.target == "/3" }
            clients.append(try asking(mirror, "GET", "/4"))
            _ = try large.origin.waitForRequest { $0.target == "/4" }
            large.gate.open()
            small.gate.open()
            let texts = try clients.map { try $0.readResponse().text }
            #expect(texts == ["large", "large", "small", "large"])
        }
    }

    @Test func `an agent that dies loses its own requests and no others`() throws {
        try stage { stage in
            let one = try Held(stage, "one")
            let two = try Held(stage, "two")
            let mirror = try stage.mirror(one.origin)
            let second = try stage.agent(
                mirror.relay, key: mirror.agentKey.secret, local: two.origin.url)
            let lost = try asking(mirror, "POST", "/a", body: "ab")
            _ = try two.origin.waitForRequest()
            let kept = try asking(mirror, "POST", "/b", body: "ab")
            _ = try one.origin.waitForRequest()
            second.end()
            expectProblem(try lost.readResponse(), 502, "connection_terminated")
            one.gate.open()
            #expect(try kept.readResponse().text == "one")
            #expect(one.origin.requests.count == 1)
        }
    }

    @Test(arguments: ["GET", "HEAD", "DELETE"])
    func `a request that may be sent twice goes to another agent when its own dies`(
        method: String
    ) throws {
        try stage { stage in
            let one = try Held(stage, "one")
            let two = try Held(stage, "two")
            one.gate.open()
            let mirror = try stage.mirror(
                one.origin, relay: "admin-listen = unix:\(stage.path("admin"))\n")
            let second = try stage.agent(
                mirror.relay, key: mirror.agentKey.secret, local: two.origin.url)
            let client = try asking(mirror, method, "/a")
            let sent = try two.origin.waitForRequest()
            second.end()
            let response = try client.readResponse(to: method)
            #expect(response.status == 200)
            let again = try one.origin.waitForRequest()
            #expect(again.head["X-Request-Id"] == sent.head["X-Request-Id"])
            try mirror.relay.program.expectLog("the second try") {
                $0.contains("asking another agent") && $0.contains("MIRROR=alice/prom")
            }
            #expect(try stage.metric("repeated_requests_total", at: stage.path("admin")) == 1)
        }
    }

    @Test func `a request is not sent to a third agent`() throws {
        try stage { stage in
            let held = try (0..<3).map { try Held(stage, "\($0)") }
            let mirror = try stage.mirror(held[0].origin)
            let agents = try held.dropFirst().map {
                try stage.agent(
                    mirror.relay, key: mirror.agentKey.secret, local: $0.origin.url)
            }
            // It goes to the newest, and from there to the one before.
            let client = try asking(mirror, "GET", "/a")
            _ = try held[2].origin.waitForRequest()
            agents[1].end()
            _ = try held[1].origin.waitForRequest()
            agents[0].end()
            expectProblem(try client.readResponse(), 502, "connection_terminated")
            #expect(held[0].origin.requests.isEmpty)
        }
    }

    @Test(arguments: [
        ("POST", "", ""), ("PUT", "ab", ""), ("GET", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
        ("GET", "", "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"),
    ])
    func `a request that changes something, or was answered in part, goes to no other agent`(
        method: String, body: String, part: String
    ) throws {
        try stage { stage in
            let one = try Held(stage, "one")
            let two = try Held(stage, "two", begins: part)
            let mirror = try stage.mirror(one.origin)
            let second = try stage.agent(
                mirror.relay, key: mirror.agentKey.secret, local: two.origin.url)
            let client = try asking(mirror, method, "/a", body: body)
            _ = try two.origin.waitForRequest()
            // The part has come before the agent dies.
            if !part.isEmpty { _ = try client.fill() }
            second.end()
            let response = try client.readResponse()
            if part.contains("200") {
                #expect(!response.body.isWhole)
            } else {
                expectProblem(response, 502, "connection_terminated")
            }
            #expect(one.origin.requests.isEmpty)
        }
    }

    @Test func `an origin that fails is no reason to ask another agent`() throws {
        try stage { stage in
            let good = stage.keep(try Origin.echoingTarget())
            let bad = try Origin { visit in
                _ = try visit.readHead()
                visit.connection.abort()
            }
            let mirror = try stage.mirror(good)
            try stage.agent(
                mirror.relay, key: mirror.agentKey.secret, local: stage.keep(bad).url)
            expectProblem(try mirror.get("/x"), 502, "connection_terminated")
            #expect(good.requests.isEmpty)
        }
    }

    // MARK: a network that dies in silence

    @Test func `a session that went silent is replaced by its own agent, and its requests with it`()
        throws
    {
        try stage { stage in
            let held = try Held(stage, "here")
            let key = try stage.addKey(role: "agent", name: "prom")
            let client = try stage.addKey(role: "client")
            // The relay itself would not notice within this test.
            let relay = try stage.relay("heartbeat-interval = 600s\n")
            let passage = try Passage(to: relay.port)
            let file = try stage.write(
                "agent.conf",
                """
                remote = ws://127.0.0.1:\(passage.port)/mirror
                apikey-file = \(try stage.write("agent.key", key.secret))
                name = prom
                local = \(held.origin.url)
                heartbeat-interval = 1s
                heartbeat-timeout = 1s

                """)
            let agent = try stage.start(Built.agent, ["--config", file])
            _ = try agent.expectReady("ready mirror=prom ")
            let mirror = Mirror(relay: relay, agent: agent, agentKey: key, clientKey: client)
            #expect(try mirror.get("/now").text == "here")

            passage.freeze()
            let asks = try asking(mirror, "GET", "/now")
            let changes = try asking(mirror, "POST", "/a", body: "ab")
            try relay.program.expectLog("the new session takes the place") {
                $0.contains("replaced by a newer session of the same agent")
            }
            #expect(try asks.readResponse().text == "here")
            expectProblem(try changes.readResponse(), 502, "connection_terminated")
            #expect(try mirror.get("/now").text == "here")
            #expect(!held.origin.requests.contains { $0.method == "POST" })
        }
    }

    // MARK: several relays for one agent

    @Test func `a relay that stops takes none of the others with it, and is found again`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let first = try stage.relay()
            let second = try stage.relay(beside: first)
            let quick = try stage.write("agent.conf", "maximum-reconnect-delay = 1s\n")
            let agent = try stage.startAgent(
                first, key: key.secret, local: origin.url,
                ["--remote", second.remote, "--config", quick])
            for relay in [first, second] {
                _ = try agent.expectReady("ready mirror=prom remote=\(relay.remote)")
            }
            first.program.end()
            #expect(try ask(second, "/m/alice/prom/x", [bearer(client)]).text == "/x")
            try first.startOnSamePort()
            _ = try askUntil("the first relay has its agent again", .patient) {
                try ask(first, "/m/alice/prom/x", [bearer(client)])
            } _: {
                $0.status == 200
            }
            #expect(try ask(second, "/m/alice/prom/x", [bearer(client)]).text == "/x")
        }
    }

    @Test func `two names of one relay are two sessions, and neither replaces the other`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let other = "ws://localhost:\(relay.port)/mirror"
            let agent = try stage.startAgent(
                relay, key: key.secret, local: origin.url, ["--remote", other])
            for remote in [relay.remote, other] {
                _ = try agent.expectReady("ready mirror=prom remote=\(remote)")
            }
            let list = try ask(relay, "/api/v1/mirrors", [bearer(client)])
            #expect(list.text.contains("\"sessions\":2"), "\(list.text)")
            #expect(!relay.program.log.lines.contains { $0.contains("replaced") })
        }
    }
}
