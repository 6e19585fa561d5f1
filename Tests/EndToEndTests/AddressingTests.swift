// How a request finds its mirror, and what the origin sees of the way it came.

import Foundation
import Testing

struct AddressingTests {
    @Test(arguments: [
        (
            "/api/v1/query?query=up%7Bjob%3D%22a%22%7D&x=%20",
            "/api/v1/query?query=up%7Bjob%3D%22a%22%7D&x=%20"
        ),
        ("/", "/"), ("/?", "/?"), ("/a//b/", "/a//b/"), ("/%C3%A9/%2F", "/%C3%A9/%2F"),
        ("/m/alice/prom/x", "/m/alice/prom/x"), ("/*;a=b:c@d!$&'()+,", "/*;a=b:c@d!$&'()+,"),
    ])
    func `path and query reach the origin as they were written`(path: String, seen: String) throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get(path).text == seen)
        }
    }

    @Test func `the prefix of the origin's address stands before the path`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let mirror = try stage.mirror(local: origin.url + "/prometheus")
            #expect(
                try mirror.get("/api/v1/query?query=1").text == "/prometheus/api/v1/query?query=1")
        }
    }

    @Test(arguments: ["/a/../b", "/%2e%2e/b", "/a%2f..%2fb"])
    func `nothing climbs out of the prefix of the origin's address`(path: String) throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let mirror = try stage.mirror(local: origin.url + "/prometheus")
            #expect(try mirror.get(path).status == 403)
            #expect(origin.requests.isEmpty)
        }
    }

    @Test(arguments: [
        ("Location: /graph?a=b", "Location", "/m/alice/prom/graph?a=b"),
        ("Location: /m/alice/prom/graph", "Location", "/m/alice/prom/graph"),
        ("Location: /m/alice/prometheus", "Location", "/m/alice/prom/m/alice/prometheus"),
        ("Location: relative", "Location", "relative"),
        ("Location: //other.test/x", "Location", "//other.test/x"),
        ("Location: https://other.test/x", "Location", "https://other.test/x"),
        ("Set-Cookie: a=b; Path=/; HttpOnly", "Set-Cookie", "a=b; Path=/m/alice/prom/; HttpOnly"),
        ("Set-Cookie: a=/x; path=/m/alice/prom/y", "Set-Cookie", "a=/x; Path=/m/alice/prom/y"),
        ("Set-Cookie: path=/x", "Set-Cookie", "path=/x"),
    ])
    func `locations and cookie paths are mapped back under the mirror`(
        field: String, name: String, mapped: String
    ) throws {
        try stage { stage in
            let mirror = try stage.mirror(.answering { _ in Answer(302, [field], body: "") })
            #expect(try mirror.get("/x")[name] == mapped)
        }
    }

    @Test func `a location that names the host that was asked is mapped too`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering {
                    Answer(302, ["Location: http://\($0.head["Host"] ?? "")/login"], body: "")
                })
            #expect(try mirror.get("/x")["Location"] == "/m/alice/prom/login")
        }
    }

    @Test func `a name of the domain is a mirror with its whole path`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "domain = relay.test\n")
            func text(_ host: String) throws -> Response {
                let client = try mirror.connect()
                try client.write(
                    "GET /m/x?y HTTP/1.1\r\nHost: \(host)\r\n\(bearer(mirror.clientKey))\r\n\r\n")
                return try client.readResponse()
            }
            #expect(try text("prom--alice.relay.test").text == "/m/x?y")
            #expect(try text("PROM--alice.Relay.Test:8443").text == "/m/x?y")
            #expect(try text("porm--alice.relay.test").status == 404)
            #expect(try text("prom--alice.elsewhere.test").status == 404)
            #expect(try origin.waitForRequest().head["Host"] == "prom--alice.relay.test")
        }
    }

    @Test func `a host name of the configuration is a mirror`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(),
                relay: "[mirror alice/prom]\nhosts = prometheus.example.com, p.example.com\n")
            for host in ["prometheus.example.com", "p.example.com:443"] {
                let client = try mirror.connect()
                try client.write(
                    "GET /x HTTP/1.1\r\nHost: \(host)\r\n\(bearer(mirror.clientKey))\r\n\r\n")
                #expect(try client.readResponse().text == "/x")
            }
        }
    }

    @Test func `the origin is told who asked and how, and is not lied to`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let response = try mirror.get(
                "/x",
                [
                    "X-Forwarded-For: 6.6.6.6", "X-Forwarded-Proto: https",
                    "X-Forwarded-Host: evil.test", "Forwarded: for=6.6.6.6",
                    "X-Forwarded-Prefix: /evil",
                    "Connection: X-Hop", "X-Hop: 1", "X-End: 2", "Proxy-Connection: keep-alive",
                ])
            #expect(response.status == 200)
            let head = try origin.waitForRequest().head
            #expect(head.all("X-Forwarded-For") == ["127.0.0.1"])
            #expect(head.all("X-Forwarded-Proto") == ["http"])
            #expect(head.all("X-Forwarded-Host") == ["relay.test"])
            #expect(head.all("X-Forwarded-Prefix") == ["/m/alice/prom"])
            #expect(head.all("Forwarded").allSatisfy { !$0.contains("6.6.6.6") })
            #expect(head.all("Host") == ["relay.test"])
            #expect(head["Via"] != nil)
            #expect(head["X-Request-Id"] != nil)
            #expect(head["X-Hop"] == nil)
            #expect(head["Proxy-Connection"] == nil)
            #expect(head["X-End"] == "2")
        }
    }

    @Test func `a request id is kept, and stands in the log`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            _ = try mirror.get("/x", ["X-Request-Id: my-own-id-17"])
            #expect(try origin.waitForRequest().head.all("X-Request-Id") == ["my-own-id-17"])
            try mirror.relay.program.expectLog("the request id") { $0.contains("my-own-id-17") }
        }
    }

    @Test(arguments: [
        ("preserve", "relay.test"), ("local", "LOCAL"), ("grafana.lan", "grafana.lan"),
    ])
    func `the host that the origin sees can be chosen`(option: String, expected: String) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, agent: ["--host-header", option])
            _ = try mirror.get("/x")
            let host = try origin.waitForRequest().head["Host"]
            #expect(host == (expected == "LOCAL" ? "127.0.0.1:\(origin.port)" : expected))
        }
    }

    @Test func `a client can list the mirrors that its key may use`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(mirror.relay, "/api/v1/mirrors", [bearer(mirror.clientKey)])
            #expect(response.status == 200)
            #expect(response["Content-Type"]?.hasPrefix("application/json") == true)
            #expect(response.text.contains(#""name":"prom""#))
            #expect(response.text.contains(#""user":"alice""#))
            #expect(try ask(mirror.relay, "/api/v1/mirrors").status == 401)
        }
    }

    @Test(arguments: ["/", "/m", "/m/", "/m/alice", "/m/alice/", "/nothing", "/m//prom/x"])
    func `what is nowhere is not found`(path: String) throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(mirror.relay, path, [bearer(mirror.clientKey)])
            expectProblem(response, 404, "destination_not_found")
        }
    }
}
