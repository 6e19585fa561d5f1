// A relay that is stopped or killed and started again on its port: its agents come back by
// themselves, and clients are told when to try again until then.

import Foundation
import Testing

struct RelayRestartTests {
    @Test(arguments: [SIGTERM, SIGKILL])
    func `agents are back after a restart, and clients get 503 meanwhile`(signal: Int32) throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), plaintext: false)
            func get() throws -> Response {
                let answer = try stage.curl(
                    mirror.relay, mirror.path("/x"), key: mirror.clientKey.secret)
                guard let response = answer.response else { throw Failure(answer.error) }
                return response
            }
            #expect(try get().status == 200)

            // The agent stands still, so that the clients are first to find the new relay.
            mirror.agent.send(SIGSTOP)
            mirror.relay.program.send(signal)
            let expected: Program.Exit = signal == SIGTERM ? .code(0) : .signal(SIGKILL)
            #expect(try mirror.relay.program.exit(.after(40)) == expected)
            try mirror.relay.startOnSamePort()

            let meanwhile = try get()
            expectProblem(meanwhile, 503, "destination_unavailable")
            #expect(Int(meanwhile["Retry-After"] ?? "") != nil)

            mirror.agent.send(SIGCONT)
            let back = try askUntil("the agent is back", .after(40), get) { $0.status == 200 }
            #expect(back.text == "/x")
            #expect(mirror.agent.output.lines.count == 1, "ready is said at the first connection")
        }
    }

    @Test func `an agent outlives a relay that is away for several attempts`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let before = mirror.agent.log.lines.count
            mirror.relay.program.end()
            // Three failed attempts: the backoff has doubled twice by then.
            var seen = before
            for _ in 0..<3 {
                try mirror.agent.expectLog("an attempt that was refused", from: seen) { line in
                    seen += 1
                    return line.lowercased().contains("refused")
                }
            }
            try mirror.relay.startOnSamePort()
            _ = try askUntil("the agent is back", .after(40)) {
                try mirror.get("/x")
            } _: {
                $0.status == 200
            }
        }
    }

    @Test func `a request that runs when the relay is killed ends at the client and at the origin`()
        throws
    {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\npart\r\n")
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            let head = try client.readResponseHead()
            #expect(try client.readChunk() == Array("part".utf8))
            mirror.relay.program.end()
            #expect(try !client.readBody(head.head).isWhole)
            #expect(origin.waitForEnded(1))
        }
    }
}
