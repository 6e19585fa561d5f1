// The other leg: heads that a hostile agent sends its relay, and a hostile relay its agent.
//
// One strict parser reads all heads. Here it is tried from both ends of a session, with the built
// programs at the other.

import Foundation
import Testing

struct HostilePeerTests {
    /// An answer of an agent that must not become an answer for the client.
    static let brokenHeads = [
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\n",
        "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\nSet-Cookie: forged=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: forged=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n", "HTTP/1.1 200 OK\r\nX: a\r\n b\r\n\r\n",
        "HTTP/1.1 200 OK\nSet-Cookie: forged=1\r\n\r\n",
        "HTTP/1.1 200 O\rK\r\n\r\n", "HTTP/1.1 600 Odd\r\n\r\n", "HTTP/1.1 99 Odd\r\n\r\n",
        "HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 200 OK\r\nSet-Cookie: forged=1\r\n\r\n",
        "HTTP/1.1 200 OK\r\nSet-Cookie: forged=1\r\n", "HTTP/1.1 200 OK", "", "\r\n\r\n",
        "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ]

    @Test(arguments: brokenHeads)
    func `a head of a hostile agent that is none is a 502, and forges nothing`(
        head: String
    ) throws {
        try stage { stage in
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let agent = try RawSession(agentOf: relay, key: agentKey)
            let client = try Connection.to(port: relay.port)
            try client.write(
                "GET /m/alice/prom/x HTTP/1.1\r\nHost: a\r\n\(bearer(clientKey))\r\n\r\n")
            let request = try agent.next(RawSession.request)
            try agent.send(
                RawSession.response, exchange: request.exchange, Array(head.utf8))
            let response = try client.readResponse()
            expectProblem(response, 502, "http_protocol_error")
            #expect(response["Set-Cookie"] == nil)
            try relay.expectLine(status: 502, error: "http_protocol_error")
        }
    }

    @Test func `a hostile agent cannot say more than one answer`() throws {
        try stage { stage in
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let agent = try RawSession(agentOf: relay, key: agentKey)
            let head = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n"
            let second = "HTTP/1.1 200 OK\r\nSet-Cookie: forged=1\r\n\r\n"
            let cases: [[(UInt8, UInt8, String)]] = [
                // More than announced, less than announced, a second head, forged trailers.
                [(RawSession.response, 0, head), (RawSession.data, 1, "one" + second)],
                [(RawSession.response, 0, head), (RawSession.data, 1, "on")],
                [
                    (RawSession.response, 0, head), (RawSession.data, 0, "on"),
                    (RawSession.response, 0, second),
                ],
                [
                    (RawSession.response, 0, "HTTP/1.1 200 OK\r\n\r\n"),
                    (RawSession.data, 0, "one"),
                    (RawSession.trailers, 0, "X: a\r\n\r\n" + second),
                ],
                [
                    (RawSession.response, 0, "HTTP/1.1 200 OK\r\n\r\n"),
                    (RawSession.data, 0, "one"), (RawSession.trailers, 0, "X: a\nY: b\r\n"),
                ],
            ]
            for messages in cases {
                let client = try Connection.to(port: relay.port)
                try client.write(
                    "GET /m/alice/prom/x HTTP/1.1\r\nHost: a\r\n\(bearer(clientKey))\r\n\r\n")
                let request = try agent.next(RawSession.request)
                var response: Response?
                for (index, (type, flags, payload)) in messages.enumerated() {
                    try agent.send(
                        type, flags: flags, exchange: request.exchange, Array(payload.utf8))
                    if index == 0 { response = try client.readResponseHead() }
                }
                let head = try #require(response?.head)
                let body = try client.readBody(head)
                #expect(!body.isWhole, "\(messages)")
                #expect(!body.text.contains("forged"))
                let rest = String(decoding: try client.readToEnd(), as: UTF8.self)
                #expect(!rest.contains("forged"))
            }
        }
    }

    @Test func `interim heads of a hostile agent come to an end`() throws {
        try stage { stage in
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let agent = try RawSession(agentOf: relay, key: agentKey)
            let client = try Connection.to(port: relay.port)
            try client.write(
                "GET /m/alice/prom/x HTTP/1.1\r\nHost: a\r\n\(bearer(clientKey))\r\n\r\n")
            let request = try agent.next(RawSession.request)
            for _ in 0..<16 {
                try agent.send(
                    RawSession.response, exchange: request.exchange,
                    Array("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n".utf8))
                // One at a time: so none waits, and only their number can matter.
                if try client.readHead()?.startLine.hasPrefix("HTTP/1.1 502 ") == true { return }
            }
            Issue.record("16 interim heads came through")
        }
    }

    /// A head of a relay that must not become a request to the origin.
    static let brokenRequests = [
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nContent-Length: 5,5\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\nContent-Length: 9\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\r\n b\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX : a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nX: a\0\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "GET /x HTTP/1.1\r\n\r\n",
        "GET /x#y HTTP/1.1\r\nHost: a\r\n\r\n", "GET /x y HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n",
        "GET /x HTTP/1.1\r\nHost: a\r\n", "GET /x\r\n\r\n", "\r\n\r\n", "",
        "GET http://a/x HTTP/1.1\r\nHost: b\r\n\r\n",
    ]

    @Test func `a head of a hostile relay that is no request does not reach the origin`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let relay = try stage.relayByHand(origin)
            for (index, head) in HostilePeerTests.brokenRequests.enumerated() {
                try relay.send(
                    RawSession.request, flags: RawSession.end, exchange: UInt32(index + 1),
                    Array(head.utf8))
                let reset = try relay.next(RawSession.reset)
                #expect(reset.exchange == UInt32(index + 1), "\(head)")
            }
            #expect(origin.accepted == 0)
            // The session stands: a good request is answered.
            let last = UInt32(HostilePeerTests.brokenRequests.count + 1)
            try relay.send(
                RawSession.request, flags: RawSession.end, exchange: last,
                Array("GET /good HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            #expect(try relay.next(RawSession.response).text.hasPrefix("HTTP/1.1 200 "))
            #expect(origin.requests.map(\.target) == ["/good"])
        }
    }

    @Test func `trailers of a hostile relay are no way to a second request`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let relay = try stage.relayByHand(origin)
            let smuggled = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            for (index, trailers) in [
                "X: y\r\n\r\n" + smuggled, "\r\n" + smuggled, "X: y\nZ: z\r\n", "X : y\r\n",
            ].enumerated() {
                let exchange = UInt32(index + 1)
                try relay.send(
                    RawSession.request, exchange: exchange,
                    Array("POST /x HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
                try relay.send(RawSession.data, exchange: exchange, Array("body".utf8))
                try relay.send(RawSession.trailers, exchange: exchange, Array(trailers.utf8))
                #expect(try relay.next(RawSession.reset).exchange == exchange)
            }
            #expect(origin.waitForEnded(origin.accepted))
            #expect(origin.requests.allSatisfy { $0.target == "/x" && !$0.body.isWhole })
            // Fields that route or frame are taken out here too.
            try relay.send(
                RawSession.request, exchange: 9,
                Array("POST /good HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
            try relay.send(
                RawSession.trailers, exchange: 9, Array("X: y\r\nContent-Length: 5\r\n".utf8))
            #expect(try relay.next(RawSession.response).text.hasPrefix("HTTP/1.1 200 "))
            #expect(
                try origin.waitForRequest { $0.target == "/good" }.body.trailers.map(\.name)
                    == ["X"])
        }
    }
}
