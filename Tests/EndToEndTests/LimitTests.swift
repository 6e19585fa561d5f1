// Each limit of the relay: what reaches it passes, one more is refused, and counted by its key.
//
// Times are short here, and their outcome is the promise, not their length.

import Foundation
import Testing

/// A limit of request heads, and the request that has `excess` more than it allows.
struct HeadLimit: Sendable, CustomTestStringConvertible {
    let key: String
    let value: Int
    let status: Int
    let text: @Sendable (_ mirror: Mirror, _ excess: Int) -> String

    var testDescription: String { key }
}

private let headLimits: [HeadLimit] = [
    HeadLimit(key: "maximum-head-bytes", value: 2048, status: 431) { mirror, excess in
        let missing = 2048 + excess - mirror.request("GET", "/x", ["X: "]).utf8.count
        return mirror.request("GET", "/x", ["X: " + String(repeating: "x", count: missing)])
    },
    // Host and Authorization are fields too.
    HeadLimit(key: "maximum-fields", value: 16, status: 431) { mirror, excess in
        mirror.request("GET", "/x", (0..<14 + excess).map { "X-\($0): y" })
    },
    HeadLimit(key: "maximum-target-bytes", value: 256, status: 414) { mirror, excess in
        let missing = 256 + excess - mirror.path("/").utf8.count
        return mirror.request("GET", "/" + String(repeating: "x", count: missing))
    },
]

