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
            let finish = Gate()
            let mirror = try stage.mirror(.pausing(until: finish))
            let held = try mirror.half()
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            finish.open()
            try held.expectRest()
            #expect(try mirror.relay.program.exit() == .code(0))
            #expect(mirror.agent.unasked == nil, "the agent waits for the next relay")
        }
    }

    @Test func `an agent that drains lets a running exchange finish`() throws {
        try stage { stage in
            let finish = Gate()
            let mirror = try stage.mirror(.pausing(until: finish))
            let held = try mirror.half()
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
            try held.expectRest()
            #expect(try mirror.agent.exit() == .code(0))
        }
    }

    @Test func `a drain has an end, even with an exchange that has none`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .pausing(until: Gate()), relay: "drain-timeout = 1s\n")
            let held = try mirror.half()
            mirror.relay.program.send(SIGTERM)
            #expect(try !held.rest(.prompt).isWhole)
            #expect(try mirror.relay.program.exit(.prompt) == .code(0))
        }
    }

    @Test func `a relay with a drain delay serves on while load balancers take notice`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), relay: "drain-delay = 1h\n")
            mirror.relay.program.send(SIGTERM)
            let told = try askUntil("the relay is not ready", .patient) {
                try ask(mirror.relay, "/-/ready")
            } _: {
                $0.status == 503
            }
            #expect(told["Retry-After"] != nil)
            #expect(try ask(mirror.relay, "/-/healthy").status == 200)
            let answer = try mirror.ask("POST", "/still", body: "here")
            #expect(answer.text == "/still")
            #expect(answer["Connection"] != "close")
            // Who cannot wait says it twice.
            mirror.relay.program.send(SIGTERM)
            #expect(try mirror.relay.program.exit(.prompt) == .code(0))
        }
    }

    @Test func `a load balancer sees that a relay drains`() throws {
        try stage { stage in
            let finish = Gate()
            let mirror = try stage.mirror(.pausing(until: finish))
            let held = try mirror.half()
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
            try held.expectRest()
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    @Test func `while a relay drains, requests are told to come again, on any connection`() throws {
        try stage { stage in
            let finish = Gate()
            let mirror = try stage.mirror(.pausing(until: finish))
            let standing = try mirror.connect()
            try standing.write(mirror.request("GET", "/new"))
            #expect(try standing.readResponse().status == 200)
            let held = try mirror.half()
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
            try held.expectRest()
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
            let mirror = try stage.mirror(
                .pausing(until: Gate()), relay: "drain-timeout = 1h\n")
            let held = try mirror.half()
            mirror.relay.program.send(SIGTERM)
            try waitForRefusal(mirror.relay)
            mirror.relay.program.send(SIGTERM)
            #expect(try mirror.relay.program.exit() == .code(0))
            #expect(try !held.rest().isWhole)
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
}
