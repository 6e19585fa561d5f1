// The agent by itself: its command line and configuration, whom it trusts, when it tries again and
// when it gives up.

import Foundation
import Testing

struct AgentTests {
    @Test func `the command line of the introduction works as it stands`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", relay.remote, "--apikey", key.secret, "--name", "localprometheus",
                    "--local", origin.url,
                ])
            let ready = try agent.expectReady("ready ")
            #expect(ready == "ready mirror=localprometheus remote=\(relay.remote)")
            let response = try ask(relay, "/m/alice/localprometheus/x", [bearer(client)])
            #expect(response.text == "/x")
            try agent.expectLog("a warning about the key on the command line") {
                $0.contains("apikey") && !$0.contains(key.secret)
            }
        }
    }

    @Test(arguments: ["PORT", "127.0.0.1:PORT", "http://localhost:PORT", "http://127.0.0.1:PORT/"])
    func `the private service may be named in short`(local: String) throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let mirror = try stage.mirror(
                local: local.replacingOccurrences(of: "PORT", with: "\(origin.port)"))
            #expect(try mirror.get("/x").text == "/x")
        }
    }

    @Test func `the key may come from the environment or from systemd's credentials`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay()
            mkdir(stage.path("credentials"), 0o700)
            try stage.write("credentials/apikey", key.secret + "\n")
            let environments = [
                ["MAGICMIRROR_APIKEY": key.secret],
                ["CREDENTIALS_DIRECTORY": stage.path("credentials")],
            ]
            for (index, environment) in environments.enumerated() {
                let agent = try stage.start(
                    Built.agent,
                    ["--remote", relay.remote, "--name", "n\(index)", "--local", origin.url],
                    environment: environment)
                _ = try agent.expectReady("ready mirror=n\(index) ")
            }
        }
    }

    @Test func `one agent serves several mirrors by its configuration`() throws {
        try stage { stage in
            let one = stage.keep(try Origin.answering { _ in Answer(200, body: "one") })
            let two = stage.keep(try Origin.answering { _ in Answer(200, body: "two") })
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let relay = try stage.relay(plaintext: false)
            try stage.write("agent.key", key.secret + "\n")
            let file = try stage.write(
                "agent.conf",
                """
                remote = \(relay.remote)
                apikey-file = \(stage.path("agent.key"))
                ca-file = \(relay.authority ?? "")

                [mirror one]
                local = \(one.url)
                [mirror two]            # with a policy of its own
                local = \(two.url)
                allow = GET /only/*

                """)
            let agent = try stage.start(Built.agent, ["--config", file])
            _ = try agent.expectReady("ready mirror=one ")
            _ = try agent.expectReady("ready mirror=two ")
            func get(_ path: String) throws -> CurlAnswer {
                try stage.curl(relay, "/m/alice" + path, key: client.secret)
            }
            #expect(try get("/one/x").text == "one")
            #expect(try get("/two/only/x").text == "two")
            #expect(try get("/two/x").status == 403)
        }
    }

    @Test func `an agent is connected to every relay that it is told of`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let client = try stage.addKey(role: "client")
            let first = try stage.relay()
            let second = try stage.relay(beside: first)
            let agent = try stage.startAgent(
                first, key: key.secret, local: origin.url, ["--remote", second.remote])
            for relay in [first, second] {
                _ = try agent.expectReady("ready mirror=prom remote=\(relay.remote)")
                #expect(try ask(relay, "/m/alice/prom/x", [bearer(client)]).text == "/x")
            }
        }
    }

    // MARK: trust

    @Test func `a relay whose certificate the agent has no reason to trust is not given the key`()
        throws
    {
        try stage { stage in
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay(plaintext: false)
            let other = try stage.certificate("other")
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", relay.remote, "--apikey-file",
                    stage.write("agent.key", key.secret), "--name", "prom", "--local", "1",
                    "--ca-file", other.file,
                ])
            // It tries again, for the certificate may be mended, and says each time what is wrong.
            let before = agent.log.lines.count
            let line = try agent.expectLog("the certificate") { $0.contains("certificate") }
            #expect(line.contains(relay.address) || line.contains(relay.remote), "\(line)")
            var lines = 0
            try agent.expectLog("the certificate again", from: before) { line in
                if line.contains("certificate") { lines += 1 }
                return lines == 2
            }
            #expect(agent.output.lines.isEmpty)
        }
    }

    @Test func `a certificate for another name is not trusted`() throws {
        try stage { stage in
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay(plaintext: false)
            // 127.0.0.2 is this machine too, but not in the certificate.
            let file = try stage.relayConfiguration(
                "other.conf", listen: ["127.0.0.2:0"],
                certificate: Certificate(
                    file: stage.path("relay.pem"), key: stage.path("relay.key")))
            let other = try Relay(
                stage, arguments: ["--config", file], keys: relay.keys, authority: relay.authority)
            let agent = try stage.startAgent(other, key: key.secret, local: "1")
            try agent.expectLog("the name") {
                $0.contains("certificate") && $0.contains("127.0.0.2")
            }
            #expect(agent.output.lines.isEmpty)
        }
    }

    @Test func `a relay with a certificate for its name is trusted by that name`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay(plaintext: false)
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", "wss://localhost:\(relay.port)/mirror", "--apikey-file",
                    stage.write("agent.key", key.secret), "--name", "prom", "--local", origin.url,
                    "--ca-file", relay.authority ?? "",
                ])
            _ = try agent.expectReady("ready mirror=prom ")
        }
    }

    // MARK: giving up and trying again

    @Test func `an agent with a wrong key gives up`() throws {
        try stage { stage in
            let relay = try stage.relay()
            let agent = try stage.startAgent(relay, key: "mma_wrong-but-long-enough", local: "1")
            #expect(try agent.exit() == .code(77))
            try agent.expectLog("401") { $0.contains("401") }
        }
    }

    @Test func `an agent with the key of a client gives up`() throws {
        try stage { stage in
            let key = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let agent = try stage.startAgent(relay, key: key.secret, local: "1")
            #expect(try agent.exit() == .code(77))
        }
    }

    @Test func `an agent whose key is not for its name gives up`() throws {
        try stage { stage in
            let key = try stage.addKey(role: "agent", name: "grafana")
            let relay = try stage.relay()
            let agent = try stage.startAgent(relay, key: key.secret, name: "prom", local: "1")
            #expect(try agent.exit() == .code(77))
            try agent.expectLog("403") { $0.contains("403") }
        }
    }

    @Test(arguments: [401, 403])
    func `a relay's refusal for good ends the agent`(status: Int) throws {
        try stage { stage in
            let relay = try Origin.answering { _ in Answer(status, closes: true) }
            let agent = try startAgent(stage, relay)
            #expect(try agent.exit() == .code(77))
            #expect(relay.requests.count == 1)
        }
    }

    @Test(arguments: [400, 404, 408, 425, 429, 500, 502, 503, 504, 200, 302])
    func `any other answer is tried again`(status: Int) throws {
        try stage { stage in
            let relay = try Origin.answering { _ in
                Answer(status, ["Location: http://127.0.0.1:1/"], closes: true)
            }
            let agent = try startAgent(stage, relay)
            #expect(relay.waitForEnded(3))
            try agent.expectLog("\(status)") { $0.contains("\(status)") }
            agent.send(SIGTERM)
            #expect(try agent.exit() == .code(0))
        }
    }

    @Test func `the handshake is that of a WebSocket, with name, key and protocol`() throws {
        try stage { stage in
            let relay = try Origin.answering { _ in Answer(403, closes: true) }
            let agent = try startAgent(stage, relay)
            let request = try relay.waitForRequest()
            #expect(request.method == "GET")
            #expect(request.target == "/mirror?name=prom")
            #expect(request.head["Host"] == "127.0.0.1:\(relay.port)")
            #expect(request.head["Upgrade"]?.lowercased() == "websocket")
            #expect(request.head["Connection"]?.lowercased().contains("upgrade") == true)
            #expect(request.head["Sec-WebSocket-Version"] == "13")
            #expect(request.head["Sec-WebSocket-Protocol"] == "magicmirror.v2")
            let key = Data(base64Encoded: request.head["Sec-WebSocket-Key"] ?? "")
            #expect(key?.count == 16)
            #expect(request.head["Authorization"] == "Bearer mma_secret-of-some-length")
            try agent.exit()
        }
    }

    @Test func `settings that come in one piece with the relay's answer are not lost`() throws {
        try stage { stage in
            let relay = try Origin { visit in
                try visit.acceptAgent(stage, [HandMessage.settings])
                try visit.waitForEnd()
            }
            let agent = try startAgent(stage, relay)
            #expect(agent.output.line { $0.hasPrefix("ready mirror=prom ") } != nil)
            #expect(relay.accepted == 1)
        }
    }

    @Test func `a relay that takes the connection and never answers keeps no agent from stopping`()
        throws
    {
        try stage { stage in
            let relay = try Origin { visit in
                _ = try visit.readHead()
                try visit.waitForEnd(.long)
            }
            let file = try stage.write(
                "agent.conf", "connect-timeout = 600s\ndrain-timeout = 600s\n")
            let agent = try startAgent(stage, relay, ["--config", file])
            _ = try relay.waitForRequest()
            agent.send(SIGTERM)
            #expect(try agent.exit(.patient) == .code(0))
        }
    }

    @Test func `a redirect of the origin is passed on, and never followed`() throws {
        try stage { stage in
            let elsewhere = stage.keep(try Origin.echoingTarget())
            let origin = try Origin.answering { _ in
                Answer(302, ["Location: http://127.0.0.1:\(elsewhere.port)/stolen"])
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x")
            #expect(response.status == 302)
            #expect(response["Location"] == "http://127.0.0.1:\(elsewhere.port)/stolen")
            #expect(elsewhere.accepted == 0)
        }
    }

    private func startAgent(
        _ stage: Stage, _ relay: Origin, _ options: [String] = []
    ) throws -> Program {
        try stage.start(
            Built.agent,
            [
                "--remote", "ws://127.0.0.1:\(stage.keep(relay).port)/mirror", "--apikey-file",
                stage.write("agent.key", "mma_secret-of-some-length\n"), "--name", "prom",
                "--local", "1",
            ] + options)
    }
}
