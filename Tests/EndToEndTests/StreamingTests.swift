// Bodies flow as they come, in both directions, and stop when one end stops.

import Foundation
import Testing

struct StreamingTests {
    @Test func `each piece of an answer reaches the client when the origin sends it`() throws {
        try stage { stage in
            let gates = (0..<20).map { _ in Gate() }
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write(
                    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                        + "Transfer-Encoding: chunked\r\n\r\n")
                for (index, gate) in gates.enumerated() {
                    try visit.connection.writeChunk("data: \(index)\n\n")
                    try gate.wait("piece \(index) has arrived")
                }
                try visit.write("0\r\n\r\n")
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/events"))
            #expect(try client.readResponseHead().status == 200)
            for (index, gate) in gates.enumerated() {
                #expect(try client.readChunk() == Array("data: \(index)\n\n".utf8))
                gate.open()
            }
            #expect(try client.readChunk() == [])
        }
    }

    /// An answer that ends with its connection, as a small server of events sends it.
    @Test(arguments: [("HTTP/1.1", true), ("HTTP/1.1", false), ("HTTP/1.0", true)])
    func `each event reaches the client before the origin sends the next`(
        version: String, plaintext: Bool
    ) throws {
        try stage { stage in
            let gates = (0..<5).map { _ in Gate() }
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
                for (index, gate) in gates.enumerated() {
                    try visit.write("data: \(index)\n\n")
                    try gate.wait("event \(index) has arrived")
                }
            }
            let mirror = try stage.mirror(origin, plaintext: plaintext)
            let client =
                plaintext
                ? try mirror.connect()
                : try stage.secureConnection(mirror.relay.address).connection
            try client.write(mirror.request("GET", "/events", version: version))
            #expect(try client.readResponseHead().head.isChunked == (version == "HTTP/1.1"))
            for (index, gate) in gates.enumerated() {
                #expect(try client.read(through: "data: \(index)\n\n") != nil)
                gate.open()
            }
            if version == "HTTP/1.0" {
                #expect(try client.readToEnd().isEmpty)
                #expect(client.state == .closed)
            } else {
                #expect(try client.read(through: "\r\n0\r\n\r\n") == "\r\n0\r\n\r\n")
            }
        }
    }

    @Test func `events may pause for longer than any limit of a request`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                try visit.connection.writeChunk("before")
                guard !visit.connection.isReadable(.after(2)) else {
                    throw Failure("the agent has given up")
                }
                try visit.connection.writeChunk("after")
                try visit.write("0\r\n\r\n")
            }
            let limits = ["head-timeout", "idle-timeout", "response-timeout", "minimum-rate-after"]
            let file = try stage.write(
                "agent.conf", "response-timeout = 500ms\nidle-timeout = 500ms\n")
            let mirror = try stage.mirror(
                origin, relay: limits.map { "\($0) = 500ms\n" }.joined(),
                agent: ["--config", file])
            let response = try mirror.get("/events")
            #expect(response.body.isWhole)
            #expect(response.text == "beforeafter")
        }
    }

    @Test func `the head of an answer does not wait for its body`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            #expect(try client.readResponseHead().head.length == 5)
        }
    }

    @Test func `each piece of an upload reaches the origin when the client sends it`() throws {
        try stage { stage in
            let gates = (0..<10).map { _ in Gate() }
            let origin = try Origin { visit in
                _ = try visit.readHead()
                for (index, gate) in gates.enumerated() {
                    guard try visit.connection.readChunk() == Array("\(index)".utf8) else {
                        throw Failure("piece \(index) is another")
                    }
                    gate.open()
                }
                _ = try visit.connection.readChunk()
                _ = try visit.connection.readTrailers()
                try visit.connection.write(Answer(200, body: "all").bytes(to: "POST"))
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/x", ["Transfer-Encoding: chunked"]))
            for (index, gate) in gates.enumerated() {
                try client.writeChunk("\(index)")
                try gate.wait("the origin has piece \(index)")
            }
            try client.write("0\r\n\r\n")
            #expect(try client.readResponse().text == "all")
            #expect(origin.problems.isEmpty)
        }
    }

    @Test(arguments: [true, false])
    func `an origin is closed once its client has gone`(talks: Bool) throws {
        try stage { stage in
            let begun = Gate()
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                if talks {
                    try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    try visit.connection.writeChunk("first")
                }
                begun.open()
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            try begun.wait("the request is at the origin")
            client.close()
            #expect(origin.waitForEnded(1, .prompt))
            #expect(try mirror.agent.peakResidentKiB() > 0, "the agent lives")
        }
    }

    @Test func `a client that does not read stops its origin, and no other`() throws {
        try stage { stage in
            let stopped = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest(.long) {
                    guard request.target == "/endless" else {
                        try visit.connection.write(Answer(200, body: "other").bytes(to: "GET"))
                        continue
                    }
                    try visit.write("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
                    let piece = [UInt8](repeating: 120, count: 1 << 20)
                    var sent = 0
                    // Once two seconds pass without room for a byte, all buffers are full.
                    while sent < 200 << 20 {
                        let count = try visit.connection.writeSome(piece, .after(2))
                        sent += count
                        if count == 0 { break }
                    }
                    if sent < 100 << 20 { stopped.open() }
                    try visit.waitForEnd(.long)
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect(receiveBuffer: 4096)
            try client.write(mirror.request("GET", "/endless"))
            try stopped.wait("the origin is held back", .after(60))
            for _ in 0..<20 { #expect(try mirror.get("/x").text == "other") }
        }
    }

    @Test func `an upload that the origin does not read is held back`() throws {
        try stage { stage in
            let done = Gate()
            defer { done.open() }
            let origin = try Origin { visit in
                _ = try visit.readHead()
                try done.wait("the client is held back", .long)
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("PUT", "/x", ["Content-Length: \(1 << 30)"]))
            let piece = [UInt8](repeating: 120, count: 1 << 20)
            var sent = 0
            while sent < 200 << 20 {
                let count = try client.writeSome(piece, .after(2))
                sent += count
                if count < piece.count { break }
            }
            #expect(sent < 100 << 20)
            client.close()
        }
    }

    @Test func `an early refusal reaches a client that still uploads`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readHead()
                _ = try visit.connection.read(exactly: 100_000)
                try visit.connection.write(
                    Answer(413, body: "too large", closes: true).bytes(to: "PUT"))
                // What follows is read, or closing would reset the answer away.
                visit.connection.shutdownWriting()
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("PUT", "/x", ["Content-Length: \(1 << 30)"]))
            let piece = [UInt8](repeating: 120, count: 64 << 10)
            let deadline = Deadline.patient
            while !client.isReadable(.after(0)), !deadline.hasPassed {
                guard (try? client.write(piece, .after(1))) != nil else { break }
            }
            let response = try client.readResponse()
            #expect(response.status == 413)
            #expect(response.text == "too large")
            #expect(response["Proxy-Status"] == nil)
        }
    }

    @Test func `curl uploads into an early refusal and is told so`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readHead()
                try visit.connection.write(
                    Answer(413, body: "too large", closes: true).bytes(to: "PUT"))
                visit.connection.shutdownWriting()
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin, plaintext: false)
            let file = try stage.sparseFile("big", size: 64 << 20)
            let answer = try stage.curl(
                mirror.relay, mirror.path("/x"), key: mirror.clientKey.secret,
                ["--upload-file", file, "--header", "Expect:"])
            #expect(answer.status == 413, "\(answer.exit) \(answer.error)")
            #expect(answer.text == "too large")
        }
    }

    @Test func `bodies larger than all credit arrive unchanged in both directions`() throws {
        try stage { stage in
            let origin = try Origin.answering { Answer(200, bytes: $0.body.bytes.reversed()) }
            let mirror = try stage.mirror(origin)
            let size = 3_000_017
            var state: UInt32 = 1
            let bytes = (0..<size).map { _ -> UInt8 in
                state = state &* 1_664_525 &+ 1_013_904_223
                return UInt8(truncatingIfNeeded: state >> 24)
            }
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/x", ["Content-Length: \(size)"]))
            try client.write(bytes)
            let response = try client.readResponse(.after(60))
            #expect(response.body.isWhole)
            #expect(response.body.bytes == bytes.reversed())
        }
    }
}
