// The agent's v1 session against a relay spoken by hand.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

extension Arrived {
    fileprivate var text: String { head.bytes[head.payload].text }

    /// Answers 200 with `text` as its body.
    fileprivate func answer(_ text: String) {
        exchange.send(
            head: Piece([UInt8]("HTTP/1.1 200 OK\r\n\r\n")), ends: text.isEmpty, as: .response)
        if !text.isEmpty {
            _ = exchange.takeCredit(upTo: text.utf8.count)
            #expect(exchange.send(body: Piece([UInt8](text)), ends: true, until: soon))
        }
        exchange.finish()
    }
}

@Suite struct LockstepAgentTests {
    private func reply(_ status: Int, _ body: String) -> String {
        #"{"body":"\#(Cryptography.base64([UInt8](body)).text)","headers":{},"status_code":\#(status)}"#
    }

    @Test(arguments: Transport.allCases)
    func `each request becomes an exchange, and its answer one message`(
        transport: Transport
    ) throws {
        let scene = try V1Confronted(.agent, transport: transport)
        for number in 1...3 {
            try scene.peer.send(
                json: #"{"method":"GET","uri":"/\#(number)?a","headers":{"A":["b"],"Host":["x"]}}"#)
            let request = try #require(scene.side.request())
            #expect(
                request.text == "GET /\(number)?a HTTP/1.1\r\nHost: origin.test\r\nA: b\r\n\r\n")
            #expect(request.ends)
            #expect(request.exchange.id == UInt32(number))
            request.answer(number == 2 ? "" : "answer \(number)")
            #expect(scene.peer.nextJSON() == reply(200, number == 2 ? "" : "answer \(number)"))
        }
        #expect(scene.side.isOver(3))
        scene.side.handle()?.drain()
        #expect(scene.side.end() == .drained)
        #expect(scene.peer.close() == .close(code: 1000, reason: "drained"))
    }

    @Test func `a body of a request comes within the credit of its taker`() throws {
        let scene = try V1Confronted(.agent)
        let body = Body(seed: 4, count: 700_001)
        let text = Cryptography.base64(body.bytes(from: 0, count: body.count)).text
        try scene.peer.send(json: #"{"method":"POST","uri":"/","body":"\#(text)"}"#)
        let request = try #require(scene.side.request())
        #expect(
            request.text == "POST / HTTP/1.1\r\nHost: origin.test\r\nContent-Length: 700001\r\n\r\n"
        )
        #expect(!request.ends)
        #expect(Talk.take(body, from: request.exchange) == .complete)
        request.answer("thanks")
        #expect(scene.peer.nextJSON() == reply(200, "thanks"))
    }

