// The relay's v1 session against an agent spoken by hand.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

@Suite struct LockstepRelayTests {
    @Test(arguments: Transport.allCases)
    func `each request is one message and a ping, each answer its own`(
        transport: Transport
    ) throws {
        let scene = try V1Confronted(.relay, transport: transport)
        for number in 1...3 {
            let exchange = try scene.get("/\(number)")
            let (json, barrier) = try scene.peer.nextAsked()
            #expect(
                json == #"{"method":"GET","uri":"/\#(number)","body":null,"#
                    + #""headers":{"Accept-Encoding":["identity"]}}"#)
            try scene.peer.answer("answer \(number)")
            #expect(try V1Outcome(of: exchange) == .ok("answer \(number)"))
            #expect(exchange.id == UInt32(number))
            // That of an agent that takes frames in their order.
            try scene.peer.pong(barrier)
        }
        #expect(scene.side.isOver(3))
        scene.side.handle()?.close(.stopped)
        #expect(scene.side.end() == .stopped)
    }

    @Test func `a pong without an answer is a failed request, and shifts nothing`() throws {
        let scene = try V1Confronted(.relay)
        var last: [UInt8] = []
        for number in 0..<8 {
            let exchange = try scene.get("/\(number)")
            let (_, barrier) = try scene.peer.nextAsked()
            #expect(barrier != last)
            // The one before, again, says nothing about this request.
            if !last.isEmpty { try scene.peer.pong(last) }
            last = barrier
            if number % 2 == 0 {
                try scene.peer.pong(barrier)
                #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .connectionTerminated))
                // It ran, and must not run again on another session.
                #expect(!exchange.isLost)
            } else {
                try scene.peer.answer("\(number)")
                #expect(try V1Outcome(of: exchange) == .ok("\(number)"))
                try scene.peer.pong(barrier)
            }
        }
        #expect(scene.side.isOver(8))
        #expect(!scene.side.hasEnded)
    }

