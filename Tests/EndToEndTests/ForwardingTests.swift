// Who asked, and how, as the origin is told it: by the relay alone, or by proxies it trusts.

import Foundation
import Testing

/// What a request says of the way it came, and what is believed of it.
struct Claim: Sendable, CustomTestStringConvertible {
    let testDescription: String
    var fields: [String] = []
    /// Without the peer, which stands at the end.
    var hops: [String] = []
    var scheme = "http"
    var host = "relay.test"
    var prefix = "/m/alice/prom"
}

private let longest = String(repeating: "1", count: 10 * 1024)

private let believed: [Claim] = [
    Claim(testDescription: "no field at all"),
    Claim(
        testDescription: "an address", fields: ["X-Forwarded-For: 192.0.2.7"], hops: ["192.0.2.7"]),
    Claim(
        testDescription: "an address with a port", fields: ["X-Forwarded-For: 192.0.2.7:4711"],
        hops: ["192.0.2.7"]),
    Claim(
        testDescription: "IPv6", fields: ["X-Forwarded-For: 2001:DB8:0::7"],
        hops: ["2001:db8::7"]),
    Claim(
        testDescription: "IPv6 in brackets with a port",
        fields: ["X-Forwarded-For: [2001:db8::7]:4711"], hops: ["2001:db8::7"]),
    Claim(
        testDescription: "IPv4 inside IPv6", fields: ["X-Forwarded-For: ::ffff:192.0.2.7"],
        hops: ["192.0.2.7"]),
    Claim(
        testDescription: "what the client itself claims to the left",
        fields: ["X-Forwarded-For: 6.6.6.6, 192.0.2.7"], hops: ["192.0.2.7"]),
    Claim(
        testDescription: "a row of trusted proxies",
        fields: ["X-Forwarded-For: 6.6.6.6 ,192.0.2.7,  10.1.2.3\t, 10.1.2.4"],
        hops: ["192.0.2.7", "10.1.2.3", "10.1.2.4"]),
    Claim(
        testDescription: "a row in several lines",
        fields: ["X-Forwarded-For: 6.6.6.6, 192.0.2.7", "X-Forwarded-For: 10.1.2.3"],
        hops: ["192.0.2.7", "10.1.2.3"]),
    Claim(
        testDescription: "trusted proxies only", fields: ["X-Forwarded-For: 10.1.2.3, 10.1.2.4"],
        hops: ["10.1.2.3", "10.1.2.4"]),
    Claim(
        testDescription: "more proxies than stand in a row",
        fields: ["X-Forwarded-For: " + (1...99).map { "10.0.0.\($0)" }.joined(separator: ", ")],
        hops: (90...99).map { "10.0.0.\($0)" }),
    Claim(testDescription: "unknown", fields: ["X-Forwarded-For: unknown"]),
    Claim(testDescription: "an obfuscated identifier", fields: ["X-Forwarded-For: _hidden"]),
    Claim(testDescription: "an empty value", fields: ["X-Forwarded-For:"]),
    Claim(testDescription: "an empty element", fields: ["X-Forwarded-For: 192.0.2.7,"]),
    Claim(
        testDescription: "rubbish between addresses",
        fields: ["X-Forwarded-For: 192.0.2.7, rubbish, 10.1.2.3"], hops: ["10.1.2.3"]),
    Claim(testDescription: "half a bracket", fields: ["X-Forwarded-For: [2001:db8::7"]),
    Claim(testDescription: "a quoted string", fields: ["X-Forwarded-For: \"192.0.2.7\""]),
    Claim(testDescription: "a parameter", fields: ["X-Forwarded-For: for=192.0.2.7;proto=https"]),
    Claim(testDescription: "10 KiB", fields: ["X-Forwarded-For: \(longest)"]),
    Claim(
        testDescription: "10 KiB of commas",
        fields: ["X-Forwarded-For: 192.0.2.7" + String(repeating: ",", count: 10 * 1024)]),
    Claim(
        testDescription: "many lines",
        fields: (0..<90).map { _ in "X-Forwarded-For: 6.6.6.6" }, hops: ["6.6.6.6"]),
    Claim(testDescription: "Forwarded", fields: ["Forwarded: for=192.0.2.7;proto=https;host=x"]),
    Claim(testDescription: "https", fields: ["X-Forwarded-Proto: HTTPS"], scheme: "https"),
    Claim(testDescription: "a list of schemes", fields: ["X-Forwarded-Proto: https, http"]),
    Claim(testDescription: "another scheme", fields: ["X-Forwarded-Proto: httpsx"]),
    Claim(
        testDescription: "two schemes",
        fields: ["X-Forwarded-Proto: https", "X-Forwarded-Proto: https"]),
    Claim(
        testDescription: "a host", fields: ["X-Forwarded-Host: public.test:8443"],
        host: "public.test:8443"),
    Claim(testDescription: "two hosts", fields: ["X-Forwarded-Host: a.test, b.test"]),
    Claim(testDescription: "a host that is none", fields: ["X-Forwarded-Host: a\";b"]),
    Claim(testDescription: "a host of 10 KiB", fields: ["X-Forwarded-Host: \(longest)"]),
    Claim(
        testDescription: "a prefix", fields: ["X-Forwarded-Prefix: /mm/"],
        prefix: "/mm/m/alice/prom"),
    Claim(
        testDescription: "a prefix that names a host", fields: ["X-Forwarded-Prefix: //evil.test"]),
    Claim(testDescription: "a prefix that is no path", fields: ["X-Forwarded-Prefix: mm"]),
    Claim(testDescription: "a prefix of odd bytes", fields: ["X-Forwarded-Prefix: /a?b"]),
    Claim(testDescription: "a prefix of 10 KiB", fields: ["X-Forwarded-Prefix: /\(longest)"]),
]

