// How a conversation in HTTP/1.1 goes on: early answers, interim ones, pipelines, old clients, the
// end of connections. What single messages carry is in HTTPTests.

import Foundation
import Testing

struct ConversationTests {
    // MARK: - Bodies of requests

    @Test func `an expectation goes to the origin, and the connection goes on after it`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while true {
                    let head = try visit.readHead()
                    if head["Expect"] != nil { try visit.write("HTTP/1.1 100 Continue\r\n\r\n") }
                    let body = try visit.connection.readBody(head)
                    try visit.connection.write(Answer(200, body: body.text).bytes(to: "POST"))
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for body in ["first", "second"] {
                try client.write(
                    mirror.request(
                        "POST", "/x", ["Content-Length: \(body.count)", "Expect: 100-continue"]))
                #expect(try client.readHead()?.startLine.hasPrefix("HTTP/1.1 100 ") == true)
                try client.write(body)
                let response = try client.readResponse()
                #expect(response.text == body)
                #expect(response["Connection"] == nil)
            }
        }
    }

    @Test func `curl waits for the origin's word before it uploads`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                let head = try visit.readHead()
                if head["X-Refuse"] != nil {
                    try visit.connection.write(
                        Answer(413, body: "no", closes: true).bytes(to: "PUT"))
                    return try visit.waitForEnd()
                }
                try visit.write("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try visit.connection.readBody(head)
                try visit.connection.write(
                    Answer(200, body: "\(body.bytes.count)", closes: true).bytes(to: "PUT"))
            }
            let mirror = try stage.mirror(origin)
            let file = try stage.sparseFile("large", size: 4 * 1024 * 1024)
            let put = { (fields: [String]) in
                try stage.curl(
                    mirror.relay, mirror.path("/x"), key: mirror.clientKey.secret,
                    [
                        "--upload-file", file, "--expect100-timeout", "60", "--header",
                        "Expect: 100-continue", "--write-out", "%{stderr}%{size_upload}",
                    ] + fields)
            }
            let taken = try put([])
            #expect(taken.text == "\(4 * 1024 * 1024)", "\(taken.error)")
            let refused = try put(["--header", "X-Refuse: yes"])
            #expect(refused.status == 413)
            #expect(refused.exit == .code(0))
            #expect(refused.error == "0", "nothing was uploaded: \(refused.error)")
            #expect(refused["Connection"] == "close")
        }
    }

    @Test(arguments: [false, true])
    func `an early answer reaches a client that goes on uploading`(isChunked: Bool) throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readHead()
                try visit.connection.write(
                    Answer(403, body: "enough", closes: true).bytes(to: "POST"))
                // As a server should: it reads on for a while (RFC 9112 §9.6).
                visit.connection.shutdownWriting()
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            let piece = String(repeating: "x", count: 64 * 1024)
            try client.write(
                mirror.request(
                    "POST", "/x",
                    [isChunked ? "Transfer-Encoding: chunked" : "Content-Length: 1000000000"]))
            // More than all buffers on the way hold; the relay takes it, and throws it away.
            for _ in 0..<64 {
                if isChunked { try client.writeChunk(piece) } else { try client.write(piece) }
            }
            let response = try client.readResponse()
            #expect(response.status == 403)
            #expect(response.text == "enough")
            #expect(response["Connection"] == "close")
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .closed, "ended in order, not reset")
            try mirror.relay.expectLine(status: 403)
        }
    }

    @Test func `requests with bodies may stand in a row`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering { Answer(200, body: $0.target + $0.body.text) })
            let client = try mirror.connect()
            let get = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            let requests = [
                mirror.request("POST", "/1", ["Content-Length: 3"], body: "one"),
                mirror.request("POST", "/2", ["Content-Length: 0"]),
                mirror.request(
                    "PUT", "/3", ["Transfer-Encoding: chunked"],
                    body: "3;x=y\r\ntwo\r\n00002\r\n33\r\n0\r\n\r\n"),
                // A body that looks like a request is a body.
                mirror.request("POST", "/4", ["Content-Length: \(get.utf8.count)"], body: get),
                mirror.request("GET", "/5", ["Content-Length: 4"], body: "five"),
                "\r\n" + mirror.request("GET", "/6"),
                mirror.request(
                    "POST", "/7", ["Transfer-Encoding: CHUNKED"],
                    body: "A\r\n0123456789\r\n0\r\n\r\n"),
            ]
            try client.write(requests.joined())
            for text in ["/1one", "/2", "/3two33", "/4" + get, "/5five", "/6", "/70123456789"] {
                #expect(try client.readResponse().text == text)
            }
        }
    }

    // MARK: - Interim answers

    @Test func `several interim answers pass in their order, none to a client of HTTP 1.0`() throws
    {
        try stage { stage in
            let origin = try Origin { visit in
                while try visit.readRequest() != nil {
                    for link in 1...3 {
                        try visit.write(
                            "HTTP/1.1 103 Early Hints\r\nLink: <\(link)>\r\nContent-Length: 0\r\n\r\n"
                        )
                    }
                    try visit.write("HTTP/1.1 102 Processing\r\n\r\n")
                    // To a client that did not ask for it: nobody's business.
                    try visit.write("HTTP/1.1 100 Continue\r\n\r\n")
                    try visit.connection.write(Answer(200, body: "page").bytes(to: "GET"))
                }
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x")
            #expect(response.interim.map { $0["Link"] } == ["<1>", "<2>", "<3>", nil])
            #expect(response.interim.allSatisfy { $0["Content-Length"] == nil })
            #expect(response.text == "page")
            let old = try mirror.connect()
            try old.write(
                mirror.request(
                    "POST", "/x", ["Expect: 100-continue", "Content-Length: 1"], body: "a",
                    version: "HTTP/1.0"))
            let answer = try old.readResponse()
            #expect(answer.interim.isEmpty)
            #expect(answer.text == "page")
            let request = try origin.waitForRequest { $0.method == "POST" }
            #expect(request.head["Expect"] == nil)
        }
    }

    @Test func `an origin that never stops with interim answers is given up`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                while true { try visit.write("HTTP/1.1 103 Early Hints\r\n\r\n") }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x"))
            let response = try client.readResponse()
            expectProblem(response, 502, "http_protocol_error")
            #expect(response.interim.count <= 15)
        }
    }

    // MARK: - Answers without a body

    @Test func `304 keeps the length of what it stands for, 204 has none`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    let status = request.target == "/304" ? "304 Not Modified" : "204 No Content"
                    let length = request.target == "/304" ? 12345 : 0
                    try visit.write("HTTP/1.1 \(status)\r\nContent-Length: \(length)\r\n\r\n")
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request("GET", "/304") + mirror.request("HEAD", "/304")
                    + mirror.request("GET", "/204"))
            for method in ["GET", "HEAD"] {
                let response = try client.readResponse(to: method)
                #expect(response.status == 304)
                #expect(response.head.length == 12345)
            }
            let none = try client.readResponse()
            #expect(none.status == 204)
            #expect(none["Content-Length"] == nil)
            #expect(none["Transfer-Encoding"] == nil)
        }
    }

    @Test func `the answer to HEAD is no body's, whatever its fields say`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    let framing =
                        request.target == "/chunked"
                        ? "Transfer-Encoding: chunked" : "Content-Length: 1000000000000"
                    try visit.write("HTTP/1.1 200 OK\r\n\(framing)\r\n\r\n")
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request("HEAD", "/chunked") + mirror.request("HEAD", "/length"))
            #expect(try client.readResponse(to: "HEAD").status == 200)
            #expect(try client.readResponse(to: "HEAD").head.length == 1_000_000_000_000)
            #expect(origin.accepted == 1, "the origin's connection was kept")
        }
    }

    // MARK: - Trailers

    @Test func `an origin learns whether trailers are welcome, and of those that come`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while try visit.readRequest() != nil {
                    try visit.write(
                        "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                            + "4\r\nbody\r\n0\r\nX-Sum: 17\r\nContent-Length: 9\r\n"
                            + "Set-Cookie: forged=1\r\n\r\n")
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request(
                    "POST", "/te",
                    [
                        "TE: gzip;q=0.5, Trailers", "Connection: TE", "Transfer-Encoding: chunked",
                        "Trailer: X-Up",
                    ],
                    body: "0\r\nX-Up: 5\r\nContent-Length: 9\r\nX-Forwarded-For: 6.6.6.6\r\n\r\n"))
            #expect(try client.readResponse().body.trailers.map(\.name) == ["X-Sum"])
            let request = try origin.waitForRequest { $0.target == "/te" }
            #expect(request.head.all("TE") == ["trailers"])
            #expect(request.head.all("Connection") == ["TE"])
            #expect(request.head["Trailer"] == "X-Up")
            #expect(request.body.trailers.map(\.name) == ["X-Up"])

            try client.write(
                mirror.request("GET", "/none", ["TE: deflate"])
                    + mirror.request("GET", "/old", ["TE: trailers"], version: "HTTP/1.0"))
            #expect(try client.readResponse().text == "body")
            let old = try client.readResponse()
            #expect(old.text == "body")
            #expect(old["Transfer-Encoding"] == nil)
            for path in ["/none", "/old"] {
                let head = try origin.waitForRequest { $0.target == path }.head
                #expect(head["TE"] == nil)
                #expect(head["Connection"] == nil)
            }
        }
    }

    // MARK: - Connections

    @Test func `a client of HTTP 1.0 keeps its connection where it asks for it`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    if request.target == "/chunked" {
                        try visit.write(
                            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nend\r\n0\r\n\r\n"
                        )
                    } else {
                        try visit.connection.write(
                            Answer(200, body: request.target).bytes(to: "GET"))
                    }
                }
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            for path in ["/1", "/2"] {
                try client.write(
                    mirror.request("GET", path, ["Connection: Keep-Alive"], version: "HTTP/1.0"))
                let response = try client.readResponse()
                #expect(response.text == path)
                #expect(response["Connection"] == "keep-alive")
            }
            // Its end cannot be told otherwise.
            try client.write(
                mirror.request("GET", "/chunked", ["Connection: keep-alive"], version: "HTTP/1.0"))
            let response = try client.readResponse()
            #expect(response["Connection"] == "close")
            #expect(response["Transfer-Encoding"] == nil)
            #expect(response.text == "end")
            #expect(client.state == .closed)
        }
    }

    @Test func `each hop's connection ends by its own rules`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering {
                    Answer(
                        200, ["Keep-Alive: timeout=5", "Proxy-Connection: close"], body: $0.target,
                        closes: $0.target == "/close")
                })
            let client = try mirror.connect()
            for path in ["/close", "/close", "/keep"] {
                try client.write(mirror.request("GET", path, ["Keep-Alive: 7"]))
                let response = try client.readResponse()
                #expect(response.text == path)
                for name in ["Connection", "Keep-Alive", "Proxy-Connection"] {
                    #expect(response[name] == nil, "\(name)")
                }
            }
        }
    }

    // MARK: - Targets

    @Test func `OPTIONS of a whole server reaches the origin of a host's mirror`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "domain = relay.test\n")
            let client = try mirror.connect()
            let host = "prom--alice.relay.test"
            for (target, seen) in [
                ("*", "*"), ("http://\(host)", "*"), ("http://\(host)/", "/"),
                ("HTTP://\(host)/x?y", "/x?y"), ("http://\(host)?y", "/?y"),
            ] {
                try client.write(
                    "OPTIONS \(target) HTTP/1.1\r\nHost: \(host)\r\n\(bearer(mirror.clientKey))\r\n\r\n"
                )
                #expect(try client.readResponse().text == seen)
            }
            // Of the relay itself it is nobody's.
            try client.write("OPTIONS * HTTP/1.1\r\nHost: elsewhere.test\r\n\r\n")
            #expect(try client.readResponse().status == 404)
        }
    }

    // MARK: - Bytes

    @Test func `every legal byte of a value passes both ways, and so does an empty one`() throws {
        try stage { stage in
            let legal = Array(UInt8(0x21)...0x7E) + [0x09, 0x20] + Array(UInt8(0x80)...0xFF)
            let value = [0x61] + legal + [0x61]
            let seen = Signalled([UInt8]())
            let origin = try Origin { visit in
                var head: [UInt8] = []
                while !head.suffix(4).elementsEqual([13, 10, 13, 10]) {
                    head += try visit.connection.read(exactly: 1) ?? [13, 10, 13, 10]
                }
                let request = head
                seen.withLock { $0 = request }
                try visit.connection.write(
                    Array("HTTP/1.1 200 ".utf8) + value
                        + Array("\r\nX-Empty:\r\nContent-Length: 0\r\nX-Back: ".utf8) + value
                        + Array("\r\n\r\n".utf8))
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            let head = Array(mirror.request("GET", "/x").utf8.dropLast(2))
            try client.write(
                head + Array("X-Empty:\r\nX-There: ".utf8) + value + Array("\r\n\r\n".utf8))
            var answer: [UInt8] = []
            while !answer.suffix(4).elementsEqual([13, 10, 13, 10]) {
                answer += try #require(try client.read(exactly: 1))
            }
            for (bytes, name) in [(seen.withLock { $0 }, "X-There: "), (answer, "X-Back: ")] {
                let line = Array((name).utf8) + value + [13, 10]
                #expect(Data(bytes).range(of: Data(line)) != nil, "\(name)")
                let text = String(decoding: bytes, as: UTF8.self)
                #expect(text.contains("\r\nX-Empty: \r\n") || text.contains("\r\nX-Empty:\r\n"))
            }
            #expect(answer.starts(with: Array("HTTP/1.1 200 ".utf8) + value + [13, 10]))
        }
    }

    @Test func `long values pass up to the limits of each end`() throws {
        try stage { stage in
            let long = String(repeating: "v", count: 30 * 1024)
            let mirror = try stage.mirror(
                .answering { Answer(200, ["X-Long: " + ($0.head["X-Long"] ?? "")]) })
            let response = try mirror.get("/x", ["X-Long: \(long)"])
            #expect(response.status == 200)
            #expect(response["X-Long"] == long)
        }
    }

    @Test func `a head of the largest size that can be set fits a message with all that is added`()
        throws
    {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(
                origin,
                relay: "maximum-head-bytes = 56KiB\nmaximum-fields = 4096\n"
                    + "trusted-proxies = 0.0.0.0/0\n")
            // Each line grows by a blank on its way, and the names of the proxies are told twice.
            let proxies = (1...99).map { "255.255.255.\($0)" }.joined(separator: ",")
            let host = String(repeating: "h", count: 255) + ":65535"
            let start =
                "GET /m/alice/prom/x HTTP/1.1\r\nHost: \(host)\r\n\(bearer(mirror.clientKey))\r\n"
                + "X-Forwarded-For: \(proxies)\r\nX-Forwarded-Prefix: /\(host.prefix(255))\r\n"
            let lines = (0..<4088).map { _ in "a:b\r\n" }.joined()
            let rest = 56 * 1024 - start.utf8.count - lines.utf8.count - 2 - 6
            let client = try mirror.connect()
            try client.write(
                start + lines + "long:" + String(repeating: "x", count: rest - 1) + "\r\n\r\n")
            // The agent's own limit for what its origin gets is that of a message.
            let response = try client.readResponse()
            #expect(response.status == 200, "\(response.text)")
        }
    }

    @Test(arguments: ["FROBNICATE", "M-SEARCH", "a", "!#$%&'*+-.^_`|~09", "Get"])
    func `an unknown method is the origin's to know`(method: String) throws {
        try stage { stage in
            let mirror = try stage.mirror(.answering { Answer(299, body: $0.method) })
            let response = try mirror.ask(method, "/x")
            #expect(response.status == 299)
            #expect(response.text == method)
        }
    }

    @Test(arguments: [205, 226, 299, 300, 399, 418, 451, 499, 599])
    func `an unknown status is the client's to know`(status: Int) throws {
        try stage { stage in
            let mirror = try stage.mirror(.answering { _ in Answer(status, body: "odd") })
            let response = try mirror.get("/x")
            #expect(response.status == status)
            #expect(response.text == "odd")
        }
    }

    // MARK: - The wrong port

    @Test(arguments: ["GET / HTTP/1.1\r\nHost: a\r\n\r\n", "P", "options * HTTP/1.0\r\n\r\n"])
    func `plain HTTP on a TLS port is told so`(text: String) throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            let client = try Connection.to(port: relay.port)
            try client.write(text)
            let response = try client.readResponse()
            expectProblem(response, 400, "http_request_error")
            #expect(response.text.contains("plain HTTP request was sent to HTTPS port"))
            #expect(try client.readToEnd().isEmpty)
            #expect(client.state == .closed)
            try relay.expectLine(status: 400, error: "http_request_error")
        }
    }
}
