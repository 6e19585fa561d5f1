// A connection that is reset at any point of a request's way costs that request, and nothing else:
// the next ones are right, and nothing stays behind in either program.

import Foundation
import Testing

struct ResetTests {
    /// An origin that answers by the target; under `/part` it begins an answer, under `/hold` it
    /// does not even that.
    private static func origin() throws -> Origin {
        try Origin { visit in
            while true {
                let head = try visit.readHead(.long)
                let target = Request(head: head).target
                if target.hasPrefix("/hold") { return try visit.waitForEnd(.long) }
                if target.hasPrefix("/part") {
                    try visit.write(
                        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
                    return try visit.waitForEnd(.long)
                }
                try visit.connection.write(Answer(200, body: target).bytes(to: "GET"))
            }
        }
    }

    /// How far a request has come.
    enum Point: CaseIterable, Sendable {
        case insideHead
        case insideBody
        case beforeAnswer
        case insideAnswer
        case afterAnswer

        /// Brings a request on a new connection to this point.
        fileprivate func reach(_ mirror: Mirror, _ origin: Origin, _ name: String) throws
            -> Connection
        {
            let client = try mirror.connect()
            switch self {
            case .insideHead:
                try client.write(String(mirror.request("GET", "/x").dropLast(10)))
            case .insideBody:
                try client.write(
                    mirror.request("POST", "/hold/\(name)", ["Content-Length: 100"], body: "ab"))
                _ = try origin.waitForRequest { $0.target == "/hold/\(name)" }
            case .beforeAnswer:
                try client.write(mirror.request("GET", "/hold/\(name)"))
                _ = try origin.waitForRequest { $0.target == "/hold/\(name)" }
            case .insideAnswer:
                try client.write(mirror.request("GET", "/part/\(name)"))
                _ = try client.readResponseHead()
                #expect(try client.readChunk() == Array("part".utf8))
            case .afterAnswer:
                try client.write(mirror.request("GET", "/\(name)"))
                #expect(try client.readResponse().text == "/\(name)")
            }
            return client
        }

        /// Whether the origin's connection must be closed where its client has gone.
        fileprivate var endsOrigin: Bool { self != .insideHead && self != .afterAnswer }
    }

    @Test(arguments: Point.allCases)
    func `a client's reset costs its own request and leaves nothing behind`(point: Point) throws {
        try stage { stage in
            let origin = stage.keep(try ResetTests.origin())
            let short = try stage.write("agent.conf", "idle-timeout = 1s\n")
            let mirror = try stage.mirror(origin, agent: ["--config", short])
            #expect(try mirror.get("/first").text == "/first")
            let idle = try [mirror.relay.program, mirror.agent].map {
                ($0, try $0.descriptorCount(), try $0.threadCount())
            }
            for number in 1...8 {
                let ended = origin.accepted
                try point.reach(mirror, origin, "\(number)").abort()
                if point.endsOrigin { #expect(origin.waitForEnded(max(ended, number))) }
                #expect(try mirror.get("/next/\(number)").text == "/next/\(number)")
            }
            for (program, descriptors, threads) in idle {
                try program.expectNoMore(descriptors: descriptors, threads: threads)
            }
            #expect(mirror.agent.output.lines.count == 1)
            #expect(!mirror.relay.program.log.lines.contains { $0.contains("disconnected") })
        }
    }

    @Test(arguments: Point.allCases)
    func `a reset of the agent's connection costs what it carried, and the agent is back`(
        point: Point
    ) throws {
        try stage { stage in
            let origin = stage.keep(try ResetTests.origin())
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let passage = try Passage(to: relay.port)
            let file = try stage.write(
                "agent.conf",
                """
                remote = ws://127.0.0.1:\(passage.port)/mirror
                apikey-file = \(try stage.write("agent.key", agentKey.secret))
                name = prom
                local = \(origin.url)
                maximum-reconnect-delay = 500ms

                """)
            let agent = try stage.start(Built.agent, ["--config", file])
            _ = try agent.expectReady("ready mirror=prom ")
            let mirror = Mirror(
                relay: relay, agent: agent, agentKey: agentKey, clientKey: clientKey)

            let client = try point.reach(mirror, origin, "1")
            passage.reset()
            switch point {
            case .insideHead, .afterAnswer: break
            case .insideBody: expectProblem(try client.readResponse(), 502, "connection_terminated")
            case .beforeAnswer:
                // It may be sent again: to the same agent, where that is back at once.
                let answer = try client.readResponseHead()
                #expect([502, 503].contains(answer.status), "\(answer.head.startLine)")
            case .insideAnswer:
                #expect(try client.drain() == 0)
                #expect(client.state == .reset)
            }
            let back = try askUntil("the agent is back", .patient) {
                try mirror.get("/back")
            } _: {
                $0.status == 200
            }
            #expect(back.text == "/back")
            if point == .afterAnswer {
                try client.write(mirror.request("GET", "/again"))
                #expect(try client.readResponse().text == "/again")
            }
            if point.endsOrigin { #expect(origin.waitForEnded(1)) }
        }
    }

    @Test(arguments: [
        ("", 502), ("HTTP/1.1 200 OK\r\nContent-Le", 502),
        ("HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npart", 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n", 200),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n0\r\n", 200),
        ("HTTP/1.1 200 OK\r\n\r\npart", 200),
    ])
    func `an origin's reset inside its answer is never the end of one`(
        said: String, status: Int
    ) throws {
        try stage { stage in
            let heard = Gate()
            let origin = try Origin { visit in
                let head = try visit.readHead()
                if Request(head: head).target == "/good" {
                    try visit.connection.write(
                        Answer(200, body: "good", closes: true).bytes(to: "GET"))
                    return
                }
                try visit.write(said)
                if status == 200 { try heard.wait("the client has the first part") }
                visit.connection.abort()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/x", ["Content-Length: 2"], body: "ab"))
            if status == 502 {
                expectProblem(try client.readResponse(), 502, "connection_terminated")
            } else {
                let head = try client.readResponseHead()
                #expect(head.status == 200)
                while !String(decoding: client.buffer, as: UTF8.self).contains("part") {
                    _ = try client.fill()
                }
                heard.open()
                #expect(try !client.readBody(head.head).isWhole)
                #expect(client.state == .reset)
            }
            #expect(try mirror.get("/good").text == "good")
        }
    }

    @Test func `an origin that resets behind whole answers costs none of them`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                guard let request = try visit.readRequest() else { return }
                try visit.connection.write(Answer(200, body: request.target).bytes(to: "GET"))
                visit.connection.abort()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for number in 1...50 {
                try client.write(mirror.request("GET", "/\(number)"))
                let response = try client.readResponse()
                #expect(response.status == 200 && response.text == "/\(number)")
            }
        }
    }
}
