// Which requests are upgraded, which are not, and how many.

import Foundation
import Testing

struct UpgradeTests {
    @Test func `bytes that come with either head arrive, and then all others`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                let connection = visit.connection
                _ = try visit.readHead()
                try visit.write(
                    "HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\n"
                        + "upgrade: WebSocket\r\nSec-WebSocket-Accept: yes\r\nKeep-Alive: no\r\n"
                        + "\r\norigin first,")
                guard try connection.read(through: "client first,") == "client first," else {
                    throw Failure("other bytes")
                }
                try visit.write("origin second")
                _ = try connection.read(through: "client second")
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request(
                    "GET", "/socket?a=b",
                    [
                        "Connection: keep-alive, Upgrade", "Upgrade: websocket",
                        "Sec-WebSocket-Key: k", "Sec-WebSocket-Version: 13",
                        "Sec-WebSocket-Protocol: chat",
                    ]) + "client first,")
            let answer = try client.readResponseHead()
            #expect(answer.head.startLine == "HTTP/1.1 101 Switching Protocols")
            #expect(answer.head.all("Connection") == ["Upgrade"])
            #expect(answer.head.all("Upgrade") == ["WebSocket"])
            #expect(answer["Sec-WebSocket-Accept"] == "yes")
            #expect(answer["Keep-Alive"] == nil)
            #expect(answer["Transfer-Encoding"] == nil && answer["Content-Length"] == nil)
            #expect(
                try client.read(through: "origin second") == "origin first,origin second")
            try client.write("client second")
            #expect(try client.readToEnd().isEmpty)
            client.close()

            let asked = try origin.waitForRequest()
            #expect(asked.target == "/socket?a=b")
            #expect(asked.head.all("Connection") == ["Upgrade"])
            #expect(asked.head.all("Upgrade") == ["websocket"])
            #expect(asked.head["Sec-WebSocket-Key"] == "k")
            #expect(asked.head["Sec-WebSocket-Version"] == "13")
            #expect(asked.head["Sec-WebSocket-Protocol"] == "chat")
            #expect(origin.problems.isEmpty, "\(origin.problems)")
            let line = try mirror.relay.expectLine(status: 101)
            #expect(line.contains(" BYTES_IN=26 BYTES_OUT=26 "), "\(line)")
            #expect(!line.contains("ERROR"), "\(line)")
            try mirror.agent.expectLog("the end") {
                $0.contains("STATUS=101") && $0.contains(" BYTES_IN=26 BYTES_OUT=26 ")
            }
        }
    }

    @Test func `nothing that follows the head reaches the origin before it has switched`() throws {
        try stage { stage in
            let smuggled = "DELETE /x HTTP/1.1\r\nHost: a\r\n\r\n"
            let mayAnswer = Gate()
            let origin = try Origin { visit in
                let connection = visit.connection
                guard try visit.readHead().startLine.contains("/raw") else {
                    return try connection.write(
                        Answer(200, body: "other", closes: true).bytes(to: "GET"))
                }
                try mayAnswer.wait("the agent has had the bytes for long")
                guard connection.buffer.isEmpty, !connection.isReadable(.after(0)) else {
                    throw Failure("more than the head came")
                }
                try connection.write(Answer(200, body: "no").bytes(to: "GET"))
                try visit.waitForEnd()
                guard connection.buffer.isEmpty else { throw Failure("more came later") }
            }
            let mirror = try stage.mirror(origin, agent: ["--allow", "GET /*"])
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/raw", Mirror.upgrade) + smuggled)
            _ = try origin.waitForRequest()
            // These pass the same session behind whatever the relay has sent.
            for _ in 0..<3 { #expect(try mirror.get("/x").text == "other") }
            mayAnswer.open()
            #expect(try client.readResponse().text == "no")
            // For the relay it is the client's next request, and leads to no mirror.
            #expect(try client.readResponse().status == 404)
            #expect(origin.problems.isEmpty, "\(origin.problems)")
        }
    }

    @Test func `a relay can slip no request past the policy behind one for an upgrade`() throws {
        try stage { stage in
            let hasPassed = Gate()
            let hasLooked = Gate()
            let origin = stage.keep(
                try Origin { visit in
                    let connection = visit.connection
                    if try visit.readHead().startLine.contains("/second") {
                        hasPassed.open()
                    } else {
                        try hasPassed.wait("the agent has had all of it")
                        guard connection.buffer.isEmpty, !connection.isReadable(.after(0.2)) else {
                            throw Failure("more than the head came")
                        }
                        hasLooked.open()
                    }
                    try connection.write(Answer(200, body: "x", closes: true).bytes(to: "GET"))
                    try visit.waitForEnd()
                })
            let asks =
                "GET /raw HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: raw\r\n\r\n"
            let smuggled = "DELETE / HTTP/1.1\r\nHost: a\r\n\r\n"
            let second = "GET /second HTTP/1.1\r\nHost: a\r\n\r\n"
            let relay = try Origin { visit in
                try visit.acceptAgent(
                    stage,
                    [
                        HandMessage.settings, HandMessage.framed(1, asks, exchange: 1),
                        HandMessage.framed(3, smuggled, exchange: 1),
                        HandMessage.framed(1, second, ends: true, exchange: 2),
                    ])
                try visit.waitForEnd()
            }
            _ = try stage.start(
                Built.agent,
                [
                    "--remote", "ws://127.0.0.1:\(stage.keep(relay).port)/mirror",
                    "--apikey-file",
                    stage.write("agent.key", "mma_secret-of-some-length\n"), "--name", "prom",
                    "--local", origin.url, "--allow", "GET /*",
                ])
            do {
                try hasLooked.wait("nothing but the head")
            } catch {
                throw Failure("\(error): \(origin.problems) \(relay.problems)")
            }
        }
    }

    @Test(arguments: [
        (403, [String]()), (200, []), (426, ["Connection: upgrade", "Upgrade: raw"]),
    ])
    func `an origin that does not switch answers as usual`(status: Int, fields: [String]) throws {
        try stage { stage in
            let origin = try Origin.answering { request in
                Answer(request.target == "/raw" ? status : 204, fields, body: "as it is")
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for _ in 0..<3 {
                try client.write(mirror.request("GET", "/raw", Mirror.upgrade))
                let response = try client.readResponse()
                #expect(response.status == status)
                #expect(response.text == "as it is")
                #expect(response["Upgrade"] == (status == 426 ? "raw" : nil))
                #expect(response["Proxy-Status"] == nil)
                try client.write(mirror.request("GET", "/x"))
                #expect(try client.readResponse().status == 204)
            }
            #expect(origin.accepted < 6, "connections to the origin are kept")
        }
    }

    @Test(arguments: [
        ("GET", ["Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: x"], ""),
        ("GET", ["Connection: Upgrade", "Upgrade: H2C"], ""),
        ("GET", ["Connection: Upgrade", "Upgrade: HTTP/2.0"], ""),
        ("GET", ["Connection: Upgrade", "Upgrade: TLS/1.0"], ""),
        ("GET", ["Upgrade: raw"], ""),
        ("GET", ["Connection: upgrade"], ""),
        ("POST", ["Connection: Upgrade", "Upgrade: raw", "Content-Length: 4"], "body"),
    ])
    func `an upgrade that is not passed on is ignored`(
        method: String, fields: [String], body: String
    ) throws {
        try stage { stage in
            let origin = try Origin.answering { Answer(200, body: "ordinary" + $0.body.text) }
            let mirror = try stage.mirror(origin)
            #expect(try mirror.ask(method, "/x", fields, body: body).text == "ordinary" + body)
            let asked = try origin.waitForRequest()
            #expect(asked.head["Upgrade"] == nil)
            #expect(asked.head["Connection"] == nil)
            #expect(asked.head["HTTP2-Settings"] == nil)
        }
    }

    @Test func `a client that speaks HTTP 1.0 is not upgraded`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho())
            let client = try mirror.connect()
            try client.write(
                mirror.request("GET", "/x", Mirror.upgrade, version: "HTTP/1.0"))
            #expect(try client.readResponse().text == "/x")
        }
    }

    @Test func `of several protocols those pass that carry no further requests`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho())
            let client = try mirror.connect()
            try client.write(
                mirror.request("GET", "/x", ["Connection: Upgrade", "Upgrade: h2c, raw,other/1"]))
            #expect(try client.readResponseHead().status == 101)
            #expect(try client.echoes("hello"))
        }
    }

    @Test(arguments: [
        ([String](), "Upgrade: raw\r\n"), (Mirror.upgrade, "Upgrade: other\r\n"),
        (Mirror.upgrade, ""), (["Connection: Upgrade", "Upgrade: h2c, raw"], "Upgrade: h2c\r\n"),
    ])
    func `an origin that switches to what nobody asked for breaks the protocol`(
        asked: [String], answered: String
    ) throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readHead()
                try visit.write(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\(answered)\r\n")
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            expectProblem(try mirror.get("/x", asked), 502, "http_protocol_error")
            #expect(origin.waitForEnded(1))
        }
    }

    @Test func `an upgrade that the agent's policy refuses does not reach the origin`() throws {
        try stage { stage in
            let origin = try Origin.rawEcho()
            let mirror = try stage.mirror(origin, agent: ["--allow", "GET /socket/*"])
            expectProblem(
                try mirror.get("/terminal", Mirror.upgrade), 403, "http_request_denied")
            #expect(origin.accepted == 0)
            #expect(try mirror.upgraded("/socket/1").echoes("hello"))
        }
    }

    // MARK: - How many

    @Test func `the relay upgrades so many connections and no more`() throws {
        try stage { stage in
            let admin = stage.path("admin")
            let mirror = try stage.mirror(
                .rawEcho(), relay: "maximum-upgrades = 2\nadmin-listen = unix:\(admin)\n")
            let first = try mirror.upgraded()
            let second = try mirror.upgraded()
            let refused = try mirror.get("/raw", Mirror.upgrade)
            expectProblem(refused, 503, "connection_limit_reached")
            #expect(refused["Retry-After"] != nil)
            try mirror.relay.expectLine(status: 503, error: "connection_limit_reached")
            #expect(try mirror.get("/ordinary").status == 200)
            #expect(try first.echoes("one") && second.echoes("two"))
            #expect(try stage.metric("upgrades", at: admin) == 2)

            first.close()
            try expectRoom(mirror)
            #expect(try second.echoes("still here"))
        }
    }

    @Test func `the agent upgrades so many connections and no more`() throws {
        try stage { stage in
            let file = try stage.write("agent.conf", "maximum-upgrades = 1\n")
            let mirror = try stage.mirror(.rawEcho(), agent: ["--config", file])
            let first = try mirror.upgraded()
            expectProblem(
                try mirror.get("/raw", Mirror.upgrade), 503, "connection_limit_reached")
            try mirror.agent.expectLog("the refusal") {
                $0.contains("ERROR=connection_limit_reached")
            }
            #expect(try mirror.get("/ordinary").status == 200)
            #expect(try first.echoes("one"))
            first.close()
            try expectRoom(mirror)
        }
    }

    @Test func `a relay that upgrades none refuses all and serves the rest`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho(), relay: "maximum-upgrades = 0\n")
            expectProblem(
                try mirror.get("/raw", Mirror.upgrade), 503, "connection_limit_reached")
            #expect(try mirror.get("/ordinary").status == 200)
        }
    }

    @Test func `64 upgraded connections at once take no worker and nobody's place`() throws {
        try stage { stage in
            let file = try stage.write("agent.conf", "workers = 2\n")
            let mirror = try stage.mirror(
                .rawEcho(), relay: "workers = 4\nmaximum-exchanges = 2\n",
                agent: ["--config", file])
            // One after the other, for they wait for each other's places until the 101.
            nonisolated(unsafe) let clients = try (0..<64).map { _ in try mirror.upgraded() }
            let results = try onThreads(64) { number in
                for round in 1...20 {
                    let size = (number * 7_919 + round * 104_729) % 50_000 + 1
                    let bytes = [UInt8](
                        (0..<size).map { UInt8(truncatingIfNeeded: $0 * (number + 3) + round) })
                    try clients[number].write(bytes)
                    guard try clients[number].read(exactly: size) == bytes else {
                        throw Failure("other bytes on connection \(number)")
                    }
                }
            }
            for result in results { try result.get() }
            #expect(try mirror.get("/ordinary").text == "/ordinary")
            for client in clients { #expect(try client.echoes("still here")) }
        }
    }

    private func expectRoom(_ mirror: Mirror) throws {
        let again = try mirror.connect()
        _ = try askUntil("there is room again", .patient) {
            try again.write(mirror.request("GET", "/raw", Mirror.upgrade))
            let head = try again.readResponseHead()
            return head.status == 101
                ? head : Response(head: head.head, body: try again.readBody(head.head))
        } _: {
            $0.status == 101
        }
        #expect(try again.echoes("there is room"))
    }
}
