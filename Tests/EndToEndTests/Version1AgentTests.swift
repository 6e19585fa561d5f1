// The relay with an original agent, which knows protocol v1 only.

import Foundation
import Testing

/// The mirror alice/prom with an original agent.
private struct OriginalMirror: Sendable {
    let agent: OriginalAgent
    let relay: Relay
    let agentKey: Relay.Key
    let clientKey: Relay.Key

    init(
        _ stage: Stage, relay more: String = "",
        _ act: @escaping @Sendable (V1Asked) -> OriginalAgent.Act
    ) throws {
        agentKey = try stage.addKey(role: "agent", name: "prom")
        clientKey = try stage.addKey(role: "client")
        relay = try stage.relay(more)
        agent = try OriginalAgent(relay, key: agentKey, act)
    }

    func text(
        _ method: String, _ path: String, _ fields: [String] = [], body: String = ""
    ) -> String {
        "\(method) /m/alice/prom\(path) HTTP/1.1\r\nHost: relay.test\r\n"
            + fields.map { $0 + "\r\n" }.joined() + "\(bearer(clientKey))\r\n\r\n" + body
    }

    func ask(
        _ method: String, _ path: String, _ fields: [String] = [], body: String = ""
    ) throws -> Response {
        let connection = try Connection.to(port: relay.port)
        try connection.write(text(method, path, fields, body: body))
        return try connection.readResponse(to: method)
    }
}

/// Answers by what was asked, so that nobody can be given the answer to another.
@Sendable private func echo(_ asked: V1Asked) -> OriginalAgent.Act {
    .reply(V1Reply(200, body: "\(asked.method) \(asked.uri) \(asked.body?.count ?? -1)"))
}

