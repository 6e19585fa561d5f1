// Connections are kept: the client's to the relay, and the agent's to the origin.

import Foundation
import Testing

struct KeepAliveTests {
    @Test func `requests one after the other share one connection to the origin`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for index in 0..<50 {
                try client.write(mirror.request("GET", "/\(index)"))
                #expect(try client.readResponse().text == "/\(index)")
            }
            #expect(origin.accepted == 1)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 204 No Content\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX-A: b\r\n\r\n",
    ])
    func `a connection is kept however an answer ends`(answer: String) throws {
        try stage { stage in
            let origin = try Origin { visit in
                while try visit.readRequest() != nil { try visit.write(answer) }
            }
            let mirror = try stage.mirror(origin)
            for _ in 0..<10 { #expect(try mirror.get("/x").body.isWhole) }
            #expect(origin.accepted == 1)
        }
    }

    @Test func `connections to the origin are kept for other clients`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            for index in 0..<50 { #expect(try mirror.get("/\(index)").text == "/\(index)") }
            #expect(origin.accepted == 1)
        }
    }

    @Test func `concurrent requests don't open more connections than they need`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let answers = try onThreads(16) { thread -> Bool in
                let client = try mirror.connect()
                for index in 0..<50 {
                    try client.write(mirror.request("GET", "/\(thread)/\(index)"))
                    guard try client.readResponse().text == "/\(thread)/\(index)" else {
                        return false
                    }
                }
                return true
            }
            #expect(try answers.allSatisfy { try $0.get() })
            #expect(origin.accepted <= 16)
        }
    }

    @Test func `a connection that the origin has closed is not used again`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                guard let request = try visit.readRequest() else { return }
                // It does not say that it closes, as origins do that ran out of patience.
                try visit.connection.write(
                    Answer(200, body: request.method).bytes(to: request.method))
            }
            let mirror = try stage.mirror(origin)
            for method in ["GET", "POST", "GET", "POST", "POST", "GET"] {
                #expect(try mirror.ask(method, "/x").text == method)
                #expect(origin.waitForEnded(origin.accepted))
            }
            #expect(origin.accepted == 6)
        }
    }

    @Test(arguments: [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nstray",
        "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 103 Early Hints\r\n\r\n", "stray", "\r\n",
    ])
    func `what an origin says unasked is nobody's answer`(stray: String) throws {
        try stage { stage in
            let isAnswered = Gate()
            let isSaid = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    try visit.connection.write(
                        Answer(200, body: request.target).bytes(to: request.method))
                    if request.target == "/1" {
                        try isAnswered.wait("the first answer has arrived")
                        try visit.write(stray)
                        isSaid.open()
                    }
                }
            }
            let mirror = try stage.mirror(origin)
            #expect(try mirror.get("/1").text == "/1")
            isAnswered.open()
            try isSaid.wait("the origin has said more")
            for target in ["/2", "/3"] { #expect(try mirror.get(target).text == target) }
            #expect(try mirror.ask("POST", "/4").text == "/4")
        }
    }

    @Test func `a client that has gone while it waited is not asked for`() throws {
        try stage { stage in
            let gate = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    if request.target == "/first" { try gate.wait("the others stand in line") }
                    try visit.connection.write(
                        Answer(200, body: request.target).bytes(to: request.method))
                }
            }
            let mirror = try stage.mirror(origin, relay: "maximum-exchanges = 1\n")
            let first = try mirror.connect()
            try first.write(mirror.request("GET", "/first"))
            _ = try origin.waitForRequest()
            let gone = try mirror.connect()
            try gone.write(mirror.request("POST", "/gone", ["Content-Length: 0"]))
            gone.close()
            // These come to the workers behind it.
            for _ in 0..<3 { #expect(try ask(mirror.relay, "/-/healthy").status == 200) }
            let last = try mirror.connect()
            try last.write(mirror.request("GET", "/last"))
            gate.open()
            #expect(try first.readResponse().text == "/first")
            #expect(try last.readResponse().text == "/last")
            try mirror.relay.expectLine(status: 499, error: "client_gone")
            #expect(origin.requests.map(\.target) == ["/first", "/last"])
        }
    }

    /// An origin that answers what does not ask for /2; with that request it does as it is told.
    private func origin(
        closingAfter part: String, everyTime: Bool
    ) throws -> Origin {
        let hasClosed = Signalled(false)
        return try Origin { visit in
            while let request = try visit.readRequest() {
                if request.target == "/2", everyTime || !hasClosed.withLock({ $0 }) {
                    hasClosed.withLock { $0 = true }
                    return try visit.write(part)
                }
                try visit.connection.write(
                    Answer(200, body: request.target).bytes(to: request.method))
            }
        }
    }

    @Test(arguments: ["GET", "HEAD", "OPTIONS", "PUT", "DELETE"])
    func `a request that may be sent twice is, where the origin had closed`(method: String) throws {
        try stage { stage in
            let origin = try origin(closingAfter: "", everyTime: false)
            let mirror = try stage.mirror(origin)
            #expect(try mirror.get("/1").status == 200)
            let fields = method == "PUT" ? ["Content-Length: 0"] : []
            #expect(try mirror.ask(method, "/2", fields).status == 200)
            #expect(origin.requests.filter { $0.target == "/2" }.count == 2)
            #expect(origin.accepted == 2)
        }
    }

    @Test func `a request is not sent a third time`() throws {
        try stage { stage in
            let origin = try origin(closingAfter: "", everyTime: true)
            let mirror = try stage.mirror(origin)
            #expect(try mirror.get("/1").status == 200)
            expectProblem(try mirror.get("/2"), 502, "connection_terminated")
            #expect(origin.requests.filter { $0.target == "/2" }.count == 2)
        }
    }

    @Test(arguments: [
        ("POST", "", ""), ("POST", "ab", ""), ("PUT", "ab", ""), ("PATCH", "ab", ""),
        ("DELETE", "ab", ""), ("GET", "", "HTTP/1.1 2"),
        ("GET", "", "HTTP/1.1 103 Early Hints\r\n\r\n"),
    ])
    func `a request that changes something, or was answered in part, is not sent twice`(
        method: String, body: String, part: String
    ) throws {
        try stage { stage in
            let origin = try origin(closingAfter: part, everyTime: true)
            let mirror = try stage.mirror(origin)
            #expect(try mirror.get("/1").status == 200)
            let fields = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
            expectProblem(
                try mirror.ask(method, "/2", fields, body: body), 502, "connection_terminated")
            #expect(origin.requests.filter { $0.target == "/2" }.count == 1)
        }
    }

    @Test func `curl asks many times on one connection over TLS`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), plaintext: false)
            let answer = try stage.curl(
                mirror.relay, mirror.path("/[1-20]"), key: mirror.clientKey.secret,
                [
                    "--no-globoff", "--no-include", "--output", "/dev/null", "--write-out",
                    "%{http_code} %{num_connects}\\n",
                ])
            let expected = ["200 1"] + Array(repeating: "200 0", count: 19)
            #expect(answer.written.split(separator: "\n").map(String.init) == expected)
        }
    }
}
