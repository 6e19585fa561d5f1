// The corners of HTTP/1.1 that clients and origins rely on, carried through unchanged.

import Foundation
import Testing

struct HTTPTests {
    @Test func `the answer to HEAD has the length of the body and no body`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.answering { _ in Answer(200, body: "twelve bytes") })
            let client = try mirror.connect()
            try client.write(mirror.request("HEAD", "/x") + mirror.request("GET", "/x"))
            let head = try client.readResponse(to: "HEAD")
            #expect(head.status == 200)
            #expect(head.head.length == 12)
            #expect(try client.readResponse().text == "twelve bytes")
        }
    }

    @Test(arguments: [204, 304])
    func `an answer without a body is followed by the next`(status: Int) throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering {
                    $0.target == "/x" ? Answer(status, ["ETag: \"e\""]) : Answer(200, body: "next")
                })
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x") + mirror.request("GET", "/y"))
            let empty = try client.readResponse()
            #expect(empty.status == status)
            #expect(empty["ETag"] == "\"e\"")
            #expect(empty["Transfer-Encoding"] == nil)
            if status == 204 { #expect(empty["Content-Length"] == nil) }
            #expect(try client.readResponse().text == "next")
        }
    }

    @Test func `100 Continue is asked of the origin, and not invented`() throws {
        try stage { stage in
            let asked = Gate()
            let origin = try Origin { visit in
                let head = try visit.readHead()
                guard head["Expect"]?.lowercased() == "100-continue" else {
                    throw Failure("the expectation did not arrive")
                }
                try asked.wait("the client got nothing yet")
                try visit.write("HTTP/1.1 100 Continue\r\n\r\n")
                let body = try visit.connection.readBody(head)
                try visit.connection.write(Answer(200, body: body.text).bytes(to: "POST"))
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request("POST", "/x", ["Content-Length: 4", "Expect: 100-continue"]))
            _ = try origin.waitForRequest()
            #expect(!client.isReadable(.after(0)))
            asked.open()
            #expect(try client.readHead()?.startLine.hasPrefix("HTTP/1.1 100 ") == true)
            try client.write("body")
            let response = try client.readResponse()
            #expect(response.status == 200)
            #expect(response.text == "body")
        }
    }

    @Test func `an expectation that the origin refuses costs no upload`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                Origin { visit in
                    _ = try visit.readHead()
                    try visit.connection.write(
                        Answer(417, body: "no", closes: true).bytes(to: "POST"))
                })
            let client = try mirror.connect()
            try client.write(
                mirror.request("POST", "/x", ["Content-Length: 4", "Expect: 100-continue"]))
            let response = try client.readResponse()
            #expect(response.status == 417)
            #expect(response.interim.isEmpty)
            #expect(response.text == "no")
        }
    }

    @Test func `early hints pass`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                while try visit.readRequest() != nil {
                    try visit.write(
                        "HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n")
                    try visit.connection.write(Answer(200, body: "page").bytes(to: "GET"))
                }
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x")
            #expect(response.interim.map { $0["Link"] } == ["</a.css>; rel=preload"])
            #expect(response.text == "page")
        }
    }

    @Test func `trailers pass in both directions`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write(
                    "HTTP/1.1 200 OK\r\nTrailer: X-Sum\r\nTransfer-Encoding: chunked\r\n\r\n"
                        + "4\r\nbody\r\n0\r\nX-Sum: 17\r\nX-Sum: 18\r\n\r\n")
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(
                mirror.request(
                    "POST", "/x", ["Transfer-Encoding: chunked", "Trailer: X-Up", "TE: trailers"],
                    body: "2\r\nup\r\n0\r\nX-Up: 5\r\n\r\n"))
            let response = try client.readResponse()
            #expect(response.text == "body")
            #expect(response.body.trailers.map(\.value) == ["17", "18"])
            let request = try origin.waitForRequest()
            #expect(request.body.text == "up")
            #expect(request.body.trailers.map(\.name) == ["X-Up"])
            #expect(request.body.trailers.map(\.value) == ["5"])
        }
    }

    @Test func `pipelined requests are answered in their order`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let client = try mirror.connect()
            let requests = (0..<30).map { mirror.request("GET", "/\($0)") }
            try client.write(requests.joined())
            for index in 0..<30 {
                let response = try client.readResponse()
                #expect(response.text == "/\(index)")
            }
        }
    }

    @Test func `a client of HTTP 1.0 gets the whole body and the end of the connection`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"
                )
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x", version: "HTTP/1.0"))
            let response = try client.readResponse()
            #expect(response.head["Transfer-Encoding"] == nil)
            #expect(response.text == "onetwo")
            #expect(response.body.isWhole)
            #expect(try client.readToEnd().isEmpty)
        }
    }

    @Test func `a client that says close gets its answer and the end of the connection`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x", ["Connection: close"]))
            let response = try client.readResponse()
            #expect(response.text == "/x")
            #expect(response["Connection"]?.lowercased() == "close")
            #expect(try client.readToEnd().isEmpty)
        }
    }

    @Test func `an answer that ends with the origin's connection is whole for the client`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.0 200 OK\r\n\r\nuntil the end")
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/x") + mirror.request("GET", "/x"))
            for _ in 0..<2 {
                let response = try client.readResponse()
                #expect(response.text == "until the end")
                #expect(response.body.isWhole)
            }
        }
    }

    @Test func `fields pass in their order, repeated and with every legal byte`() throws {
        try stage { stage in
            let legal = String(decoding: (33...126).map { UInt8($0) }, as: UTF8.self) + " \t é"
            let origin = try Origin.answering { request in
                Answer(
                    299,
                    [
                        "Set-Cookie: a=1", "Set-Cookie: b=2",
                        "X-Back: " + (request.head["X-There"] ?? ""),
                    ])
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x", ["X-There: \(legal)", "X-Two: 1", "X-Two: 2"])
            #expect(response.status == 299)
            #expect(response.head.startLine == "HTTP/1.1 299 As Asked")
            #expect(response.head.all("Set-Cookie") == ["a=1", "b=2"])
            #expect(response["X-Back"] == legal)
            #expect(try origin.waitForRequest().head.all("X-Two") == ["1", "2"])
        }
    }

    @Test(arguments: ["PATCH", "DELETE", "OPTIONS", "PROPFIND", "x-own!method"])
    func `any method passes`(method: String) throws {
        try stage { stage in
            let mirror = try stage.mirror(.answering { Answer(200, body: $0.method) })
            #expect(try mirror.ask(method, "/x").text == method)
        }
    }

    @Test func `a target in absolute form is a path of its host`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(
                mirror.relay, "http://relay.test/m/alice/prom/x?y", [bearer(mirror.clientKey)])
            #expect(response.text == "/x?y")
        }
    }

    @Test func `bytes of a packed answer are left alone`() throws {
        try stage { stage in
            let bytes = (0..<5000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            let origin = try Origin.answering { request in
                Answer(
                    200, ["Content-Encoding: \(request.head["Accept-Encoding"] ?? "none")"],
                    bytes: bytes)
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x", ["Accept-Encoding: br"])
            #expect(response["Content-Encoding"] == "br")
            #expect(response.body.bytes == bytes)
        }
    }
}
