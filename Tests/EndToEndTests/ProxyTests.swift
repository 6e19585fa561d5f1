// The agent's way to its relay through an HTTP proxy: a real one, and ones that misbehave.

import Foundation
import Testing

struct ProxyTests {
    private struct Place {
        let stage: Stage
        let relay: Relay
        let key: Relay.Key
        let client: Relay.Key
        let origin: Origin

        init(_ stage: Stage, plaintext: Bool = true) throws {
            self.stage = stage
            key = try stage.addKey(role: "agent")
            client = try stage.addKey(role: "client")
            relay = try stage.relay(plaintext: plaintext)
            origin = stage.keep(try Origin.echoingTarget())
        }

        func agent(
            _ options: [String] = [], environment: [String: String] = [:]
        ) throws -> Program {
            let quick = try stage.write(
                "agent.conf", "connect-timeout = 2s\nmaximum-reconnect-delay = 1s\n")
            return try stage.startAgent(
                relay, key: key.secret, local: origin.url, ["--config", quick] + options,
                environment: environment)
        }
    }

    @Test func `an agent reaches its relay through a proxy`() throws {
        try stage { stage in
            let place = try Place(stage)
            let proxy = try stage.tinyproxy()
            let agent = try place.agent(["--proxy", "http://127.0.0.1:\(proxy.port)"])
            _ = try agent.expectReady("ready mirror=prom ")
            let answer = try ask(place.relay, "/m/alice/prom/x", [bearer(place.client)])
            #expect(answer.text == "/x")
            let tunnel = proxy.program.output.line {
                $0.contains("CONNECT \(place.relay.address) HTTP/1.1")
            }
            #expect(tunnel != nil, "the proxy has seen it")
        }
    }

    @Test(arguments: ["HTTPS_PROXY", "https_proxy"])
    func `the environment names a proxy for a relay with TLS, and its user`(name: String) throws {
        try stage { stage in
            let place = try Place(stage, plaintext: false)
            let proxy = try stage.tinyproxy(user: "anna p.ss-word")
            let agent = try place.agent(
                environment: [name: "http://anna:p%2Ess%2Dword@127.0.0.1:\(proxy.port)"])
            _ = try agent.expectReady("ready mirror=prom ")
            let answer = try stage.curl(
                place.relay, "/m/alice/prom/x", key: place.client.secret)
            #expect(answer.text == "/x")
            let tunnel = proxy.program.output.line {
                $0.contains("CONNECT \(place.relay.address) HTTP/1.1")
            }
            #expect(tunnel != nil, "the proxy has seen it")
        }
    }

    @Test(arguments: ["127.0.0.1", "127.0.0.0/8", "*", "example.com, 127.0.0.1"])
    func `a relay that no_proxy names is reached without the proxy`(list: String) throws {
        try stage { stage in
            let place = try Place(stage, plaintext: false)
            // Nobody listens at port 1.
            let agent = try place.agent(
                environment: ["HTTPS_PROXY": "http://127.0.0.1:1", "NO_PROXY": list])
            _ = try agent.expectReady("ready mirror=prom ")
        }
    }

    /// Expects the agent to say so twice at least: it tries again.
    private func expectTwice(_ agent: Program, _ words: [String]) throws {
        var count = 0
        try agent.expectLog("\(words) twice") { line in
            if words.allSatisfy(line.contains) { count += 1 }
            return count == 2
        }
        #expect(agent.output.lines.isEmpty)
    }

    @Test func `a proxy that wants a password says so in the log, and the password is not there`()
        throws
    {
        try stage { stage in
            let place = try Place(stage)
            let proxy = try stage.tinyproxy(user: "anna secret-one")
            let without = try place.agent(["--proxy", "http://127.0.0.1:\(proxy.port)"])
            try expectTwice(
                without, ["proxy 127.0.0.1:\(proxy.port)", "wants user and password (407"])
            without.end()
            let wrong = try place.agent([
                "--proxy", "http://anna:secret-two@127.0.0.1:\(proxy.port)",
            ])
            try expectTwice(wrong, ["proxy 127.0.0.1:\(proxy.port)", "refuses user or password"])
            #expect(!wrong.log.lines.contains { $0.contains("secret-two") || $0.contains("anna") })
        }
    }

    @Test func `a proxy that refuses the tunnel says so in the log`() throws {
        try stage { stage in
            let place = try Place(stage)
            let proxy = try stage.tinyproxy(connectPort: 1)
            let agent = try place.agent(["--proxy", "http://127.0.0.1:\(proxy.port)"])
            try expectTwice(agent, ["refuses a tunnel to \(place.relay.address) (403)"])
        }
    }

    @Test(arguments: [
        ("SSH-2.0-OpenSSH_9.2\r\n\r\n", "broken answer"),
        ("", "connection closed by the peer"),
        ("HTTP/1.1 200 OK\r\n\r\nrubbish", "sent bytes behind its answer"),
        ("HTTP/1.1 502 Bad Gateway\r\n\r\n", "(502)"),
    ])
    func `a proxy that answers nonsense is tried again`(answer: String, reason: String) throws {
        try stage { stage in
            let place = try Place(stage)
            let proxy = stage.keep(
                try Origin { visit in
                    _ = try visit.readHead()
                    try visit.write(answer)
                })
            let agent = try place.agent(["--proxy", "127.0.0.1:\(proxy.port)"])
            try expectTwice(agent, ["proxy 127.0.0.1:\(proxy.port): ", reason])
        }
    }

    @Test func `a proxy that never answers is given up in time, and tried again`() throws {
        try stage { stage in
            let place = try Place(stage)
            let proxy = stage.keep(
                try Origin { visit in
                    _ = try visit.readHead()
                    try visit.waitForEnd()
                })
            let agent = try place.agent(["--proxy", "127.0.0.1:\(proxy.port)"])
            try expectTwice(agent, ["proxy 127.0.0.1:\(proxy.port): timed out"])
            #expect(proxy.waitForEnded(1), "the connection to the proxy is closed")
        }
    }
}
