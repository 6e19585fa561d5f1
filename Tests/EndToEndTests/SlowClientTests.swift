// Hundreds of slow and silent clients, and a relay with four workers: the others notice nothing.
//
// How much they cost in time and memory is measured by Tests/Benchmarks/slow.

import Foundation
import Testing

struct SlowClientTests {
    @Test func `heads that come byte by byte and idle connections hold no worker`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), relay: "workers = 4\n")
            let idle = try (0..<200).map { number in
                let client = try mirror.connect()
                try client.write(mirror.request("GET", "/first/\(number)"))
                #expect(try client.readResponse().text == "/first/\(number)")
                return client
            }
            let slow = try (0..<200).map { _ in try mirror.connect() }
            let heads = slow.indices.map { Array(mirror.request("GET", "/slow/\($0)").utf8) }
            let half = heads[0].count / 2
            for place in 0..<half {
                for (client, head) in zip(slow, heads) { try client.write([head[place]]) }
                if place % 16 == 0 { #expect(try mirror.get("/other").text == "/other") }
            }
            // They are all still there, and each gets what it has asked for.
            for (client, head) in zip(slow, heads) { try client.write(Array(head[half...])) }
            for (number, client) in slow.enumerated() {
                #expect(try client.readResponse().text == "/slow/\(number)")
            }
            for (number, client) in idle.enumerated() {
                try client.write(mirror.request("GET", "/second/\(number)"))
                #expect(try client.readResponse().text == "/second/\(number)")
            }
        }
    }

    @Test func `handshakes that stop half-way hold no worker`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), plaintext: false, relay: "workers = 4\nhandshake-timeout = 10m\n")
            // The first bytes of a ClientHello that has 508 (RFC 8446 §4.1.2).
            let begun: [UInt8] = [0x16, 3, 1, 2, 0, 1, 0, 1, 0xFC, 3, 3]
            let half = try (0..<200).map { _ in
                let client = try mirror.connect()
                try client.write(begun)
                return client
            }
            for client in half { try client.write([0]) }
            let answer = try stage.curl(
                mirror.relay, mirror.path("/other"), key: mirror.clientKey.secret)
            #expect(answer.text == "/other", "\(answer.error)")
            for client in half { #expect(client.isReadable(.after(0)) == false) }
        }
    }

    @Test func `a client that never stops asking leaves the worker to others`() throws {
        try stage { stage in
            let relay = try stage.relay("workers = 1\n")
            let request = "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"
            let greedy = try Connection.to(port: relay.port)
            let block = Array(String(repeating: request, count: 1000).utf8)
            // One thread asks without a pause, another takes the answers.
            nonisolated(unsafe) let asking = greedy
            let taking = Connection(dup(greedy.descriptor))
            nonisolated(unsafe) let answers = taking
            Thread.detachNewThread { while (try? asking.write(block, .long)) != nil {} }
            let hasBegun = Gate()
            Thread.detachNewThread {
                while (try? answers.fill(.long)) == true {
                    if !answers.take(answers.buffer.count).isEmpty { hasBegun.open() }
                }
            }
            try hasBegun.wait("the first answers")
            for _ in 0..<5 {
                let other = try Connection.to(port: relay.port)
                try other.write(request)
                #expect(try other.readResponse().status == 200)
            }
            shutdown(greedy.descriptor, Int32(SHUT_RDWR))
        }
    }
}
