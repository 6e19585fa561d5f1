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
            #expect(try mirror.agent.exit(.prompt) == .code(0))
            mirror.relay.program.send(signal)
            #expect(try mirror.relay.program.exit(.prompt) == .code(0))
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
            #expect(try !client.readBody(head, .prompt).isWhole)
            #expect(try mirror.relay.program.exit(.prompt) == .code(0))
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
            // A connection that was open before is told, too, and then closed.
            try balancer.write("GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n")
            let told = try balancer.readResponse()
            expectProblem(told, 503, "connection_limit_reached")
            #expect(told["Connection"] == "close")
            #expect(try balancer.readToEnd().isEmpty)
            finish.open()
            _ = try client.readBody(head)
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    @Test func `while a relay drains, requests are told to come again, on any connection`() throws {
        try stage { stage in
            let (origin, finish) = try halfAnswer()
            let mirror = try stage.mirror(origin)
            let standing = try mirror.connect()
            try standing.write(mirror.request("GET", "/new"))
            #expect(try standing.readResponse().status == 200)
            let (client, head) = try firstHalf(mirror)
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            for connection in [standing, try mirror.connect()] {
                try connection.write(mirror.request("GET", "/new"))
                let refused = try connection.readResponse()
                expectProblem(refused, 503, "connection_limit_reached")
                #expect(Int(refused["Retry-After"] ?? "") != nil)
                #expect(refused["Connection"] == "close")
                #expect(try connection.readToEnd().isEmpty)
                #expect(connection.state == .closed)
            }
            finish.open()
            #expect(try client.readBody(head).isWhole)
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    @Test func `an answer that begins while the relay drains ends its connection`() throws {
        try stage { stage in
            let finish = Gate()
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try finish.wait("the drain")
                try visit.connection.write(Answer(200, body: "late").bytes(to: "GET"))
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            _ = try origin.waitForRequest()
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            finish.open()
            let answer = try client.readResponse()
            #expect(answer.text == "late")
            #expect(answer["Connection"] == "close")
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .closed)
        }
    }

    @Test func `a request that meets the close of its idle connection sees an end, not a reset`()
        throws
    {
        try stage { stage in
            // A test that is kept from running for a second comes too late: so it may try again.
            let hasEnded = try (1...3).contains { _ in
                try problemOfLateRequest(stage.relay()) == 0
            }
            #expect(hasEnded)
        }
    }

    /// What the system says of an idle connection, on which a request is sent when it has ended.
    private func problemOfLateRequest(_ relay: Relay) throws -> Int32 {
        let idle = try Connection.to(port: relay.port)
        relay.program.send(SIGTERM)
        while try idle.fill() {}
        #expect(idle.state == .closed)
        try idle.write("GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try relay.program.exit() == .code(0))
        var problem: Int32 = 0
        var length = socklen_t(MemoryLayout<Int32>.size)
        getsockopt(idle.descriptor, SOL_SOCKET, SO_ERROR, &problem, &length)
        return problem
    }

    @Test func `a second signal stops a relay at once`() throws {
        try stage { stage in
            let (origin, _) = try halfAnswer()
            let mirror = try stage.mirror(origin, relay: "drain-timeout = 1h\n")
            let (client, head) = try firstHalf(mirror)
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            mirror.relay.program.send(SIGTERM)
            #expect(try mirror.relay.program.exit() == .code(0))
            #expect(try !client.readBody(head).isWhole)
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
