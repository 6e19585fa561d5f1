// How upgraded connections flow, and how each of their ends is carried to the other side.

import Foundation
import Testing

struct UpgradeEndTests {
    // MARK: - In order

    @Test func `a client that ends its direction can still read`() throws {
        try stage { stage in
            let origin = try Origin.upgrading { connection in
                let said = try connection.readToEnd()
                guard connection.state == .closed else { throw Failure("\(connection.state)") }
                try connection.write(Array("behind the end of ".utf8) + said)
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded(first: "what I ")
            try client.write("said")
            client.shutdownWriting()
            #expect(try client.readToEnd() == Array("behind the end of what I said".utf8))
            #expect(client.state == .closed)
            #expect(origin.problems.isEmpty, "\(origin.problems)")
            #expect(!(try mirror.relay.expectLine(status: 101)).contains("ERROR"))
        }
    }

    @Test func `an origin that ends its direction can still read`() throws {
        try stage { stage in
            let heard = Gate()
            let origin = try Origin.upgrading(first: "bye") { connection in
                connection.shutdownWriting()
                let said = try connection.readToEnd()
                guard said == Array("after your end".utf8), connection.state == .closed else {
                    throw Failure("\(String(decoding: said, as: UTF8.self)), \(connection.state)")
                }
                heard.open()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            #expect(try client.readToEnd() == Array("bye".utf8))
            #expect(client.state == .closed)
            try client.write("after your end")
            client.shutdownWriting()
            try heard.wait("the origin has it all: \(origin.problems)")
        }
    }

    @Test func `ends pass through TLS in order`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho(), plaintext: false)
            let (client, program) = try stage.secureConnection(
                mirror.relay.address, ["-no_ign_eof"])
            try client.write(mirror.request("GET", "/raw", Mirror.upgrade) + "first")
            #expect(try client.readResponseHead().status == 101)
            #expect(try client.read(exactly: 5) == Array("first".utf8))
            client.shutdownWriting()
            // s_client closes its connection when its input ends; it says so in TLS first.
            #expect(try program.exit() == .code(0))
            #expect(!(try mirror.relay.expectLine(status: 101)).contains("ERROR"))
        }
    }

    // MARK: - Breaks

    @Test func `a client's reset reaches the origin as a reset`() throws {
        try stage { stage in
            let (origin, result) = try endOf()
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            #expect(try client.echoes("hello"))
            client.abort()
            #expect(result.wait(.patient) { $0 } == .reset)
            try mirror.relay.expectLine(status: 101, error: "client_gone")
            try mirror.agent.expectLog("the cut") {
                $0.contains("STATUS=101") && $0.contains("ERROR=cancelled")
            }
        }
    }

    @Test func `an origin's reset reaches the client as a reset`() throws {
        try stage { stage in
            let origin = try Origin.upgrading { connection in
                _ = try connection.read(exactly: 5)
                connection.abort()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded(first: "hello")
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .reset)
            try mirror.relay.expectLine(status: 101, error: "connection_terminated")
        }
    }

    @Test func `an origin is closed once its client has gone`() throws {
        try stage { stage in
            let (origin, result) = try endOf()
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            #expect(try client.echoes("hello"))
            client.close()
            #expect(result.wait(.prompt) { $0 } != nil)
        }
    }

    @Test(arguments: [true, false])
    func `a program that is killed breaks what it carried at both ends`(agent: Bool) throws {
        try stage { stage in
            let (origin, result) = try endOf()
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            #expect(try client.echoes("hello"))
            (agent ? mirror.agent : mirror.relay.program).end()
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .reset)
            #expect(result.wait(.patient) { $0 } == .reset)
            if agent {
                try mirror.relay.expectLine(status: 101, error: "connection_terminated")
            }
        }
    }

    @Test func `a client's upgraded connection is cut when its key is revoked`() throws {
        try stage { stage in
            let (origin, result) = try endOf()
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            #expect(try client.echoes("hello"))
            try mirror.relay.revoke(mirror.clientKey)
            #expect(try client.readToEnd(.prompt).isEmpty)
            #expect(client.state == .reset)
            #expect(result.wait(.patient) { $0 } == .reset)
            try mirror.relay.expectLine(status: 101, error: "http_request_denied")
        }
    }

    // MARK: - Stopping

    @Test(arguments: [true, false])
    func `a program that drains lets an upgraded connection finish`(agent: Bool) throws {
        try stage { stage in
            let mirror = try stage.mirror(.rawEcho())
            let client = try mirror.upgraded()
            #expect(try client.echoes("before"))
            let program = agent ? mirror.agent : mirror.relay.program
            program.send(SIGTERM)
            _ = try askUntil("nothing new is taken", .patient) {
                try (try? mirror.get("/x")) ?? Response(head: try Head("HTTP/1.1 503 Closed"))
            } _: {
                $0.status == 503
            }
            #expect(try client.echoes("while it drains"))
            client.shutdownWriting()
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .closed)
            #expect(try program.exit() == .code(0))
        }
    }

    @Test func `a drain has an end, and breaks what is still upgraded`() throws {
        try stage { stage in
            let (origin, result) = try endOf()
            let mirror = try stage.mirror(origin, relay: "drain-timeout = 1s\n")
            let client = try mirror.upgraded()
            #expect(try client.echoes("before"))
            mirror.relay.program.send(SIGTERM)
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .reset)
            #expect(result.wait(.patient) { $0 } == .reset)
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    // MARK: - Flow

    @Test func `an upgraded connection may be silent for longer than any limit of a request`()
        throws
    {
        try stage { stage in
            let limits = ["head-timeout", "idle-timeout", "response-timeout", "minimum-rate-after"]
            let mirror = try stage.mirror(
                .rawEcho(), relay: limits.map { "\($0) = 500ms\n" }.joined())
            let client = try mirror.upgraded()
            #expect(try client.echoes("before"))
            #expect(!client.isReadable(.after(2)))
            #expect(try client.echoes("after"))
        }
    }

    @Test func `100 MiB pass in each direction at once, byte for byte, in constant memory`() throws
    {
        try stage { stage in
            let size = Program.bulk(100 << 20)
            let up = Flow(seed: 1, count: size)
            let down = Flow(seed: 2, count: size)
            let origin = try Origin.upgrading { try bothWays($0, sending: down, checking: up) }
            let mirror = try stage.mirror(origin)
            let client = try mirror.upgraded()
            try bothWays(client, sending: up, checking: down)
            #expect(origin.waitForEnded(1, .long))
            #expect(origin.problems.isEmpty, "\(origin.problems)")
            for program in [mirror.relay.program, mirror.agent] {
                let peak = try program.peakResidentKiB()
                #expect(
                    peak < 32 * 1024 || Program.areSanitized, "\(program.name) had \(peak) KiB")
            }
            let line = try mirror.relay.expectLine(status: 101)
            #expect(line.contains(" BYTES_IN=\(size) BYTES_OUT=\(size) "), "\(line)")
        }
    }

    @Test func `a reader that stops holds back its own sender and nobody else`() throws {
        try stage { stage in
            let stopped = Gate()
            let heard = Gate()
            let origin = try Origin.upgrading(first: "begin") { connection in
                // One client gets everything back, the other one more than it reads.
                if try connection.read(exactly: 1) == Array("e".utf8) {
                    return try connection.echoToEnd()
                }
                let piece = [UInt8](repeating: 120, count: 1 << 20)
                var sent = 0
                // Once two seconds pass without room for a byte, all buffers are full.
                while sent < 200 << 20 {
                    let count = try connection.writeSome(piece, .after(2))
                    sent += count
                    if count == 0 { break }
                }
                if sent < 100 << 20 { stopped.open() }
                // The other direction of the same connection goes on.
                _ = try connection.read(through: "still heard", .long)
                heard.open()
                _ = try connection.drain(.long)
            }
            let mirror = try stage.mirror(origin)
            let stuck = try mirror.upgraded(first: "x", receiveBuffer: 4096)
            try stopped.wait("the origin is held back", .after(60))
            try stuck.write("still heard")
            try heard.wait("the other direction goes on")
            let other = try mirror.upgraded(first: "e")
            #expect(try other.read(exactly: 5) == Array("begin".utf8))
            for _ in 0..<20 { #expect(try other.echoes("passes")) }
        }
    }

    // MARK: -

    /// An origin that sends everything back and tells how its connection ended.
    private func endOf() throws -> (Origin, Signalled<Connection.State?>) {
        let result = Signalled<Connection.State?>(nil)
        let origin = try Origin.upgrading { connection in
            try connection.echoToEnd()
            result.withLock { $0 = connection.state }
        }
        return (origin, result)
    }
}

/// Sends one flow and checks another at the same time, each to its end.
private func bothWays(_ connection: Connection, sending: Flow, checking: Flow) throws {
    nonisolated(unsafe) let shared = connection
    let results = try onThreads(2) { number in
        if number == 0 {
            try checking.check(shared)
        } else {
            try sending.write(to: shared)
            shared.shutdownWriting()
        }
    }
    for result in results { try result.get() }
}
