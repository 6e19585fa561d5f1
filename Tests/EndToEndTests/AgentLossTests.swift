// What clients see when the agent is absent, dies, freezes or comes back.

import Foundation
import Testing

struct AgentLossTests {
    @Test func `a mirror whose agent was never connected is unavailable`() throws {
        try stage { stage in
            _ = try stage.addKey(role: "agent", name: "prom")
            let client = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let response = try ask(relay, "/m/alice/prom/x", [bearer(client)])
            expectProblem(response, 503, "destination_unavailable")
            #expect(Int(response["Retry-After"] ?? "") != nil)
            try relay.expectLine(status: 503, error: "destination_unavailable")
        }
    }

    @Test func `a mirror of the configuration is unavailable until its agent comes`() throws {
        try stage { stage in
            let client = try stage.addKey(role: "client")
            let relay = try stage.relay(plaintext: true, "[mirror alice/prom]\naccess = key\n")
            let response = try ask(relay, "/m/alice/prom/x", [bearer(client)])
            expectProblem(response, 503, "destination_unavailable")
            #expect(response["Retry-After"] != nil)
        }
    }

    @Test func `a mirror whose agent went away is unavailable, and back with its agent`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            mirror.agent.send(SIGTERM)
            #expect(try mirror.agent.exit() == .code(0))
            let response = try mirror.get("/x")
            expectProblem(response, 503, "destination_unavailable")
            #expect(response["Retry-After"] != nil)
            try stage.agent(mirror.relay, key: mirror.agentKey.secret, local: origin.url)
            #expect(try mirror.get("/x").status == 200)
        }
    }

    @Test(arguments: [
        "Content-Length: 1000\r\n\r\npart", "Transfer-Encoding: chunked\r\n\r\n4\r\npart\r\n",
    ])
    func `an agent killed in mid-answer leaves a cut answer`(rest: String) throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\n" + rest)
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            let head = try client.readResponseHead()
            while !String(decoding: client.buffer, as: UTF8.self).contains("part") {
                _ = try client.fill()
            }
            mirror.agent.end()
            let body = try client.readBody(head.head)
            #expect(!body.isWhole)
            #expect(body.text == "part")
            try mirror.relay.expectLine(status: 200, error: "connection_terminated")

            let next = try mirror.get("/x")
            expectProblem(next, 503, "destination_unavailable")
            #expect(next["Retry-After"] != nil)
        }
    }

    @Test func `an agent killed before the answer begins is a terminated connection`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/x", ["Content-Length: 2"], body: "ab"))
            _ = try origin.waitForRequest()
            mirror.agent.end()
            expectProblem(try client.readResponse(), 502, "connection_terminated")
            try mirror.relay.expectLine(status: 502, error: "connection_terminated")
        }
    }

    @Test func `an agent that froze is given up, and comes back when it thaws`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(
                origin, relay: "heartbeat-interval = 1s\nheartbeat-timeout = 1s\n")
            #expect(try mirror.get("/x").status == 200)
            mirror.agent.send(SIGSTOP)
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/y", ["Content-Length: 2"], body: "ab"))
            expectProblem(try client.readResponse(), 502, "connection_terminated")
            expectProblem(try mirror.get("/z"), 503, "destination_unavailable")
            mirror.agent.send(SIGCONT)
            _ = try askUntil("the agent is back", .after(40)) {
                try mirror.get("/x")
            } _: {
                $0.status == 200
            }
        }
    }

    @Test func `a second process with the same name joins, and takes over when the first dies`()
        throws
    {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            try stage.agent(mirror.relay, key: mirror.agentKey.secret, local: origin.url)
            #expect(try mirror.get("/x").status == 200)
            mirror.agent.end()
            // The relay may see the end of the dead one after this request has been sent to it.
            _ = try askUntil("the second answers", .patient) {
                try mirror.get("/x")
            } _: {
                $0.status == 200
            }
        }
    }
}
