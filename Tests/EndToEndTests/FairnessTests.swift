// Who takes what others need: mirrors whose origin never answers, users with many of them, clients
// of one address.

import Foundation
import Testing

/// The mirrors of two users on one relay. Alice's origin answers nothing before `release`; Bob's
/// does at once.
private struct Neighbours {
    let relay: Relay
    let alice: Relay.Key
    let bob: Relay.Key
    /// What has reached Alice's origin.
    let stuck: Origin
    private let gate: Gate

    /// - Parameter names: Alice's mirrors, one origin behind all of them.
    init(_ stage: Stage, names: [String] = ["prom"], _ configuration: String) throws {
        let gate = Gate()
        self.gate = gate
        stuck = stage.keep(try Origin.answering(at: gate))
        alice = try stage.addKey(role: "client", user: "alice")
        bob = try stage.addKey(role: "client", user: "bob")
        let agents = try ["alice", "bob"].map { try stage.addKey(role: "agent", user: $0).secret }
        relay = try stage.relay(configuration)
        for name in names { try stage.agent(relay, key: agents[0], name: name, local: stuck.url) }
        let quick = stage.keep(try Origin.echoingTarget())
        try stage.agent(relay, key: agents[1], name: "quick", local: quick.url)
    }

    func release() { gate.open() }

    /// Asks for one of Alice's mirrors and does not wait for the answer.
    func ask(_ name: String, _ path: String) throws -> Connection {
        let client = try Connection.to(port: relay.port)
        try client.write(
            "GET /m/alice/\(name)\(path) HTTP/1.1\r\nHost: a\r\n\(bearer(alice))\r\n\r\n")
        return client
    }

    func expectBobIsServed() throws {
        #expect(try EndToEndTests.ask(relay, "/m/bob/quick/x", [bearer(bob)]).text == "/x")
        #expect(try EndToEndTests.ask(relay, "/-/healthy").status == 200)
    }
}

struct FairnessTests {
    @Test func `an origin that never answers fills its own line, and never the pool`() throws {
        try stage { stage in
            // Three places, two of them for one mirror, and a line of 16.
            let both = try Neighbours(stage, "workers = 4\nmaximum-exchanges = 8\n")
            let clients = try (0..<200).map { try both.ask("prom", "/\($0)") }
            for refused in try Connection.readable(200 - 2 - 16, of: clients) {
                let response = try refused.readResponse()
                expectProblem(response, 503, "connection_limit_reached")
                #expect(response["Retry-After"] == "1")
            }
            try both.relay.expectLine(status: 503, error: "connection_limit_reached")
            try both.expectBobIsServed()
            #expect(both.stuck.requests.count <= 2)
        }
    }

    @Test func `the mirrors of one user leave places for others, and wait for each other`() throws {
        try stage { stage in
            let names = ["prom", "graf", "home"]
            let both = try Neighbours(stage, names: names, "workers = 4\n")
            // All that Alice may have, in one of her mirrors.
            let first = try (0..<2).map { try both.ask("prom", "/first/\($0)") }
            for number in 0..<2 {
                _ = try both.stuck.waitForRequest { $0.target == "/first/\(number)" }
            }
            let others = try names.map { try both.ask($0, "/\($0)") }
            for _ in 0..<5 { try both.expectBobIsServed() }
            #expect(both.stuck.requests.count == 2)
            // The places that one mirror gives back are the others'.
            both.release()
            for (number, client) in first.enumerated() {
                #expect(try client.readResponse().text == "/first/\(number)")
            }
            for (name, client) in zip(names, others) {
                #expect(try client.readResponse().text == "/\(name)")
            }
        }
    }

    @Test func `slow uploads and readers of one address are its own loss`() throws {
        try stage { stage in
            let size = 64 << 20
            let origin = try Origin { visit in
                while let head = try? visit.readHead(.long) {
                    guard Request(head: head).target == "/large" else {
                        let body = head.length == nil ? Body() : try visit.connection.readBody(head)
                        try visit.connection.write(Answer(200, body: body.text).bytes(to: "POST"))
                        continue
                    }
                    try visit.write("HTTP/1.1 200 OK\r\nContent-Length: \(size)\r\n\r\n")
                    let piece = [UInt8](repeating: 0, count: 64 * 1024)
                    for _ in 0..<(size / piece.count) { try visit.connection.write(piece, .long) }
                }
            }
            let mirror = try stage.mirror(
                origin,
                relay: "workers = 8\nmaximum-exchanges-per-address = 2\n"
                    + Counting.relay.line(stage))
            let upload = try mirror.connect(from: 2)
            try upload.write(mirror.request("POST", "/x", ["Content-Length: 8"], body: "slow"))
            _ = try origin.waitForRequest { $0.target == "/x" }
            let reader = try mirror.connect(from: 2, receiveBuffer: 4096)
            try reader.write(mirror.request("GET", "/large"))
            #expect(try reader.readResponseHead().status == 200)

            // One more than the address may have; another address has its own.
            let third = try mirror.connect(from: 2)
            try third.write(mirror.request("GET", "/third"))
            let refused = try third.readResponse()
            expectProblem(refused, 429, "connection_limit_reached")
            #expect(refused["Retry-After"] == "1")
            try mirror.relay.expectLine(status: 429, error: "connection_limit_reached")
            let other = try mirror.connect(from: 3)
            try other.write(mirror.request("POST", "/y", ["Content-Length: 5"], body: "other"))
            #expect(try other.readResponse().text == "other")
            try stage.expectReached("maximum-exchanges-per-address")

            // What has ended counts no more, however it ended; and a refusal never has.
            try upload.write("done")
            #expect(try upload.readResponse().text == "slowdone")
            try expectRoom(mirror, third)
            reader.abort()
            let again = try mirror.connect(from: 2)
            try again.write(mirror.request("POST", "/z", ["Content-Length: 8"], body: "slow"))
            _ = try origin.waitForRequest { $0.target == "/z" }
            try expectRoom(mirror, third)
        }
    }