    @Test func `the ninth failure ends the session`() throws {
        let scene = try V1Confronted(.relay)
        for _ in 0..<9 {
            let exchange = try scene.get("/")
            try scene.peer.pong(try scene.peer.nextAsked().barrier)
            #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .connectionTerminated))
        }
        guard case .close(1012, _) = scene.peer.close() else {
            Issue.record("not closed")
            return
        }
        #expect(scene.side.end() == .recycled)
        #expect(scene.side.isOver(9))
        #expect(
            scene.side.handle()?.open(request: Piece([UInt8]("GET / HTTP/1.1")), ends: true) == nil)
    }

    @Test(arguments: [
        ("", ""), ("!", ""), ("e30", ""),
        (#"["#, "an answer that is not the JSON of a response"),
        (#"[]"#, "an answer that is not the JSON of a response"),
        (#"{"status_code":"200"}"#, "an answer that is not the JSON of a response"),
        (#"{}"#, "a status_code outside 100 to 599"),
        (#"{"status_code":99}"#, "a status_code outside 100 to 599"),
        (#"{"status_code":600}"#, "a status_code outside 100 to 599"),
        (#"{"status_code":-200}"#, "a status_code outside 100 to 599"),
        (#"{"status_code":200,"body":"x"}"#, "a body that is not base64"),
        (#"{"status_code":200,"body":"eA=="} "#, ""),
    ])
    func `an answer that breaks the protocol ends the session`(json: String, reason: String) throws
    {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.get("/")
        _ = try scene.peer.nextAsked()
        if json.hasSuffix(" ") {
            try scene.peer.send(json: json)
            #expect(try V1Outcome(of: exchange) == .ok("x"))
            return
        }
        let isRaw = reason.isEmpty
        let payload = isRaw ? [UInt8](json) : RawPeer.text(json)
        try scene.peer.send(bytes: scene.peer.frame(1, payload))
        #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .httpProtocolError))
        guard case .close(1002, let told) = scene.peer.close() else {
            Issue.record("not closed")
            return
        }
        if !isRaw { #expect(told == reason) }
        #expect(scene.side.end() == .protocolError(told))
        #expect(scene.side.isOver(1))
    }

    @Test func `an answer that nobody asked for ends the session`() throws {
        let scene = try V1Confronted(.relay)
        try scene.peer.answer("x")
        #expect(scene.side.end() == .protocolError("an answer that nobody asked for"))
        let again = try V1Confronted(.relay)
        let exchange = try again.get("/")
        _ = try again.peer.nextAsked()
        try again.peer.answer("x")
        try again.peer.answer("y")
        #expect(try V1Outcome(of: exchange) == .ok("x"))
        #expect(again.side.end() == .protocolError("an answer that nobody asked for"))
    }

    @Test(arguments: [
        (#"{"status_code":101}"#, ResetCode.httpProtocolError),
        (#"{"status_code":100}"#, .httpProtocolError),
        (#"{"status_code":204,"body":"eA=="}"#, .httpProtocolError),
        (#"{"status_code":304,"body":"eA=="}"#, .httpProtocolError),
        (#"{"status_code":204,"headers":{"Content-Length":["3"]}}"#, .httpProtocolError),
        (#"{"status_code":200,"headers":{"A b":["c"]}}"#, .httpProtocolError),
        (#"{"status_code":200,"headers":{"A":["b\r\nC: d"]}}"#, .httpProtocolError),
        (
            #"{"status_code":200,"headers":{"Content-Length":["1","2"]},"body":"eA=="}"#,
            .httpProtocolError
        ),
        (
            #"{"status_code":200,"headers":{"Content-Length":["x"]},"body":"eA=="}"#,
            .httpProtocolError
        ),
        (
            #"{"status_code":200,"headers":{"content-length":["2"]},"body":"eA=="}"#,
            .httpResponseIncomplete
        ),
        (
            #"{"status_code":200,"headers":{"Content-Length":["2"]},"body":null}"#,
            .httpResponseIncomplete
        ),
        (#"{"status_code":200,"headers":{"Content-Length":["2"]}}"#, .httpResponseIncomplete),
        (
            #"{"status_code":200,"headers":{"Content-Length":["0"]},"body":"eA=="}"#,
            .httpResponseIncomplete
        ),
    ])
    func `a broken answer costs one exchange only`(json: String, code: ResetCode) throws {
        let scene = try V1Confronted(.relay)
        let first = try scene.get("/1")
        _ = try scene.peer.nextAsked()
        try scene.peer.send(json: json)
        #expect(try V1Outcome(of: first) == V1Outcome(reset: code))
        let second = try scene.get("/2")
        _ = try scene.peer.nextAsked()
        try scene.peer.answer("2")
        #expect(try V1Outcome(of: second) == .ok("2"))
    }

    @Test(arguments: [
        (#"{"status_code":200,"body":null,"headers":null}"#, 200, "Content-Length: 0"),
        (
            #"{"status_code":404,"body":"","headers":{"Content-Length":["0"]}}"#, 404,
            "Content-Length: 0"
        ),
        (#"{"status_code":204}"#, 204, ""),
        (#"{"status_code":304,"headers":{"Content-Length":["9"]}}"#, 304, "Content-Length: 9"),
        (
            #"{"status_code":200,"headers":{"Transfer-Encoding":["chunked"],"Connection":["A"],"A":["1"],"B":["2"]}}"#,
            200, "B: 2\r\nContent-Length: 0"
        ),
    ])
    func `an answer without a body is one`(json: String, status: Int, lines: String) throws {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.get("/")
        _ = try scene.peer.nextAsked()
        try scene.peer.send(json: json)
        let outcome = try V1Outcome(of: exchange)
        #expect(outcome == V1Outcome(status: status))
        #expect(outcome.head == "HTTP/1.1 \(status) \r\n\(lines.isEmpty ? "" : lines + "\r\n")\r\n")
    }

    @Test func `an answer to HEAD has a length and no body`() throws {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.open("HEAD / HTTP/1.1\r\nHost: h\r\n\r\n")
        _ = try scene.peer.nextAsked()
        try scene.peer.send(
            json: #"{"status_code":200,"headers":{"Content-Length":["7"]},"body":null}"#)
        let outcome = try V1Outcome(of: exchange)
        #expect(outcome == V1Outcome(status: 200))
        #expect(outcome.head.contains("Content-Length: 7\r\n"))
    }

    @Test func `messages come in any fragments, as text or binary, with pings between`() throws {
        let scene = try V1Confronted(.relay)
        var random = SeededGenerator(3)
        for size in [0, 1, 5_000, 200_000] {
            let exchange = try scene.get("/")
            let (_, barrier) = try scene.peer.nextAsked()
            let body = random.bytes(size)
            let message = RawPeer.text(
                #"{"status_code":200,"body":"\#(Cryptography.base64(body).text)"}"#)
            var opcode: UInt8 = size % 2 == 0 ? 1 : 2
            var pings = 0
            let pieces = size < 100_000 ? random.split(message) : message.chunks(of: 4096)
            for piece in pieces {
                try scene.peer.send(bytes: scene.peer.frame(opcode, piece, isFinal: false))
                opcode = 0
                if pings < 10 {
                    try scene.peer.send(bytes: scene.peer.frame(9, [UInt8]("between")))
                    pings += 1
                }
            }
            try scene.peer.send(bytes: scene.peer.frame(0, []))
            #expect(try V1Outcome(of: exchange) == V1Outcome(status: 200, body: body))
            for _ in 0..<pings { #expect(scene.peer.next() == .pong([UInt8]("between"))) }
            try scene.peer.pong(barrier)
        }
    }

    @Test func `a body is collected, and its trailers are left out`() throws {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.open(
            "POST /x HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nTrailer: A\r\n\r\n", ends: false
        )
        guard case .head(let interim, false) = exchange.take(until: soon) else {
            Issue.record("no interim answer")
            return
        }
        #expect(interim.bytes[interim.payload].text == "HTTP/1.1 100 Continue\r\n\r\n")
        for part in ["one ", "two"] {
            #expect(exchange.takeCredit(upTo: part.utf8.count) == part.utf8.count)
            #expect(exchange.send(body: Piece([UInt8](part)), ends: false, until: soon))
        }
        exchange.send(trailers: Piece([UInt8]("A: b\r\n\r\n")))
        let (json, _) = try scene.peer.nextAsked()
        #expect(
            json == #"{"method":"POST","uri":"/x","body":"b25lIHR3bw==","#
                + #""headers":{"Accept-Encoding":["identity"]}}"#)
        try scene.peer.answer("")
        #expect(try V1Outcome(of: exchange) == V1Outcome(status: 200))
    }

    @Test func `the credit of a request is what a body may have, and one byte`() throws {
        let scene = try V1Confronted(.relay, maximumBodyBytes: 100)
        #expect(scene.side.handle()?.peer.maximumExchanges == 1)
        let exchange = try scene.open("POST / HTTP/1.1\r\nHost: h\r\n\r\n", ends: false)
        #expect(exchange.takeCredit(upTo: 1000) == 101)
    }

    @Test func `an answer at the limit passes, and one past it costs that exchange only`() throws {
        let scene = try V1Confronted(.relay, maximumBodyBytes: 1000)
        let full = String(repeating: "x", count: 1000)
        for (text, outcome) in [
            (full, V1Outcome.ok(full)), (full + "x", V1Outcome(reset: .httpProtocolError)),
            (full, V1Outcome.ok(full)),
        ] {
            let exchange = try scene.get("/")
            _ = try scene.peer.nextAsked()
            try scene.peer.answer(text)
            #expect(try V1Outcome(of: exchange) == outcome)
        }
        #expect(scene.side.isOver(3))
    }

    @Test func `the answer for a client that has gone is thrown away`() throws {
        let scene = try V1Confronted(.relay)
        let gone = try scene.get("/gone")
        _ = try scene.peer.nextAsked()
        gone.reset(.cancelled)
        gone.finish()
        // Its place is taken as long as the agent is busy with it.
        #expect(scene.side.over == 0)
        try scene.peer.answer("for nobody")
        let next = try scene.get("/next")
        _ = try scene.peer.nextAsked()
        try scene.peer.answer("next")
        #expect(try V1Outcome(of: next) == .ok("next"))
    }

    @Test func `a client that goes in the middle of its upload leaves nothing behind`() throws {
        let scene = try V1Confronted(.relay)
        let gone = try scene.open("POST / HTTP/1.1\r\nHost: h\r\n\r\n", ends: false)
        _ = gone.takeCredit(upTo: 3)
        #expect(gone.send(body: Piece([UInt8]("abc")), ends: false, until: soon))
        gone.reset(.cancelled)
        let next = try scene.get("/next")
        #expect(try scene.peer.nextAsked().json.contains("/next"))
        try scene.peer.answer("next")
        #expect(try V1Outcome(of: next) == .ok("next"))
        #expect(scene.side.isOver(2))
    }

    @Test func `no answer in time ends the session`() throws {
        let scene = try V1Confronted(.relay, responseTimeout: .milliseconds(50))
        let exchange = try scene.get("/")
        #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .httpResponseTimeout))
        guard case .close(1012, _) = scene.peer.close() else {
            Issue.record("not closed")
            return
        }
        #expect(scene.side.end() == .unanswered)
        #expect(scene.side.isOver(1))
    }

    @Test func `an agent that is silent while nothing runs is given up`() throws {
        let scene = try V1Confronted(
            .relay,
            heartbeats: SessionLimits(
                heartbeatInterval: .milliseconds(20), heartbeatTimeout: .milliseconds(100)))
        #expect(scene.side.end() == .silent)
    }

    @Test func `an agent that is silent while a request runs is not`() throws {
        let scene = try V1Confronted(
            .relay,
            heartbeats: SessionLimits(
                heartbeatInterval: .milliseconds(20), heartbeatTimeout: .milliseconds(20)),
            responseTimeout: .seconds(1))
        let exchange = try scene.get("/")
        // Longer than any heartbeat allows.
        #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .httpResponseTimeout))
        #expect(scene.side.end() == .unanswered)
    }

    @Test func `the end of the agent cuts what runs`() throws {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.get("/")
        _ = try scene.peer.nextAsked()
        try scene.peer.sendClose(code: 1000, "bye")
        #expect(try V1Outcome(of: exchange) == V1Outcome(reset: .connectionTerminated))
        #expect(exchange.isLost)
        #expect(scene.side.end() == .closedByPeer(code: 1000, reason: "bye"))
        #expect(scene.side.isOver(1))
    }

    @Test func `a drained session ends once its exchange has`() throws {
        let scene = try V1Confronted(.relay)
        let exchange = try scene.get("/")
        _ = try scene.peer.nextAsked()
        scene.side.handle()?.drain()
        #expect(scene.side.handle()?.open(request: Piece([UInt8]("x")), ends: true) == nil)
        try scene.peer.answer("last")
        #expect(try V1Outcome(of: exchange) == .ok("last"))
        #expect(scene.side.end() == .stopped)
        #expect(scene.peer.close() == .close(code: 1001, reason: "the relay stops"))
    }

    @Test func `answers that wait for their clients are bounded, and outlive the session`() throws {
        let scene = try V1Confronted(.relay, maximumBodyBytes: 300_000)
        let body = String(repeating: "x", count: 250_000)
        var waiting: [Exchange] = []
        for number in 0..<2 {
            let exchange = try scene.get("/\(number)")
            waiting.append(exchange)
            _ = try scene.peer.nextAsked()
            try scene.peer.answer(body)
            // The head has come; nobody takes the body.
            guard case .head = exchange.take(until: soon) else {
                Issue.record("no head")
                return
            }
        }
        // The first made place for another although its client is slow; both together are too much.
        #expect(scene.side.over == 1)
        try scene.peer.sendClose(code: 1001)
        for exchange in waiting {
            #expect(try V1Outcome(of: exchange).body.count == 250_000)
        }
        #expect(scene.side.isOver(2))
        #expect(scene.side.end() == .closedByPeer(code: 1001, reason: ""))
    }

    @Test func `clients that go leave none of their answers behind`() throws {
        let scene = try V1Confronted(.relay, maximumBodyBytes: 300_000)
        let body = String(repeating: "x", count: 250_000)
        for _ in 0..<5 {
            let exchange = try scene.get("/")
            let (_, barrier) = try scene.peer.nextAsked()
            try scene.peer.answer(body)
            try scene.peer.pong(barrier)
            _ = exchange.take(until: soon)
            exchange.reset(.cancelled)
        }
        #expect(scene.side.isOver(5))
        scene.side.handle()?.drain()
        #expect(scene.side.end() == .stopped)
    }

    @Test func `many clients at once get each their own answer`() throws {
        let scene = try V1Confronted(.relay, transport: .tcp)
        let crew = Crew()
        let (clients, each) = (6, 30)
        try crew.start(clients) { [side = scene.side] client in
            for number in 0..<each {
                do {
                    let path = "/\(client)/\(number)"
                    let exchange = try side.get(path)
                    if number % 7 == 3 {
                        exchange.reset(.cancelled)
                        continue
                    }
                    let outcome = try V1Outcome(of: exchange)
                    #expect(outcome == .ok(path))
                    exchange.finish()
                } catch {
                    Issue.record(error)
                }
            }
        }
        // One that came and went before the agent was asked leaves no request.
        while scene.side.over < clients * each {
            guard let event = scene.peer.next(until: .after(milliseconds: 20)) else { continue }
            switch event {
            case .text(let text):
                let json = Cryptography.decodeBase64(text)?.text ?? ""
                let uri = json.split(separator: "\"")[7]
                try scene.peer.answer(String(uri))
            case .ping(let payload): try scene.peer.pong(payload)
            case let other:
                Issue.record("\(other)")
                return
            }
        }
        #expect(crew.hasEnded())
        #expect(scene.side.isOver(clients * each))
    }
}

extension [UInt8] {
    func chunks(of size: Int) -> [[UInt8]] {
        stride(from: 0, to: count, by: size).map { Array(self[$0..<Swift.min($0 + size, count)]) }
    }
}