struct LimitTests {
    @Test(arguments: headLimits)
    func `a head at the limit passes, and one past it is refused and counted`(
        limit: HeadLimit
    ) throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                relay: "\(limit.key) = \(limit.value)\n" + Counting.relay.line(stage))
            func ask(_ excess: Int) throws -> Response {
                let client = try mirror.connect()
                try client.write(limit.text(mirror, excess))
                return try client.readResponse()
            }
            #expect(try ask(0).status == 200)
            #expect(try stage.reached(.relay).values.allSatisfy { $0 == 0 })
            expectProblem(try ask(1), limit.status, "http_request_error")
            try stage.expectReached(limit.key)
        }
    }

    @Test func `heads and silence have their time, and each that is over is counted`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                relay: "head-timeout = 1s\nidle-timeout = 1s\n" + Counting.relay.line(stage))
            let slow = try mirror.connect()
            try slow.write("GET /m/alice/prom/x HTTP/1.1\r\nHost:")
            expectProblem(try slow.readResponse(), 408, "http_request_error")
            try stage.expectReached("head-timeout")
            let mute = try mirror.connect()
            #expect(try mute.readToEnd().isEmpty)
            try stage.expectReached("head-timeout", 2)
            let idle = try mirror.connect()
            try idle.write(mirror.request("GET", "/x"))
            #expect(try idle.readResponse().status == 200)
            #expect(try idle.readToEnd().isEmpty)
            try stage.expectReached("idle-timeout")
        }
    }

    @Test func `a handshake that takes too long is counted`() throws {
        try stage { stage in
            let relay = try stage.relay(
                plaintext: false, "handshake-timeout = 1s\n" + Counting.relay.line(stage))
            #expect(try stage.curl(relay, "/-/healthy").status == 200)
            for greeting in ["", "\u{16}\u{3}\u{1}"] {
                let client = try Connection.to(port: relay.port)
                try client.write(greeting)
                #expect(try client.readToEnd().isEmpty)
            }
            try stage.expectReached("handshake-timeout", 2)
        }
    }

    @Test func `a body that is too slow is counted, whichever way it goes`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                let head = try visit.readHead()
                if head.startLine.hasPrefix("POST") { return try visit.waitForEnd() }
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 100000000\r\n\r\n")
                _ = try visit.connection.writeSome(
                    [UInt8](repeating: 120, count: 100_000_000), .long)
            }
            let mirror = try stage.mirror(
                origin,
                relay: "minimum-rate = 500\nminimum-rate-after = 1s\n"
                    + Counting.relay.line(stage))
            let upload = try mirror.connect()
            try upload.write(mirror.request("POST", "/x", ["Content-Length: 1000"], body: "slow"))
            expectProblem(try upload.readResponse(), 408, "http_request_error")
            try stage.expectReached("minimum-rate")
            let download = try mirror.connect(receiveBuffer: 4096)
            try download.write(mirror.request("GET", "/x"))
            try stage.expectReached("minimum-rate", 2)
            try mirror.relay.program.expectLog("the end of the download") {
                $0.contains("the client takes the answer too slowly")
            }
        }
    }

    @Test func `an origin that takes too long is counted`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                if try visit.readHead().startLine.hasPrefix("GET /late") {
                    return try visit.waitForEnd()
                }
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            let mirror = try stage.mirror(
                origin, relay: "response-timeout = 1s\n" + Counting.relay.line(stage))
            #expect(try mirror.get("/soon").status == 200)
            expectProblem(try mirror.get("/late"), 504, "http_response_timeout")
            try stage.expectReached("response-timeout")
        }
    }

    @Test func `so many exchanges run at once, and the next waits and is counted`() throws {
        try stage { stage in
            try stage.expectTwoAtOnce { origin in
                try stage.mirror(
                    origin, relay: "maximum-exchanges = 2\n" + Counting.relay.line(stage))
            }
        }
    }

    @Test func `so many connections are served, and the next is dropped and counted`() throws {
        try stage { stage in
            // One is the agent's.
            let mirror = try stage.mirror(
                .echoingTarget(), relay: "maximum-connections = 3\n" + Counting.relay.line(stage))
            let clients = try (1...2).map { _ in
                let client = try mirror.connect()
                try client.write(mirror.request("GET", "/x"))
                #expect(try client.readResponse().status == 200)
                return client
            }
            let surplus = try mirror.connect()
            #expect(try surplus.readToEnd().isEmpty)
            // Operators have places of their own.
            try stage.expectReached("maximum-connections")
            clients[0].close()
            let deadline = Deadline.patient
            var response: Response?
            while response == nil, !deadline.hasPassed { response = try? mirror.get("/y") }
            #expect(response?.text == "/y")
            try clients[1].write(mirror.request("GET", "/z"))
            #expect(try clients[1].readResponse().text == "/z")
        }
    }

    @Test func `agents bring so many mirrors of one user, and the next is refused and counted`()
        throws
    {
        try stage { stage in
            let (alice, bob) = (
                try stage.addKey(role: "agent"), try stage.addKey(role: "agent", user: "bob")
            )
            let relay = try stage.relay(
                "maximum-mirrors = 2\n" + Counting.relay.line(stage)
                    + "[mirror alice/configured]\naccess = key\n")
            for name in ["one", "two", "configured", "one"] {
                #expect(try register(relay, alice, name).status == 101)
            }
            let refused = try register(relay, alice, "three")
            expectProblem(refused, 429, "connection_limit_reached")
            #expect(refused["Retry-After"] != nil)
            try stage.expectReached("maximum-mirrors")
            #expect(try register(relay, bob, "one").status == 101)
        }
    }

    @Test func `so many agents of one user are connected, and the next is refused and counted`()
        throws
    {
        try stage { stage in
            let (alice, bob) = (
                try stage.addKey(role: "agent"), try stage.addKey(role: "agent", user: "bob")
            )
            let relay = try stage.relay("maximum-sessions = 2\n" + Counting.relay.line(stage))
            var sessions = try ["one", "two"].map {
                try RawSession(agentOf: relay, key: alice, name: $0)
            }
            let refused = try register(relay, alice, "one")
            expectProblem(refused, 429, "connection_limit_reached")
            #expect(refused["Retry-After"] != nil)
            try stage.expectReached("maximum-sessions")
            #expect(try register(relay, bob, "one").status == 101)
            sessions.removeLast()
            _ = try askUntil("there is room again", .patient) {
                try register(relay, alice, "three")
            } _: {
                $0.status == 101
            }
        }
    }

    @Test func `so many connections are upgraded, and the next is refused and counted`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .rawEcho(), relay: "maximum-upgrades = 1\n" + Counting.relay.line(stage))
            let first = try mirror.upgraded()
            expectProblem(
                try mirror.get("/raw", Mirror.upgrade), 503, "connection_limit_reached")
            try stage.expectReached("maximum-upgrades")
            #expect(try first.echoes("one"))
        }
    }

    @Test func `an agent that answers no ping is given up and counted`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                relay: "heartbeat-interval = 1s\nheartbeat-timeout = 1s\n"
                    + Counting.relay.line(stage))
            mirror.agent.send(SIGSTOP)
            try stage.expectReached("heartbeat-timeout")
            mirror.agent.send(SIGCONT)
        }
    }

    @Test func `a mirror leaves workers for others, and what finds none is counted`() throws {
        try stage { stage in
            let gate = Gate()
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try gate.wait("the other mirror was asked")
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            }
            let other = try stage.addKey(role: "agent", name: "other")
            // Of two workers one is for exchanges.
            let mirror = try stage.mirror(
                origin, relay: "workers = 2\n" + Counting.relay.line(stage))
            try stage.agent(mirror.relay, key: other.secret, name: "other", local: origin.url)
            let first = try mirror.connect()
            try first.write(mirror.request("GET", "/x"))
            _ = try origin.waitForRequest()
            let second = try mirror.connect()
            try second.write(
                "GET /m/alice/other/x HTTP/1.1\r\nHost: relay.test\r\n"
                    + "\(bearer(mirror.clientKey))\r\n\r\n")
            try stage.expectReached("workers")
            gate.open()
            #expect(try first.readResponse().status == 200)
            #expect(try second.readResponse().status == 200)
        }
    }

    @Test func `the relay's own answers have their hour`() throws {
        try stage { stage in
            let relay = try stage.relay(Counting.relay.line(stage))
            for target in ["/-/healthy", "/nothing", "/m/alice/prom/x", "/mirror"] {
                #expect(try ask(relay, target)["Date"]?.hasSuffix(" GMT") == true)
            }
            let status = try stage.curl(
                "http://a/status", ["--unix-socket", stage.path("relay.metrics")])
            #expect(status["Date"]?.hasSuffix(" GMT") == true)
        }
    }
}

