// What the agent serves for Prometheus, and that nobody can keep it from doing so.

import Foundation
import Testing

struct AgentMetricsTests {
    @Test func `the agent counts its sessions, exchanges, errors and connections`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                agent: ["--metrics-listen", "127.0.0.1:0", "--allow", "GET /*"])
            for _ in 1...3 { #expect(try mirror.get("/four").status == 200) }
            #expect(try mirror.ask("DELETE", "/x").status == 403)
            let numbers = try scrapeUntil("all is counted", try port(of: mirror.agent)) {
                $0["agent_responses_total{class=\"2xx\"}"] == 3
                    && $0["agent_errors_total{error=\"http_request_denied\"}"] == 1
                    && $0["agent_exchanges_in_flight"] == 0
            }
            #expect(numbers["agent_sessions"] == 1)
            #expect(numbers["agent_reconnects_total"] == 0)
            #expect(numbers["agent_response_body_bytes_total"] == 15)
            #expect(numbers["agent_request_body_bytes_total"] == 0)
            let opened = numbers["agent_origin_connections_total"] ?? 0
            let reused = numbers["agent_origin_reuses_total"] ?? 0
            #expect(opened >= 1 && opened + reused == 3, "\(opened) and \(reused)")
            #expect(numbers.keys.contains { $0.hasPrefix("agent_info{version=") })
        }
    }

    @Test func `the agent counts that it came back`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), agent: ["--metrics-listen", "127.0.0.1:0"])
            let port = try port(of: mirror.agent)
            mirror.relay.program.end()
            let alone = try scrapeUntil("the session is lost", port) { $0["agent_sessions"] == 0 }
            #expect(alone["agent_reconnects_total"] == 0)
            _ = try scrapeUntil("an attempt has failed", port) {
                ($0["agent_failed_connects_total"] ?? 0) > 0
            }
            try mirror.relay.startOnSamePort()
            let back = try scrapeUntil("the session stands", port) { $0["agent_sessions"] == 1 }
            #expect(back["agent_reconnects_total"] == 1)
        }
    }

    @Test(arguments: [
        ("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("HEAD /metrics HTTP/1.1\r\nHost: a\r\n\r\n", 200),
        ("GET /metrics?x=1 HTTP/1.0\r\n\r\n", 200),
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 404),
        ("POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", 405),
        ("GET /metrics HTTP/1.1\r\n\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nHost: a\r\nX: \(String(repeating: "x", count: 9000))", 400),
        ("nonsense\r\n\r\n", 400),
    ])
    func `metrics are all that the agent serves`(request: String, status: Int) throws {
        try stage { stage in
            let connection = try Connection.to(port: port(of: lonely(stage)))
            try connection.write(request)
            let method = String(request.prefix { $0 != " " })
            let response = try connection.readResponse(to: method)
            #expect(response.status == status)
            #expect(response["Connection"] == "close")
            #expect(response.body.bytes.isEmpty == (method == "HEAD"))
            #expect(!(try connection.fill()))
        }
    }

    @Test func `a client that says nothing keeps the metrics from others for seconds at most`()
        throws
    {
        try stage { stage in
            let port = try port(of: lonely(stage))
            let silent = try Connection.to(port: port)
            let other = try Connection.to(port: port)
            try other.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try other.readResponse().status == 200)
            #expect(!(try silent.fill()))
        }
    }

    @Test func `metrics are served on a unix socket too`() throws {
        try stage { stage in
            let path = stage.path("metrics")
            let agent = try lonely(stage, "unix:\(path)")
            _ = try port(of: agent)
            let answer = try stage.curl("http://a/metrics", ["--unix-socket", path])
            #expect(answer.text.contains("\nmagicmirror_agent_sessions 0\n"), "\(answer.error)")
            agent.send(SIGTERM)
            #expect(try agent.exit() == .code(0))
            #expect(!FileManager.default.fileExists(atPath: path))
        }
    }

    // MARK: -

    /// An agent whose relay is not there.
    private func lonely(_ stage: Stage, _ address: String = "127.0.0.1:0") throws -> Program {
        let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
        return try stage.start(
            Built.agent,
            [
                "--remote", "ws://127.0.0.1:1/mirror", "--apikey-file", key, "--name", "prom",
                "--local", "http://127.0.0.1:2", "--metrics-listen", address,
            ])
    }

    /// Where the agent says that it serves metrics; 0 for a unix socket.
    private func port(of agent: Program) throws -> Int {
        let line = try agent.expectLog("serving metrics") {
            $0.contains("serving metrics ADDRESS=")
        }
        return Int(line.split(separator: ":").last ?? "") ?? 0
    }

    /// Scrapes until the numbers are as they should be: an exchange is counted after its answer.
    private func scrapeUntil(
        _ what: String, _ port: Int, _ matches: ([String: Int]) -> Bool
    ) throws -> [String: Int] {
        var numbers: [String: Int] = [:]
        _ = try askUntil(what, .patient) {
            let connection = try Connection.to(port: port)
            try connection.write("GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
            return try connection.readResponse()
        } _: { response in
            numbers = [:]
            for line in response.text.split(separator: "\n") where !line.hasPrefix("#") {
                let words = line.split(separator: " ")
                numbers[String(words[0].dropFirst("magicmirror_".count))] = Int(words[1])
            }
            return matches(numbers)
        }
        return numbers
    }
}
