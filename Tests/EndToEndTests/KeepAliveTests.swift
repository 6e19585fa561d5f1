// Connections are kept: the client's to the relay, and the agent's to the origin.

import Foundation
import Testing

struct KeepAliveTests {
    // An answer may be with its client a moment before the connection that brought it is free: the
    // next request may then find none and open a second one, but hardly a third.

    @Test func `requests one after the other share their connection to the origin`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for index in 0..<50 {
                try client.write(mirror.request(index % 2 == 0 ? "GET" : "POST", "/\(index)"))
                #expect(try client.readResponse().text == "/\(index)")
            }
            #expect(origin.accepted <= 3)
        }
    }

    @Test func `connections to the origin are kept for other clients`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            for index in 0..<50 { #expect(try mirror.get("/\(index)").text == "/\(index)") }
            #expect(origin.accepted <= 3)
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

    @Test func `a request that changes something is never sent twice`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                // The request for /2 is read and never answered, on whichever connection it comes.
                while let request = try visit.readRequest(), request.target != "/2" {
                    try visit.connection.write(Answer(200, body: "1").bytes(to: request.method))
                }
            }
            let mirror = try stage.mirror(origin)
            #expect(try mirror.ask("POST", "/1").status == 200)
            #expect(try mirror.ask("POST", "/2").status == 502)
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