    @Test func `an upgraded connection counts for its address as long as it lives`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho(), relay: "maximum-exchanges-per-address = 1\n")
            let client = try mirror.upgraded()
            #expect(try client.echoes("one"))
            expectProblem(try mirror.get("/x"), 429, "connection_limit_reached")
            let other = try mirror.connect(from: 2)
            try other.write(mirror.request("GET", "/y"))
            #expect(try other.readResponse().text == "/y")
            client.close()
            try expectRoom(mirror, try mirror.connect())
        }
    }

    @Test func `a trusted proxy's clients have each their limit, an IPv6 network one`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.waitForEnd(.long)
            }
            let mirror = try stage.mirror(
                origin,
                relay: "trusted-proxies = 127.0.0.1\nmaximum-exchanges-per-address = 1\n")
            let ask = { (host: UInt8, address: String) in
                let client = try mirror.connect(from: host)
                try client.write(
                    mirror.request("GET", "/x", ["X-Forwarded-For: \(address)"]))
                return client
            }
            var waiting: [Connection] = []
            for (host, address) in [
                (UInt8(1), "192.0.2.1"), (1, "192.0.2.2"), (1, "2001:db8:0:1::1"),
                (1, "2001:db8:0:2::1"), (2, "192.0.2.9"),
            ] {
                waiting.append(try ask(host, address))
                let client = host == 1 ? address : "127.0.0.2"
                _ = try origin.waitForRequest {
                    $0.head["X-Forwarded-For"]?.hasPrefix(client) == true
                }
            }
            // 127.0.0.2 is nobody's proxy: what it says does not make it another.
            for (host, address) in [
                (UInt8(1), "192.0.2.1"), (1, "6.6.6.6, 192.0.2.2"), (1, "2001:db8:0:1:2:3:4:5"),
                (2, "192.0.2.10"),
            ] {
                expectProblem(
                    try ask(host, address).readResponse(), 429, "connection_limit_reached")
            }
            #expect(origin.requests.count == waiting.count)
        }
    }

    @Test func `wrong keys of one address are counted, and lock nobody out`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                relay: "maximum-wrong-keys = 4\n" + Counting.relay.line(stage))
            let ask = { (target: String, fields: [String], host: UInt8) in
                let client = try mirror.connect(from: host)
                try client.write(
                    "GET \(target) HTTP/1.1\r\nHost: a\r\n"
                        + fields.map { $0 + "\r\n" }.joined() + "\r\n")
                return try client.readResponse()
            }
            let wrong = "Authorization: Bearer mmc_that_nobody_has_made"
            let upgrade = [
                "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13",
                "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==",
            ]
            // Wherever a key opens something, each in its way; a client's is no agent's.
            let ways: [(String, [String])] = [
                (mirror.path("/x"), [wrong]),
                ("/m/alice/nobody/x", ["X-Magicmirror-Key: mmc_that_nobody_has_made"]),
                ("/api/v1/mirrors", ["Authorization: Basic \(base64("x:mmc_not_a_key_at_all"))"]),
                ("/mirror?name=prom", upgrade + [bearer(mirror.clientKey)]),
            ]
            for (target, fields) in ways {
                expectProblem(try ask(target, fields, 1), 401, "http_request_denied")
            }
            for (target, fields) in ways {
                let refused = try ask(target, fields, 1)
                expectProblem(refused, 429, "connection_limit_reached")
                #expect((1...60).contains(Int(refused["Retry-After"] ?? "") ?? 0))
            }
            try mirror.relay.expectLine(status: 429, error: "connection_limit_reached")
            try stage.expectReached("maximum-wrong-keys", 4)

            // No key is no wrong one; a right one is good, and so is another address.
            expectProblem(try ask(mirror.path("/x"), [], 1), 401, "http_request_denied")
            #expect(try mirror.get("/right").text == "/right")
            expectProblem(try ask(mirror.path("/x"), [wrong], 2), 401, "http_request_denied")
            try stage.agent(mirror.relay, key: mirror.agentKey.secret, local: "127.0.0.1:9")
        }
    }

    private func base64(_ text: String) -> String { Data(text.utf8).base64EncodedString() }

    /// Asks until there is room: an exchange ends a moment after its client has seen the end.
    private func expectRoom(_ mirror: Mirror, _ client: Connection) throws {
        let response = try askUntil("there is room", .patient) {
            try client.write(mirror.request("GET", "/room"))
            return try client.readResponse()
        } _: {
            $0.status != 429
        }
        #expect(response.status == 200)
    }
}
