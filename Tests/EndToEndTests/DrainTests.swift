// SIGTERM: what runs comes to its end, nothing new begins, and the program exits with 0.

import Foundation
import Testing

struct DrainTests {
    @Test(arguments: [SIGTERM, SIGINT])
    func `idle programs stop at once when asked`(signal: Int32) throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get("/x").status == 200)
            let idle = try mirror.connect()
            mirror.agent.send(signal)
            #expect(try mirror.agent.exit(.after(5)) == .code(0))
            mirror.relay.program.send(signal)
            #expect(try mirror.relay.program.exit(.after(5)) == .code(0))
            #expect(try idle.readToEnd().isEmpty)
        }
    }

    @Test func `a relay that drains lets a running exchange finish`() throws {
        try stage { stage in
            let (origin, finish) = try halfAnswer()
            let mirror = try stage.mirror(origin)
            let (client, head) = try firstHalf(mirror)
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            finish.open()
            let body = try client.readBody(head)
            #expect(body.isWhole)
            #expect(body.text == "second")
            #expect(try mirror.relay.program.exit() == .code(0))
            #expect(mirror.agent.unasked == nil, "the agent waits for the next relay")
        }
    }

    @Test func `an agent that drains lets a running exchange finish`() throws {
        try stage { stage in
            let (origin, finish) = try halfAnswer()
            let mirror = try stage.mirror(origin)
            let (client, head) = try firstHalf(mirror)
            mirror.agent.send(SIGTERM)
            // The relay sends it nothing new from now on.
            let refused = try askUntil("the agent takes nothing new", .patient) {
                try mirror.get("/new")
            } _: {
                $0.status == 503
            }
            expectProblem(refused, 503, "destination_unavailable")
            #expect(refused["Retry-After"] != nil)
            finish.open()
            let body = try client.readBody(head)
            #expect(body.isWhole)
            #expect(body.text == "second")
            #expect(try mirror.agent.exit() == .code(0))
        }
    }

    @Test func `a drain has an end, even with an exchange that has none`() throws {
        try stage { stage in
            let (origin, _) = try halfAnswer()
            let mirror = try stage.mirror(origin, relay: "drain-timeout = 1s\n")
            let (client, head) = try firstHalf(mirror)
            mirror.relay.program.send(SIGTERM)
            #expect(try !client.readBody(head, .after(10)).isWhole)
            #expect(try mirror.relay.program.exit(.after(10)) == .code(0))
        }
    }

    @Test func `a load balancer sees that a relay drains`() throws {
        try stage { stage in
            let (origin, finish) = try halfAnswer()
            let mirror = try stage.mirror(origin)
            let (client, head) = try firstHalf(mirror)
            let balancer = try mirror.connect()
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            // A connection that was open before is told, or closed; it never hangs.
            if (try? balancer.write("GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n")) != nil,
                try balancer.fill()
            {
                #expect(try balancer.readResponse().status == 503)
            }
            finish.open()
            _ = try client.readBody(head)
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    /// Waits until the relay answers 503 or refuses connections.
    private func waitForRefusal(_ relay: Relay) throws {
        let deadline = Deadline.patient
        while !deadline.hasPassed {
            guard let response = try? ask(relay, "/-/ready") else { return }
            if response.status == 503 { return }
        }
        throw Failure("the relay goes on as if it had not been asked to stop")
    }

    /// An origin that sends `first`, and `second` once the gate is open; `/new` it answers at once.
    private func halfAnswer() throws -> (Origin, Gate) {
        let finish = Gate()
        let origin = try Origin { visit in
            guard try visit.readRequest()?.target == "/x" else {
                return try visit.connection.write(
                    Answer(200, body: "new", closes: true).bytes(to: "GET"))
            }
            try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            try visit.connection.writeChunk("first")
            try finish.wait("the second half is asked for")
            try visit.connection.writeChunk("second")
            try visit.write("0\r\n\r\n")
        }
        return (origin, finish)
    }

    private func firstHalf(_ mirror: Mirror) throws -> (Connection, Head) {
        let client = try mirror.connect()
        try client.write(mirror.request("GET", "/x"))
        let head = try client.readResponseHead().head
        #expect(try client.readChunk() == Array("first".utf8))
        return (client, head)
    }
}