    @Test func `an answer before the body was taken ends the exchange`() throws {
        let scene = try V1Confronted(.agent)
        let text = Cryptography.base64([UInt8](repeating: 1, count: 500_000)).text
        for number in 0..<3 {
            try scene.peer.send(json: #"{"method":"POST","uri":"/","body":"\#(text)"}"#)
            let request = try #require(scene.side.request())
            request.answer("early \(number)")
            #expect(scene.peer.nextJSON() == reply(200, "early \(number)"))
        }
        #expect(scene.side.isOver(3))
    }

    @Test(arguments: [
        (ResetCode.connectionRefused, 502, "connection_refused"),
        (.httpResponseTimeout, 504, "http_response_timeout"),
        (.httpRequestDenied, 403, "http_request_denied"),
        (.connectionLimitReached, 503, "connection_limit_reached"),
        (.cancelled, 502, "connection_terminated"),
    ])
    func `a failure is an answer, before or after the head`(
        code: ResetCode, status: Int, error: String
    ) throws {
        let scene = try V1Confronted(.agent)
        for isAfterHead in [false, true] {
            try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
            let request = try #require(scene.side.request())
            if isAfterHead {
                request.exchange.send(
                    head: Piece([UInt8]("HTTP/1.1 200 OK\r\n\r\n")), ends: false, as: .response)
            }
            request.exchange.reset(code, "for the log")
            request.exchange.finish()
            let response = try V1Response.parse([UInt8](try #require(scene.peer.nextJSON())))
            #expect(response.status == status)
            let problem = try #require(Cryptography.decodeBase64(response.body ?? [])).text
            #expect(problem.contains("\"error\":\"\(error)\""))
            #expect(!problem.contains("for the log"))
        }
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        scene.side.request()?.answer("good")
        #expect(scene.peer.nextJSON() == reply(200, "good"))
    }

    @Test(arguments: [
        "", "!", "e30", "W10=", "e30=", "eyJtZXRob2QiOiJHRVQiLCJ1cmkiOiIvIn0",
        RawPeer.text(#"{"method":"G T","uri":"/"}"#).text,
        RawPeer.text(#"{"method":"GET","uri":"/ HTTP/1.1\r\nA: b"}"#).text,
        RawPeer.text(#"{"method":"GET","uri":"/","headers":{"A":["b\r\nC: d"]}}"#).text,
        RawPeer.text(#"{"method":"GET","uri":"/","headers":{"A: b\r\nC":["d"]}}"#).text,
        RawPeer.text(#"{"method":"GET","uri":"/","body":"x"}"#).text,
        RawPeer.text(#"{"method":"GET","uri":1}"#).text,
        RawPeer.text(#"{"method":"CONNECT","uri":"h:1"}"#).text,
    ])
    func `what is no request is answered, and never asked`(payload: String) throws {
        let scene = try V1Confronted(.agent)
        try scene.peer.send(bytes: scene.peer.frame(1, [UInt8](payload)))
        let response = try V1Response.parse([UInt8](try #require(scene.peer.nextJSON())))
        #expect(response.status == 400)
        try scene.peer.send(json: #"{"method":"GET","uri":"/good"}"#)
        let request = try #require(scene.side.request())
        #expect(request.text.hasPrefix("GET /good "))
        request.answer("good")
        #expect(scene.peer.nextJSON() == reply(200, "good"))
    }

    @Test func `pings are answered at once, and those that ask for answers in their turn`() throws {
        let scene = try V1Confronted(.agent)
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        let request = try #require(scene.side.request())
        let barrier = [UInt8]("answered? 1")
        try scene.peer.send(bytes: scene.peer.frame(9, barrier))
        try scene.peer.send(bytes: scene.peer.frame(9, [UInt8]("alive?")))
        #expect(scene.peer.next() == .pong([UInt8]("alive?")))
        request.answer("x")
        #expect(scene.peer.next() == .text(RawPeer.text(reply(200, "x"))))
        #expect(scene.peer.next() == .pong(barrier))
        try scene.peer.send(bytes: scene.peer.frame(9, barrier))
        #expect(scene.peer.next() == .pong(barrier))
    }

    @Test func `requests that come too early wait for their turn`() throws {
        let scene = try V1Confronted(.agent, transport: .tcp)
        let count = 400
        let crew = Crew()
        try crew.start { [side = scene.side] _ in
            for _ in 0..<count {
                guard let request = side.request() else { return }
                request.answer(String(request.text.split(separator: " ")[1]))
            }
        }
        let frames = (0..<count).map { number in
            scene.peer.frame(
                number % 2 == 0 ? 1 : 2,
                RawPeer.text(
                    #"{"method":"GET","uri":"/\#(number)","body":"\#(String(repeating: "YWJj", count: 200))"}"#
                ))
        }
        try scene.peer.send(bytes: Array(frames.joined()))
        for number in 0..<count { #expect(scene.peer.nextJSON() == reply(200, "/\(number)")) }
        #expect(crew.hasEnded())
        #expect(scene.side.isOver(count))
    }

    @Test func `an answer larger than may be is a failure`() throws {
        let scene = try V1Confronted(.agent, maximumBodyBytes: 1000)
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        let request = try #require(scene.side.request())
        request.exchange.send(
            head: Piece([UInt8]("HTTP/1.1 200 OK\r\n\r\n")), ends: false, as: .response)
        #expect(request.exchange.takeCredit(upTo: 5000) == 1001)
        let large = Piece([UInt8](repeating: 0, count: 1001))
        #expect(request.exchange.send(body: large, ends: false, until: soon))
        let response = try V1Response.parse([UInt8](try #require(scene.peer.nextJSON())))
        #expect(response.status == 502)
        // The worker learns of it.
        #expect(try V1Outcome(of: request.exchange).reset == .httpProtocolError)
        request.exchange.finish()
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        scene.side.request()?.answer("good")
        #expect(scene.peer.nextJSON() == reply(200, "good"))
    }

    @Test func `a body at the limit passes, and one past it is answered and never asked`() throws {
        let scene = try V1Confronted(.agent, maximumBodyBytes: 1000)
        for (count, status) in [(1000, 200), (1001, 400), (1000, 200)] {
            let body = Cryptography.base64([UInt8](repeating: 65, count: count)).text
            try scene.peer.send(json: #"{"method":"POST","uri":"/","body":"\#(body)"}"#)
            if count <= 1000 { scene.side.request()?.answer("taken") }
            let response = try V1Response.parse([UInt8](try #require(scene.peer.nextJSON())))
            #expect(response.status == status)
        }
        #expect(scene.side.isOver(2))
    }

    @Test func `a request larger than may be ends the session`() throws {
        let scene = try V1Confronted(.agent, maximumBodyBytes: 1000)
        try scene.peer.send(bytes: scene.peer.frame(1, [UInt8](repeating: 65, count: 800_000)))
        #expect(scene.side.end() == .protocolError("frame too large"))
        let parts = try V1Confronted(.agent, maximumBodyBytes: 1000)
        try parts.peer.send(
            bytes: parts.peer.frame(1, [UInt8](repeating: 65, count: 400_000), isFinal: false)
                + parts.peer.frame(0, [UInt8](repeating: 65, count: 400_000)))
        #expect(parts.side.end() == .protocolError("message too large"))
    }

    @Test func `interim answers and trailers are left out`() throws {
        let scene = try V1Confronted(.agent)
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        let exchange = try #require(scene.side.request()).exchange
        for head in ["HTTP/1.1 103 Early\r\nLink: x\r\n\r\n", "HTTP/1.1 201 Made\r\nA: b\r\n\r\n"] {
            exchange.send(head: Piece([UInt8](head)), ends: false, as: .response)
        }
        _ = exchange.takeCredit(upTo: 1)
        #expect(exchange.send(body: Piece([UInt8]("x")), ends: false, until: soon))
        exchange.send(trailers: Piece([UInt8]("T: u\r\n\r\n")))
        #expect(
            scene.peer.nextJSON() == #"{"body":"eA==","headers":{"A":["b"]},"status_code":201}"#)
    }

    @Test func `the end of the relay cuts what runs`() throws {
        let scene = try V1Confronted(.agent)
        try scene.peer.send(json: #"{"method":"GET","uri":"/"}"#)
        let request = try #require(scene.side.request())
        try scene.peer.sendClose(code: 1001, "bye")
        #expect(try V1Outcome(of: request.exchange).reset == .connectionTerminated)
        #expect(scene.side.end() == .closedByPeer(code: 1001, reason: "bye"))
        #expect(scene.side.isOver(1))
    }

    @Test func `a relay that answers no pings is kept, and pinged`() throws {
        let scene = try V1Confronted(
            .agent,
            heartbeats: SessionLimits(
                heartbeatInterval: .milliseconds(10), heartbeatTimeout: .milliseconds(10)))
        for _ in 0..<10 { #expect(scene.peer.next() == .ping([])) }
        #expect(!scene.side.hasEnded)
    }
}