struct ForwardingTests {
    @Test(arguments: believed)
    func `of a trusted proxy what is fit is believed`(claim: Claim) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(
                origin, relay: "trusted-proxies = 127.0.0.1, 10.0.0.0/8\n")
            #expect(try mirror.get("/x", claim.fields).status == 200)
            let head = try origin.waitForRequest().head
            let hops = claim.hops + ["127.0.0.1"]
            #expect(head.all("X-Forwarded-For") == [hops.joined(separator: ", ")])
            #expect(head.all("X-Forwarded-Proto") == [claim.scheme])
            #expect(head.all("X-Forwarded-Host") == [claim.host])
            #expect(head.all("X-Forwarded-Prefix") == [claim.prefix])
            let nodes = hops.map { $0.contains(":") ? "for=\"[\($0)]\"" : "for=\($0)" }
            let first = "\(nodes[0]);proto=\(claim.scheme);host=\"\(claim.host)\""
            #expect(
                head.all("Forwarded") == [([first] + nodes.dropFirst()).joined(separator: ", ")])
            // The client of the log is the client of the fields.
            let line = try mirror.relay.expectLine(status: 200)
            #expect(line.contains(" CLIENT=\(hops[0]) "), "\(line)")
        }
    }

    @Test(arguments: believed)
    func `of anybody else nothing is believed`(claim: Claim) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "trusted-proxies = 10.0.0.0/8, unix\n")
            #expect(try mirror.get("/x", claim.fields).status == 200)
            let head = try origin.waitForRequest().head
            #expect(head.all("X-Forwarded-For") == ["127.0.0.1"])
            #expect(head.all("X-Forwarded-Proto") == ["http"])
            #expect(head.all("X-Forwarded-Host") == ["relay.test"])
            #expect(head.all("X-Forwarded-Prefix") == ["/m/alice/prom"])
            #expect(head.all("Forwarded") == ["for=127.0.0.1;proto=http;host=\"relay.test\""])
            #expect(try mirror.relay.expectLine(status: 200).contains(" CLIENT=127.0.0.1 "))
        }
    }

    @Test func `each request of a connection says its own host and prefix`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let second = try stage.addKey(role: "agent", name: "graf")
            let mirror = try stage.mirror(origin, relay: "domain = relay.test\n")
            try stage.agent(mirror.relay, key: second.secret, name: "graf", local: origin.url)
            // By path and by host name.
            let asked = [
                ("a.test", "/m/alice/prom"), ("b.test", "/m/alice/prom"),
                ("b.test", "/m/alice/graf"), ("prom--alice.relay.test", ""),
                ("graf--alice.relay.test", ""),
            ]
            let client = try mirror.connect()
            // Each behind each other one, and behind itself.
            let pairs = asked.flatMap { one in asked.flatMap { [one, $0, $0] } }
            for (number, (host, prefix)) in pairs.enumerated() {
                let target = "/\(number)"
                try client.write(
                    "GET \(prefix)\(target) HTTP/1.1\r\nHost: \(host)\r\n"
                        + "\(bearer(mirror.clientKey))\r\n\r\n")
                #expect(try client.readResponse().text == target)
                let head = try origin.waitForRequest { $0.target == target }.head
                #expect(head.all("X-Forwarded-Host") == [host])
                #expect(head.all("X-Forwarded-Prefix") == (prefix.isEmpty ? [] : [prefix]))
                #expect(head.all("Forwarded") == ["for=127.0.0.1;proto=http;host=\"\(host)\""])
            }
        }
    }

    @Test func `what else proxies say is dropped too, but from a trusted one`() throws {
        try stage { stage in
            let names = [
                "X-Real-IP", "X-Forwarded-Port", "X-Forwarded-Server", "X-Forwarded-Ssl",
                "X-Forwarded-Scheme",
            ]
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            _ = try mirror.get("/x", names.map { "\($0): forged" })
            let head = try origin.waitForRequest().head
            for name in names { #expect(head[name] == nil, "\(name)") }
        }
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "trusted-proxies = 127.0.0.1\n")
            _ = try mirror.get("/x", ["X-Real-IP: 192.0.2.7", "X-Forwarded-Port: 443"])
            let head = try origin.waitForRequest().head
            #expect(head["X-Real-IP"] == "192.0.2.7")
            #expect(head["X-Forwarded-Port"] == "443")
        }
    }

    @Test func `a client of IPv6 is named in brackets and quotes`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay(listen: ["127.0.0.1:0", "[::1]:0"])
            let agent = try stage.startAgent(relay, key: agentKey.secret, local: origin.url)
            _ = try agent.expectReady("ready mirror=prom ")
            let answer = try stage.curl(
                "http://\(relay.addresses[1])/m/alice/prom/x",
                ["--header", bearer(clientKey), "--header", "Host: relay.test"])
            #expect(answer.status == 200)
            let head = try origin.waitForRequest().head
            #expect(head.all("X-Forwarded-For") == ["::1"])
            #expect(
                head.all("Forwarded") == ["for=\"[::1]\";proto=http;host=\"relay.test\""])
        }
    }

    @Test
    func `a proxy on a unix socket is trusted by that name, and its file goes with the relay`()
        throws
    {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let socket = stage.path("relay.sock")
            let control = stage.path("control")
            let relay = try stage.relay(
                listen: ["127.0.0.1:0", "unix:\(socket)"],
                "trusted-proxies = unix\ncontrol-socket = \(control)\n")
            let agent = try stage.startAgent(relay, key: agentKey.secret, local: origin.url)
            _ = try agent.expectReady("ready mirror=prom ")
            let options = ["--unix-socket", socket, "--header", bearer(clientKey)]
            let url = "http://relay.test/m/alice/prom"
            _ = try stage.curl(
                url + "/a", options + ["--header", "X-Forwarded-For: 6.6.6.6, 192.0.2.7"])
            #expect(
                try origin.waitForRequest { $0.target == "/a" }.head["X-Forwarded-For"]
                    == "192.0.2.7")
            _ = try stage.curl(url + "/b", options)
            let head = try origin.waitForRequest { $0.target == "/b" }.head
            #expect(head["X-Forwarded-For"] == "unknown")
            #expect(head["Forwarded"] == "for=unknown;proto=http;host=\"relay.test\"")

            relay.program.send(SIGTERM)
            #expect(try relay.program.exit() == .code(0))
            for file in [socket, control] {
                #expect(!FileManager.default.fileExists(atPath: file), "\(file)")
            }
        }
    }

    @Test func `the list of mirrors has the addresses that the proxy shows to its clients`() throws
    {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), relay: "trusted-proxies = 127.0.0.1\n")
            let response = try ask(
                mirror.relay, "/api/v1/mirrors",
                [
                    bearer(mirror.clientKey), "X-Forwarded-Proto: https",
                    "X-Forwarded-Host: public.test", "X-Forwarded-Prefix: /mm",
                ])
            #expect(
                response.text.contains(#""address":"https://public.test/mm/m/alice/prom/""#),
                "\(response.text)")
        }
    }

    @Test(arguments: [true, false])
    func `via and the request's id are told, forged ones are not`(isTrusted: Bool) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(
                origin, relay: isTrusted ? "trusted-proxies = 127.0.0.1\n" : "")
            for (index, fields) in [
                ["X-Request-Id: one", "X-Request-Id: two"], ["X-Request-Id: a b"],
                ["X-Request-Id: \(String(repeating: "a", count: 129))"], ["X-Request-Id:"],
            ].enumerated() {
                _ = try mirror.get("/\(index)", fields + ["Via: 1.0 before"])
                let head = try origin.waitForRequest { $0.target == "/\(index)" }.head
                #expect(head.all("X-Request-Id").count == 1)
                #expect(head["X-Request-Id"]?.count == 32)
                #expect(
                    head.all("Via") == (isTrusted ? ["1.0 before"] : []) + ["1.1 magicmirrord"])
            }
        }
    }

    // MARK: - Keys

    @Test func `a copy of the key in Authorization does not reach the origin`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let other = try mirror.relay.addKey(role: "client", user: "bob")
            let key = mirror.clientKey.secret
            let basic = Data("alice:\(key)".utf8).base64EncodedString()
            // The relay takes a moment to know the other key; it is asked until it does.
            _ = try askUntil(
                "bob's key", .patient,
                { try ask(mirror.relay, "/api/v1/mirrors", [bearer(other)]) }, { $0.status == 200 })
            let copies = [
                ["Authorization: Bearer \(key)"], ["Authorization: Basic \(basic)"],
                ["Authorization: bearer  \(key)"], ["Authorization: Bearer \(other.secret)"],
                ["Authorization: Bearer \(mirror.agentKey.secret)"],
                ["Authorization: Basic b3duOm93bg==", "Authorization: Bearer \(key)"],
            ]
            for (index, copy) in copies.enumerated() {
                let response = try ask(
                    mirror.relay, mirror.path("/\(index)"), ["X-Magicmirror-Key: \(key)"] + copy)
                #expect(response.status == 200, "\(copy)")
                let head = try origin.waitForRequest { $0.target == "/\(index)" }.head
                #expect(head["Authorization"] == nil, "\(copy)")
                #expect(head["X-Magicmirror-Key"] == nil)
            }
            _ = try ask(
                mirror.relay, mirror.path("/own"),
                ["X-Magicmirror-Key: \(key)", "Authorization: Basic b3duOm93bg=="])
            let head = try origin.waitForRequest { $0.target == "/own" }.head
            #expect(head.all("Authorization") == ["Basic b3duOm93bg=="])
        }
    }

    @Test func `a key shown to a public mirror does not reach its origin`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "[mirror alice/prom]\naccess = public\n")
            #expect(try mirror.get("/key").status == 200)
            #expect(
                try origin.waitForRequest { $0.target == "/key" }.head["Authorization"] == nil)
            _ = try ask(mirror.relay, mirror.path("/own"), ["Authorization: Bearer own"])
            #expect(
                try origin.waitForRequest { $0.target == "/own" }.head["Authorization"]
                    == "Bearer own")
        }
    }

    // MARK: - Paths of the answer

    @Test func `all fields with paths of the origin are mapped, under the proxy's prefix too`()
        throws
    {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering { request in
                    Answer(
                        302,
                        [
                            "Location: /login", "Content-Location: https://public.test/this",
                            "Refresh: 5; url=/again", "Set-Cookie: a=1; Path=/",
                            "Set-Cookie: b=2; Domain=public.test; Path=/x", "Link: </a.css>",
                        ], body: request.head["X-Forwarded-Prefix"] ?? "")
                }, relay: "trusted-proxies = 127.0.0.1\n")
            for (given, prefix) in [
                ([], "/m/alice/prom"), (["X-Forwarded-Prefix: /mm"], "/mm/m/alice/prom"),
            ] {
                let response = try mirror.get("/x", ["X-Forwarded-Host: public.test"] + given)
                #expect(response.text == prefix)
                #expect(response["Location"] == prefix + "/login")
                #expect(response["Content-Location"] == prefix + "/this")
                #expect(response["Refresh"] == "5; url=\(prefix)/again")
                #expect(
                    response.head.all("Set-Cookie") == [
                        "a=1; Path=\(prefix)/", "b=2; Domain=public.test; Path=\(prefix)/x",
                    ])
                #expect(response["Link"] == "</a.css>")
            }
        }
    }

    @Test func `under a host of its own a mirror's paths are its own`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .answering { _ in
                    Answer(302, ["Location: /login", "Set-Cookie: a=1; Path=/"], body: "")
                }, relay: "domain = relay.test\n")
            // Also with the dot of the root behind it.
            for host in [
                "prom--alice.relay.test", "prom--alice.relay.test.", "PROM--ALICE.relay.test.:80",
            ] {
                let client = try mirror.connect()
                try client.write(
                    "GET /x HTTP/1.1\r\nHost: \(host)\r\n\(bearer(mirror.clientKey))\r\n\r\n")
                let response = try client.readResponse()
                #expect(response.status == 302, "\(host)")
                #expect(response["Location"] == "/login")
                #expect(response["Set-Cookie"] == "a=1; Path=/")
            }
        }
    }
}
