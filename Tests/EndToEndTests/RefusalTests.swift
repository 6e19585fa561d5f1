// Requests that the relay refuses by itself. None of them may reach the origin.

import Foundation
import Testing

/// A request of a client with a valid key, in which `KEY` stands for its Authorization field.
struct Refused: Sendable, CustomTestStringConvertible {
    let testDescription: String
    let text: String
    var status = 400
}

private let start = "GET /m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n"
private let post = "POST /m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n"

private let refused: [Refused] = [
    Refused(testDescription: "no host", text: "GET /m/alice/prom/x HTTP/1.1\r\nKEY\r\n\r\n"),
    Refused(testDescription: "two hosts", text: start + "Host: b\r\n\r\n"),
    Refused(testDescription: "a space before the colon", text: start + "X : y\r\n\r\n"),
    Refused(testDescription: "a folded line", text: start + "X: y\r\n z\r\n\r\n"),
    Refused(testDescription: "a bare LF", text: start + "X: y\nZ: z\r\n\r\n"),
    Refused(testDescription: "a bare CR", text: start + "X: y\rz\r\n\r\n"),
    Refused(testDescription: "a NUL in a value", text: start + "X: y\0z\r\n\r\n"),
    Refused(testDescription: "a line without a colon", text: start + "nonsense\r\n\r\n"),
    Refused(testDescription: "an empty name", text: start + ": x\r\n\r\n"),
    Refused(testDescription: "no version", text: "GET /m/alice/prom/x\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a space in the target",
        text: "GET /m/alice/prom/x y HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(testDescription: "a handshake of TLS", text: "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0\r\n\r\n"),
    Refused(
        testDescription: "both framings",
        text: post + "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Refused(
        testDescription: "two lengths",
        text: post + "Content-Length: 1\r\nContent-Length: 1\r\n\r\na"),
    Refused(testDescription: "a list of lengths", text: post + "Content-Length: 1, 1\r\n\r\na"),
    Refused(testDescription: "a signed length", text: post + "Content-Length: +1\r\n\r\na"),
    Refused(
        testDescription: "a length beyond all",
        text: post + "Content-Length: 99999999999999999999\r\n\r\n"),
    Refused(
        testDescription: "chunked that is not last",
        text: post + "Transfer-Encoding: chunked, gzip\r\n\r\n0\r\n\r\n"),
    Refused(
        testDescription: "chunked with HTTP/1.0",
        text: "POST /m/alice/prom/x HTTP/1.0\r\nHost: a\r\nKEY\r\n"
            + "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    Refused(
        testDescription: "a transfer coding nobody knows",
        text: post + "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", status: 501),
    Refused(testDescription: "a list of two lengths", text: post + "Content-Length: 5,5\r\n\r\n"),
    Refused(
        testDescription: "two different lengths",
        text: post + "Content-Length: 1\r\nContent-Length: 2\r\n\r\na"),
    Refused(testDescription: "a hexadecimal length", text: post + "Content-Length: 0x5\r\n\r\n"),
    Refused(testDescription: "a negative length", text: post + "Content-Length: -1\r\n\r\n"),
    Refused(testDescription: "an octal length", text: post + "Content-Length: 05\r\n\r\n"),
    Refused(testDescription: "an empty length", text: post + "Content-Length:\r\n\r\n"),
    Refused(testDescription: "a broken length", text: post + "Content-Length: 5 5\r\n\r\n"),
    Refused(testDescription: "a quoted length", text: post + "Content-Length: \"5\"\r\n\r\n"),
    Refused(testDescription: "a length with a point", text: post + "Content-Length: 5.0\r\n\r\n"),
    Refused(testDescription: "a length of other digits", text: post + "Content-Length: ٣\r\n\r\n"),
    Refused(
        testDescription: "a length on GET that is malformed",
        text: start + "Content-Length: 5,\r\n\r\n"),
    Refused(
        testDescription: "both framings, the other way round",
        text: post + "Transfer-Encoding: chunked\r\nContent-Length: 0\r\n\r\n0\r\n\r\n"),
    Refused(
        testDescription: "chunked in two lines",
        text: post + "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Refused(
        testDescription: "identity and chunked in two lines",
        text: post + "Transfer-Encoding: identity\r\nTransfer-Encoding: chunked\r\n\r\n"),
    Refused(testDescription: "identity", text: post + "Transfer-Encoding: identity\r\n\r\n"),
    Refused(testDescription: "an empty coding", text: post + "Transfer-Encoding:\r\n\r\n"),
    Refused(
        testDescription: "nearly chunked", text: post + "Transfer-Encoding: xchunked\r\n\r\n"),
    Refused(
        testDescription: "chunked with a parameter",
        text: post + "Transfer-Encoding: chunked;q=1\r\n\r\n"),
    Refused(
        testDescription: "chunked in quotes", text: post + "Transfer-Encoding: \"chunked\"\r\n\r\n"),
    Refused(
        testDescription: "chunked behind a vertical tab",
        text: post + "Transfer-Encoding: \u{b}chunked\r\n\r\n"),
    Refused(
        testDescription: "chunked twice",
        text: post + "Transfer-Encoding: chunked, chunked\r\n\r\n",
        status: 501),
    Refused(
        testDescription: "a coding on GET", text: start + "Transfer-Encoding: gzip\r\n\r\n"),
    Refused(
        testDescription: "a coding whose name has a blank behind it",
        text: post + "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"),
    Refused(
        testDescription: "a folded coding",
        text: post + "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n"),
    Refused(testDescription: "a tab before the colon", text: start + "X\t: y\r\n\r\n"),
    Refused(
        testDescription: "a first line that is folded",
        text: "GET /m/alice/prom/x HTTP/1.1\r\n Host: a\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(testDescription: "a line of blanks", text: start + "   \r\n\r\n"),
    Refused(testDescription: "two CRs", text: start + "X: y\r\r\n\r\n"),
    Refused(testDescription: "an end of two LFs", text: start + "X: y\n\n"),
    Refused(
        testDescription: "a bare LF behind the request line",
        text: "GET /m/alice/prom/x HTTP/1.1\nHost: a\r\nKEY\r\n\r\n"),
    Refused(testDescription: "a NUL in a name", text: start + "X\0Y: z\r\n\r\n"),
    Refused(testDescription: "a parenthesis in a name", text: start + "X(): z\r\n\r\n"),
    Refused(testDescription: "a name that is not ASCII", text: start + "Xé: z\r\n\r\n"),
    Refused(testDescription: "a DEL in a value", text: start + "X: \u{7f}\r\n\r\n"),
    Refused(testDescription: "an escape in a value", text: start + "X: \u{1b}[31m\r\n\r\n"),
    Refused(testDescription: "two hosts that are the same", text: start + "Host: a\r\n\r\n"),
    Refused(
        testDescription: "another host than the target's",
        text: "GET http://b/m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "another port than the target's",
        text: "GET http://a:1/m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a user in the target",
        text: "GET http://u@a/m/alice/prom/x HTTP/1.1\r\nHost: u@a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a host with a path",
        text: "GET /m/alice/prom/x HTTP/1.1\r\nHost: a/b\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a list of hosts",
        text: "GET /m/alice/prom/x HTTP/1.1\r\nHost: a, b\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a host with a port that is none",
        text: "GET /m/alice/prom/x HTTP/1.1\r\nHost: a:b\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a host longer than a name can be",
        text: "GET /m/alice/prom/x HTTP/1.1\r\nHost: \(String(repeating: "a", count: 262))\r\n"
            + "KEY\r\n\r\n"),
    Refused(
        testDescription: "a fragment in the target",
        text: "GET /m/alice/prom/x#y HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a target that is not ASCII",
        text: "GET /m/alice/prom/é HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a tab in the request line",
        text: "GET\t/m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "two spaces in the request line",
        text: "GET  /m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a space at the end of the request line",
        text: "GET /m/alice/prom/x HTTP/1.1 \r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a space before the request line",
        text: " GET /m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a version in small letters",
        text: "GET /m/alice/prom/x http/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a version of two digits",
        text: "GET /m/alice/prom/x HTTP/1.10\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "an asterisk for GET",
        text: "GET * HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a target that is neither path nor URL",
        text: "GET m/alice/prom/x HTTP/1.1\r\nHost: a\r\nKEY\r\n\r\n"),
    Refused(
        testDescription: "a tunnel",
        text: "CONNECT a:80 HTTP/1.1\r\nHost: a:80\r\nKEY\r\n\r\n", status: 501),
    Refused(
        testDescription: "HTTP/2.0 without its preface",
        text: "GET /m/alice/prom/x HTTP/2.0\r\nHost: a\r\nKEY\r\n\r\n", status: 505),
    Refused(
        testDescription: "a target of more than 16 KiB",
        text: "GET /m/alice/prom/\(String(repeating: "x", count: 16 * 1024)) HTTP/1.1\r\n"
            + "Host: a\r\nKEY\r\n\r\n", status: 414),
    Refused(
        testDescription: "a field of more than 32 KiB",
        text: start + "X: \(String(repeating: "x", count: 32 * 1024))\r\n\r\n", status: 431),
    Refused(
        testDescription: "more than 128 fields",
        text: start + (0..<127).map { "X-\($0): y\r\n" }.joined() + "\r\n", status: 431),
]

struct RefusalTests {
    @Test(arguments: refused)
    func `a request that breaks HTTP is refused, and the connection closed`(
        refused: Refused
    ) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            let text = refused.text.replacingOccurrences(of: "KEY", with: bearer(mirror.clientKey))
            // All that follows must not be taken for a second request.
            try client.write(text + "GET /m/alice/prom/smuggled HTTP/1.1\r\nHost: a\r\n\r\n")
            let response = try client.readResponse()
            expectProblem(response, refused.status, "http_request_error")
            #expect(response["Connection"] == "close")
            #expect(try client.readToEnd().isEmpty)
            #expect(origin.accepted == 0)
            try mirror.relay.expectLine(status: refused.status, error: "http_request_error")
        }
    }

    /// What stands behind a first good chunk.
    static let brokenChunks = [
        "+1\r\na\r\n0\r\n\r\n", "-1\r\na\r\n0\r\n\r\n", " 1\r\na\r\n0\r\n\r\n",
        "1 \r\na\r\n0\r\n\r\n", "0x1\r\na\r\n0\r\n\r\n", "\r\na\r\n0\r\n\r\n",
        ";x\r\na\r\n0\r\n\r\n", "1g\r\na\r\n0\r\n\r\n", "1,1\r\na\r\n0\r\n\r\n",
        "10000000000000001\r\na\r\n0\r\n\r\n", "ffffffffffffffff\r\na\r\n0\r\n\r\n",
        "0000000000000001\r\na\r\n0\r\n\r\n", "1\na\r\n0\r\n\r\n", "1\ra\r\n0\r\n\r\n",
        "1;x\na\r\n0\r\n\r\n", "1;x\ry\r\na\r\n0\r\n\r\n", "1;\0\r\na\r\n0\r\n\r\n",
        "1;\(String(repeating: "x", count: 1025))\r\na\r\n0\r\n\r\n",
        "1\r\nab\r\n0\r\n\r\n", "1\r\na0\r\n\r\n", "1\r\na\n0\r\n\r\n", "1\r\na\r0\r\n\r\n",
        "0\r\nX : y\r\n\r\n", "0\r\nX: y\r\n z\r\n\r\n", "0\r\nX: y\n\r\n", "0\r\nX: \0\r\n\r\n",
        "0\r\nnonsense\r\n\r\n", "0\r\nX: \(String(repeating: "x", count: 9000))\r\n\r\n",
    ]

    @Test(arguments: brokenChunks)
    func `a broken chunk is refused, and the origin never sees a whole body`(
        chunk: String
    ) throws {
        try stage { stage in
            let origin = try Origin { visit in while try visit.readRequest() != nil {} }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            let smuggled = mirror.request("GET", "/smuggled")
            try client.write(
                mirror.request(
                    "POST", "/x", ["Transfer-Encoding: chunked"],
                    body: "3\r\none\r\n" + chunk + smuggled))
            let response = try client.readResponse()
            expectProblem(response, 400, "http_request_error")
            #expect(response["Connection"] == "close")
            #expect(try client.readToEnd().isEmpty)
            #expect(origin.waitForEnded(origin.accepted))
            #expect(origin.requests.allSatisfy { !$0.body.isWhole && $0.target == "/x" })
            try mirror.relay.expectLine(status: 400, error: "http_request_error")
        }
    }

    @Test func `a request at the limits passes`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            // The head that the agent and the origin see has further fields and is longer.
            let target = "/" + String(repeating: "x", count: 15 * 1024)
            let fields = (0..<100).map { "X-\($0): " + String(repeating: "y", count: 100) }
            let response = try mirror.get(target, fields)
            #expect(response.status == 200)
            #expect(response.text == target)
        }
    }

    @Test func `a broken chunk in a request ends it, and never as if it were whole`() throws {
        try stage { stage in
            let origin = try Origin { visit in _ = try visit.readRequest() }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request(
                    "POST", "/x", ["Transfer-Encoding: chunked"], body: "3\r\none\r\nxyz\r\n"))
            let response = try client.readResponse()
            expectProblem(response, 400, "http_request_error")
            #expect(origin.waitForEnded(origin.accepted))
            #expect(origin.requests.allSatisfy { !$0.body.isWhole })
        }
    }

    @Test func `a head that does not come to its end in time is refused`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), relay: "head-timeout = 1s\n")
            let client = try mirror.connect()
            try client.write("GET /m/alice/prom/x HTTP/1.1\r\nHost:")
            expectProblem(try client.readResponse(), 408, "http_request_error")
            #expect(try client.readToEnd().isEmpty)
        }
    }

    @Test func `a connection on which nothing is asked is closed without a word`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget(), relay: "idle-timeout = 1s\n")
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            #expect(try client.readResponse().status == 200)
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .closed)
        }
    }

    @Test func `an upload slower than the least rate is given up`() throws {
        try stage { stage in
            let origin = try Origin { visit in _ = try visit.readRequest() }
            let mirror = try stage.mirror(
                origin, relay: "minimum-rate = 500\nminimum-rate-after = 1s\n")
            let client = try mirror.connect()
            try client.write(mirror.request("POST", "/x", ["Content-Length: 1000"], body: "slow"))
            expectProblem(try client.readResponse(), 408, "http_request_error")
            #expect(origin.waitForEnded(1))
        }
    }

    @Test func `a browser is shown a page, and a program a problem`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let page = try ask(
                mirror.relay, mirror.path("/x"),
                ["Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"])
            #expect(page.status == 401)
            #expect(page["Content-Type"]?.hasPrefix("text/html") == true)
            #expect(page["Proxy-Status"]?.hasPrefix("magicmirrord; error=") == true)
            for accept in ["*/*", "application/json", "application/json, text/html;q=0.5"] {
                let problem = try ask(mirror.relay, mirror.path("/x"), ["Accept: \(accept)"])
                expectProblem(problem, 401, "http_request_denied")
            }
        }
    }

    @Test func `an answer to HEAD has the head of the problem and no body`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let client = try mirror.connect()
            try client.write(
                "HEAD /m/alice/nobody/x HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
            let response = try client.readResponse(to: "HEAD")
            #expect(response.status == 401)
            #expect(try client.readToEnd().isEmpty)
        }
    }

    @Test func `bytes of a request can't forge a line of the log`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            _ = try mirror.get("/%0aSTATUS=599%20ERROR=forged\"\\\u{e9}")
            _ = try mirror.get("/x?y=%0d%0aforged", ["User-Agent: a\u{9b}31mforged\tSTATUS=598"])
            try mirror.relay.expectLine(status: 200)
            let lines = mirror.relay.program.log.lines
            #expect(!lines.contains { $0.hasPrefix("forged") || $0.contains(" STATUS=598") })
            #expect(!lines.contains { $0.contains(" STATUS=599") })
            #expect(
                !lines.contains { $0.unicodeScalars.contains { $0.value < 32 || $0.value == 0x9b } }
            )
        }
    }
}