struct Version1AgentTests {
    @Test func `a request reaches an original agent as it should, and its answer the client`()
        throws
    {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { _ in
                .reply(
                    V1Reply(
                        203,
                        [
                            "Set-Cookie": ["a=1", "b=<2>&3", "c=ü"],
                            "Content-Type": ["text/x-test"], "Connection": ["X-Gone"],
                            "X-Gone": ["1"], "Transfer-Encoding": ["chunked"],
                        ], body: "answer"))
            }
            let response = try mirror.ask(
                "GET", "/api/v1/query?query=up%7Ba%7D&x=%20",
                [
                    "x-own: one", "X-OWN: two", "Keep-Alive: 5", "Connection: X-Hop",
                    "X-Hop: 1", "TE: trailers",
                ])
            #expect(response.status == 203)
            #expect(response.head.all("Set-Cookie") == ["a=1", "b=<2>&3", "c=ü"])
            #expect(response["Content-Type"] == "text/x-test")
            #expect(response["X-Gone"] == nil)
            #expect(response["Content-Length"] == "6")
            #expect(response.text == "answer")

            let asked = try mirror.agent.wait("a request") { $0.asked.first }
            #expect(asked.method == "GET")
            #expect(asked.uri == "/api/v1/query?query=up%7Ba%7D&x=%20")
            #expect(asked.body == nil)
            #expect(asked.headers["X-Own"] == ["one", "two"])
            #expect(asked.headers["Accept-Encoding"] == ["identity"])
            #expect(asked.headers["X-Forwarded-Host"] == ["relay.test"])
            #expect(asked.headers["X-Request-Id"]?.count == 1)
            for name in [
                "Host", "Content-Length", "Transfer-Encoding", "Connection", "Keep-Alive", "X-Hop",
                "Te", "Authorization",
            ] {
                #expect(asked.headers[name] == nil, "\(name)")
            }
            let line = try mirror.relay.expectLine(status: 203)
            #expect(line.contains("EXCHANGE=1"))
            #expect(line.contains("REQUEST_ID="))
        }
    }

    @Test func `a client's own Accept-Encoding is passed on`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                .reply(
                    V1Reply(
                        200, ["Content-Encoding": ["gzip"], "Content-Length": ["3"]],
                        body: asked.headers["Accept-Encoding"]?.joined() == "gzip" ? "zip" : ""))
            }
            let response = try mirror.ask("GET", "/x", ["accept-encoding: gzip"])
            #expect(response.text == "zip")
            #expect(response["Content-Encoding"] == "gzip")
        }
    }

    @Test func `a path that begins with two slashes stays a path`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage, echo)
            #expect(try mirror.ask("GET", "//a/b").text == "GET http://localhost//a/b -1")
        }
    }

    @Test func `bodies of every size and framing travel whole`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                .reply(V1Reply(200, bytes: asked.body))
            }
            for size in [1, 2, 3, 4095, 300_001] {
                let body = String((0..<size).map { Character(Unicode.Scalar(UInt8(97 + $0 % 23))) })
                let sent = try mirror.ask("POST", "/x", ["Content-Length: \(size)"], body: body)
                #expect(sent.text == body)
            }
            let chunked = try mirror.ask(
                "PUT", "/x", ["Transfer-Encoding: chunked"],
                body: "3\r\nabc\r\n2\r\nde\r\n0\r\nX-Trailer: 1\r\n\r\n")
            #expect(chunked.text == "abcde")
            #expect(mirror.agent.now.asked.last?.headers["Content-Length"] == nil)

            let client = try Connection.to(port: mirror.relay.port)
            try client.write(
                mirror.text("POST", "/x", ["Expect: 100-continue", "Content-Length: 2"]))
            let interim = try #require(try client.readHead())
            #expect(interim.startLine.hasPrefix("HTTP/1.1 100"))
            try client.write("hi")
            #expect(try client.readResponse().text == "hi")
            #expect(mirror.agent.now.asked.last?.headers["Expect"] == nil)
        }
    }

    @Test func `concurrent clients get each their own answer, whatever fails beside them`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                asked.uri.hasPrefix("/bad") ? .fail : echo(asked)
            }
            let answers = try onThreads(24) { client in
                let connection = try Connection.to(port: mirror.relay.port)
                return try (0..<6).map { number in
                    // More failures than one connection of the agent survives.
                    let isBad = client % 6 == 0 && number % 2 == 0
                    let path = "/\(isBad ? "bad" : "good")/\(client)/\(number)"
                    try connection.write(mirror.text("GET", path))
                    let response = try connection.readResponse()
                    let isRight =
                        isBad
                        ? response.status == 502
                        : response.status == 200 && response.text == "GET \(path) -1"
                    return isRight ? "" : "\(path): \(response.status) \(response.text)"
                }.filter { !$0.isEmpty }
            }
            for answer in answers { #expect(try answer.get() == []) }
            #expect(mirror.agent.now.exit == nil)
            #expect(mirror.agent.now.closes.count == 1)
        }
    }

    @Test func `the session is closed before the tenth failure, and the next requests wait`() throws
    {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                asked.uri == "/bad" ? .fail : echo(asked)
            }
            for _ in 0..<2 {
                for _ in 0..<9 {
                    expectProblem(try mirror.ask("GET", "/bad"), 502, "connection_terminated")
                }
                // Its agent is away for 3 s.
                #expect(try mirror.ask("GET", "/good").text == "GET /good -1")
            }
            let closes = mirror.agent.now.closes
            #expect(closes.count == 2)
            for close in closes {
                guard case .close(1012, _) = close else {
                    Issue.record("\(close)")
                    continue
                }
            }
            #expect(mirror.agent.now.exit == nil)
            try mirror.relay.program.expectLog("the reason") {
                $0.contains("agent disconnected") && $0.contains("one more failed request")
            }
        }
    }

    @Test(arguments: [
        ("GET", "Connection: Upgrade\r\nUpgrade: websocket"),
        ("GET", "Connection: upgrade\r\nUpgrade: x-own/1"),
        ("GET", "Accept: text/event-stream"),
        ("GET", "Accept: application/json, Text/Event-Stream;q=0.5"),
    ])
    func `what would hang an original agent for ever is answered by the relay`(
        method: String, field: String
    ) throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage, echo)
            let response = try mirror.ask(method, "/x", [field])
            expectProblem(response, 501, "http_request_error")
            #expect(response.text.contains("protocol version 1"))
            try mirror.relay.expectLine(status: 501, error: "http_request_error")
            #expect(try mirror.ask("GET", "/y").text == "GET /y -1")
            #expect(mirror.agent.now.asked.map(\.uri) == ["/y"])
        }
    }

    @Test func `a body beyond the limit is refused, announced or not`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(
                stage, relay: "maximum-v1-body-bytes = 2KiB\n" + Counting.relay.line(stage), echo)
            let announced = try mirror.ask("POST", "/x", ["Content-Length: 2049"])
            expectProblem(announced, 413, "http_request_error")
            let chunk = String(repeating: "a", count: 2049)
            let streamed = try mirror.ask(
                "POST", "/x", ["Transfer-Encoding: chunked"], body: "801\r\n\(chunk)\r\n0\r\n\r\n")
            expectProblem(streamed, 413, "http_request_error")
            try mirror.relay.expectLine(status: 413, error: "http_request_error")
            try stage.expectReached("maximum-v1-body-bytes", 2)
            let fitting = try mirror.ask(
                "POST", "/x", ["Content-Length: 2048"], body: String(chunk.dropLast()))
            #expect(fitting.text == "POST /x 2048")
            #expect(mirror.agent.now.asked.count == 1)
        }
    }

    @Test func `an answer's body beyond the limit costs that answer only`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage, relay: "maximum-v1-body-bytes = 2KiB\n") {
                asked in
                let count = asked.uri == "/past" ? 2049 : 2048
                return .reply(V1Reply(200, body: String(repeating: "a", count: count)))
            }
            for _ in 1...2 {
                #expect(try mirror.ask("GET", "/at").text.count == 2048)
                expectProblem(try mirror.ask("GET", "/past"), 502, "http_protocol_error")
            }
            try mirror.relay.expectLine(status: 502, error: "http_protocol_error")
            #expect(mirror.agent.now.connects == 1)
        }
    }

    @Test func `a truncated answer is not made to look whole`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                .reply(
                    V1Reply(
                        asked.uri == "/304" ? 304 : 200, ["Content-Length": ["10"]],
                        body: asked.uri == "/short" ? "short" : asked.uri == "/0" ? "" : nil))
            }
            for path in ["/cut", "/short", "/0"] {
                expectProblem(try mirror.ask("GET", path), 502, "http_response_incomplete")
            }
            try mirror.relay.expectLine(status: 502, error: "http_response_incomplete")
            let head = try mirror.ask("HEAD", "/x")
            #expect(head.status == 200)
            #expect(head["Content-Length"] == "10")
            #expect(try mirror.ask("GET", "/304").status == 304)
        }
    }

    @Test func `the answer for a client that went away is not given to the next`() throws {
        try stage { stage in
            let gate = Gate()
            let mirror = try OriginalMirror(stage) { asked in
                if asked.uri == "/slow" { try? gate.wait("the first client to go") }
                return echo(asked)
            }
            let first = try Connection.to(port: mirror.relay.port)
            try first.write(mirror.text("GET", "/slow"))
            _ = try mirror.agent.wait("the slow request") { $0.asked.isEmpty ? nil : true }
            first.close()
            try mirror.relay.expectLine(status: 499)
            let second = try Connection.to(port: mirror.relay.port)
            try second.write(mirror.text("GET", "/next"))
            gate.open()
            #expect(try second.readResponse().text == "GET /next -1")
            #expect(mirror.agent.now.closes.isEmpty)
        }
    }

    @Test func `an answer that does not come in time is a 504, and ends the session`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage, relay: "response-timeout = 1s\n") { asked in
                asked.uri == "/hang" ? .hang : echo(asked)
            }
            expectProblem(try mirror.ask("GET", "/hang"), 504, "http_response_timeout")
            try mirror.relay.expectLine(status: 504, error: "http_response_timeout")
            try mirror.relay.program.expectLog("the end") {
                $0.contains("agent disconnected") && $0.contains("no answer to a request in time")
            }
            _ = try askUntil("the agent is back", .patient) {
                try mirror.ask("GET", "/x")
            } _: {
                $0.text == "GET /x -1"
            }
        }
    }

    @Test func `an answer that breaks the protocol is a 502, and ends the session`() throws {
        try stage { stage in
            let mirror = try OriginalMirror(stage) { asked in
                asked.uri == "/bad" ? .reply(V1Reply(600, body: "")) : echo(asked)
            }
            expectProblem(try mirror.ask("GET", "/bad"), 502, "http_protocol_error")
            let close = try mirror.agent.wait("the close") { $0.closes.first }
            #expect(close == .close(code: 1002, reason: "a status_code outside 100 to 599"))
        }
    }

    @Test func `an agent that comes while the relay drains is let in and told to come back`() throws
    {
        try stage { stage in
            let gate = Gate()
            let mirror = try OriginalMirror(stage) { asked in
                try? gate.wait("the other agent")
                return echo(asked)
            }
            let client = try Connection.to(port: mirror.relay.port)
            try client.write(mirror.text("GET", "/slow"))
            _ = try mirror.agent.wait("the request") { $0.asked.isEmpty ? nil : true }
            mirror.relay.program.send(SIGTERM)
            _ = try askUntil("the relay drains", .patient) {
                try ask(mirror.relay, "/-/ready")
            } _: {
                $0.status == 503
            }
            let second = try OriginalAgent(mirror.relay, key: mirror.agentKey, waits: false, echo)
            let close = try second.wait("the close") { $0.closes.first }
            guard case .close(1013, _) = close else { throw Failure("\(close)") }
            #expect(second.now.exit == nil)
            second.stop()
            try mirror.relay.program.expectLog("the line") {
                $0.contains("STATUS=101") && $0.contains("ERROR=connection_limit_reached")
            }
            gate.open()
            #expect(try client.readResponse().text == "GET /slow -1")
            #expect(try mirror.relay.program.exit() == .code(0))
            mirror.agent.stop()
        }
    }

    @Test func `a slow client keeps nobody from the agent`() throws {
        try stage { stage in
            let body = [UInt8](repeating: 120, count: 6_000_000)
            let mirror = try OriginalMirror(stage) { asked in
                asked.uri == "/large" ? .reply(V1Reply(200, bytes: body)) : echo(asked)
            }
            let slow = try Connection.to(port: mirror.relay.port, receiveBuffer: 4096)
            try slow.write(mirror.text("GET", "/large"))
            let head = try slow.readResponseHead(.long)
            #expect(try mirror.ask("GET", "/small").text == "GET /small -1")
            let rest = try slow.readBody(head.head, .long)
            #expect(rest.isWhole)
            #expect(rest.bytes == body)
        }
    }

    @Test func `beside an agent of version 2 the original one gets no upgrades and no events`()
        throws
    {
        try stage { stage in
            let mirror = try OriginalMirror(stage, echo)
            let origin = stage.keep(try Origin.echoingTarget())
            try stage.agent(mirror.relay, key: mirror.agentKey.secret, local: origin.url)
            let response = try mirror.ask("GET", "/events", ["Accept: text/event-stream"])
            #expect(response.text == "/events")
            #expect(mirror.agent.now.asked.isEmpty)
        }
    }

    @Test func `magicmirrorctl says which protocol an agent speaks`() throws {
        try stage { stage in
            let socket = stage.path("control")
            let mirror = try OriginalMirror(stage, relay: "control-socket = \(socket)\n", echo)
            let shown = try stage.run(Built.control, ["mirrors", "--socket", socket])
            #expect(shown.output.contains(" v1 "))
            let json = try stage.run(Built.control, ["mirrors", "--json", "--socket", socket])
            #expect(json.output.contains("\"protocol\":\"v1\""))
            _ = mirror
        }
    }
}