extension Stage {
    /// Expects that of three requests two are with the origin at once, and that the relay keeps the
    /// third until there is room, and counts it.
    ///
    /// - Parameter mirror: has room for two, and a relay that counts.
    /// - Returns: the origin.
    @discardableResult
    func expectTwoAtOnce(_ mirror: (Origin) throws -> Mirror) throws -> Origin {
        let gate = Gate()
        let origin = try Origin.answering(at: gate)
        let mirror = try mirror(origin)
        let clients = try (1...3).map { number in
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/\(number)"))
            // The first two are with the origin before the third comes.
            if number < 3 { _ = try origin.waitForRequest { $0.target == "/\(number)" } }
            return client
        }
        try expectReached("maximum-exchanges")
        #expect(origin.requests.map(\.target).sorted() == ["/1", "/2"])
        gate.open()
        for (number, client) in clients.enumerated() {
            #expect(try client.readResponse().text == "/\(number + 1)")
        }
        return origin
    }
}

/// Asks to be let in as an agent, and goes as soon as it was answered.
func register(_ relay: Relay, _ key: Relay.Key, _ name: String) throws -> Response {
    let connection = try Connection.to(port: relay.port)
    try connection.write(
        "GET /mirror?name=\(name) HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
            + "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
            + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
            + "Sec-WebSocket-Protocol: magicmirror.v2\r\n\(bearer(key))\r\n\r\n")
    var response = try connection.readResponseHead()
    if response.status != 101 { response.body = try connection.readBody(response.head) }
    return response
}
