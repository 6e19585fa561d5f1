// Proxies before the relay: those that pass TCP on with a PROXY header, and one that ends TLS.

import Foundation
import Testing

private let trusting = "proxy-protocol = yes\ntrusted-proxies = 127.0.0.1\n"
private let line = "PROXY TCP4 192.0.2.7 10.0.0.1 4660 443\r\n"
private let signature: [UInt8] = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10]

/// The relay of these scenarios and its agent, which comes through a proxy like everybody.
private struct Proxied {
    let relay: Relay
    let origin: Origin
    let clientKey: Relay.Key
    let agentKey: Relay.Key

    init(_ stage: Stage, plaintext: Bool, _ more: String = "") throws {
        origin = stage.keep(try Origin.echoingTarget())
        agentKey = try stage.addKey(role: "agent", name: "prom")
        clientKey = try stage.addKey(role: "client")
        relay = try stage.relay(plaintext: plaintext, trusting + more)
    }

    func request(_ path: String, _ fields: [String] = []) -> String {
        "GET /m/alice/prom\(path) HTTP/1.1\r\nHost: relay.test\r\n\(bearer(clientKey))\r\n"
            + fields.map { $0 + "\r\n" }.joined() + "\r\n"
    }

    /// Starts the agent through a proxy, and waits until it is there.
    func startAgent(_ stage: Stage, remote: String) throws {
        let trust = relay.authority.map { ["--ca-file", $0] } ?? []
        let agent = try stage.start(
            Built.agent,
            [
                "--remote", remote, "--apikey-file",
                try stage.write("agent.key", agentKey.secret + "\n"), "--name", "prom", "--local",
                origin.url,
            ] + trust)
        _ = try agent.expectReady("ready mirror=prom ")
    }
}

extension Stage {
    /// Starts HAProxy with these lines; each `listen` has `bind 127.0.0.1:PORT`.
    fileprivate func haproxy(_ sections: [String]) throws -> [Int] {
        let ports = try sections.map { _ in try Listener.freePort() }
        var text = "global\n    log stderr format raw local0\ndefaults\n    mode tcp\n"
        text += "    timeout connect 10s\n    timeout client 60s\n    timeout server 60s\n"
        for (index, section) in sections.enumerated() {
            text += "listen l\(index)\n    bind 127.0.0.1:\(ports[index])\n    \(section)\n"
        }
        try startHAProxy(try write("haproxy.cfg", text), ports: ports)
        return ports
    }
}

struct ProxyProtocolTests {
    @Test func `HAProxy passes TLS on, and says whose connection it is`() throws {
        try stage { stage in
            let proxied = try Proxied(stage, plaintext: false)
            let target = "server r 127.0.0.1:\(proxied.relay.port)"
            let ports = try stage.haproxy([target + " send-proxy", target + " send-proxy-v2"])
            try proxied.startAgent(stage, remote: "wss://127.0.0.1:\(ports[1])/mirror")
            for port in ports {
                let answer = try stage.curl(
                    "https://127.0.0.1:\(port)/m/alice/prom/\(port)",
                    [
                        "--cacert", proxied.relay.authority ?? "", "--header",
                        bearer(proxied.clientKey), "--interface", "127.0.0.9", "--header",
                        "X-Forwarded-For: 6.6.6.6",
                    ])
                #expect(answer.text == "/\(port)", "\(answer.error)")
                let head = try proxied.origin.waitForRequest { $0.target == "/\(port)" }.head
                // The client's own address; what it claims on top of that is its claim.
                #expect(head.all("X-Forwarded-For") == ["127.0.0.9"])
                #expect(head["X-Forwarded-Proto"] == "https")
            }
            try proxied.relay.program.expectLog("the client's address") {
                $0.contains(" CLIENT=127.0.0.9 ")
            }
        }
    }

    @Test func `HAProxy's TLVs are passed over, and its own checks are no clients`() throws {
        try stage { stage in
            let proxied = try Proxied(stage, plaintext: true)
            let target = "server r 127.0.0.1:\(proxied.relay.port)"
            let ports = try stage.haproxy([
                "unique-id-format %{+X}o%ci:%cp\n    "
                    + target + " send-proxy-v2 proxy-v2-options unique-id,crc32c",
                "option httpchk GET /-/ready\n    "
                    + target + " send-proxy-v2 check inter 200ms check-send-proxy",
            ])
            try proxied.startAgent(stage, remote: "ws://127.0.0.1:\(ports[1])/mirror")
            for port in ports {
                let client = try Connection.to(port: port)
                try client.write(proxied.request("/\(port)"))
                #expect(try client.readResponse().text == "/\(port)")
            }
            #expect(!proxied.relay.program.log.lines.contains { $0.contains("connection refused") })
        }
    }

    @Test(arguments: [true, false])
    func `a header that comes byte by byte is as good as any`(plaintext: Bool) throws {
        try stage { stage in
            let proxied = try Proxied(stage, plaintext: plaintext, "workers = 1\n")
            // It holds no worker while it is unfinished: the only one serves the next.
            let slow = try Connection.to(port: proxied.relay.port)
            for byte in line.utf8.dropLast() { try slow.write([byte]) }
            let other = try Connection.to(port: proxied.relay.port)
            try other.write(line)
            try other.write("GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try other.readResponse().status == (plaintext ? 200 : 400))
            try slow.write("\nGET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try slow.readResponse().status == (plaintext ? 200 : 400))
        }
    }

    @Test func `the address in the header is the client's, unless it is of a trusted proxy`() throws
    {
        try stage { stage in
            let proxied = try Proxied(
                stage, plaintext: true, "trusted-proxies = 10.0.0.0/8\nadmin-listen = 127.0.0.1:0\n"
            )
            let ports = try stage.haproxy(["server r 127.0.0.1:\(proxied.relay.port) send-proxy"])
            try proxied.startAgent(stage, remote: "ws://127.0.0.1:\(ports[0])/mirror")
            let address4: [UInt8] = [192, 0, 2, 7, 10, 0, 0, 1, 1, 2, 3, 4]
            for (number, (header, hops)) in [
                (Array(line.utf8), ["192.0.2.7"]),
                (Array("PROXY TCP6 2001:db8::7 ::1 1 2\r\n".utf8), ["2001:db8::7"]),
                (Array("PROXY TCP4 10.9.8.7 10.0.0.1 1 2\r\n".utf8), ["198.51.100.1", "10.9.8.7"]),
                (signature + [0x21, 0x11, 0, 12] + address4, ["192.0.2.7"]),
                // Nobody knows who: so nobody's word is believed.
                (Array("PROXY UNKNOWN\r\n".utf8), ["127.0.0.1"]),
                (signature + [0x20, 0x00, 0, 0], ["127.0.0.1"]),
                (signature + [0x21, 0x00, 0, 0], ["127.0.0.1"]),
            ].enumerated() {
                let client = try Connection.to(port: proxied.relay.port)
                try client.write(
                    header
                        + Array(
                            proxied.request("/\(number)", ["X-Forwarded-For: 198.51.100.1"]).utf8))
                #expect(try client.readResponse().text == "/\(number)")
                let head = try proxied.origin.waitForRequest { $0.target == "/\(number)" }.head
                #expect(
                    head.all("X-Forwarded-For") == [hops.joined(separator: ", ")], "\(number)")
                try proxied.relay.program.expectLog("CLIENT=\(hops[0])") {
                    $0.contains("CLIENT=\(hops[0]) ")
                        && $0.contains("PATH=/m/alice/prom/\(number) ")
                }
            }
        }
    }

    @Test(arguments: [
        "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n", "\u{16}\u{3}\u{1}\u{2}\0",
        "PROXY TCP4 192.0.2.7 10.0.0.1 4660\r\n", "PROXY UDP4 192.0.2.7 10.0.0.1 4660 443\r\n",
        "PROXY UNKNOWN " + String(repeating: "x", count: 100), "\r\n\r\n\0\r\nQUIT\n1234567",
        "PROXY TCP4 192.0.2.7",
    ])
    func `a trusted proxy that sends no good header is refused, and the operator told`(
        text: String
    ) throws {
        try stage { stage in
            let relay = try stage.relay(trusting)
            let client = try Connection.to(port: relay.port)
            try client.write(text)
            client.shutdownWriting()
            #expect(try client.readToEnd().isEmpty)
            let logged = try relay.program.expectLog("the refusal") {
                $0.contains("connection refused")
            }
            #expect(logged.hasPrefix("warning:") || logged.hasPrefix("<4>"), "\(logged)")
            #expect(!relay.program.log.lines.contains { $0.contains("STATUS=") })
        }
    }

    @Test func `whoever is no trusted proxy is refused, whatever it sends`() throws {
        try stage { stage in
            let relay = try stage.relay(
                "proxy-protocol = yes\ntrusted-proxies = 10.0.0.0/8\nlog-level = debug\n")
            for text in [line, "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n"] {
                let client = try Connection.to(port: relay.port)
                // The relay may have closed before.
                try? client.write(text + "GET /-/healthy HTTP/1.1\r\nHost: a\r\n\r\n")
                #expect(try client.readToEnd().isEmpty)
            }
            try relay.program.expectLog("the refusal") { $0.contains("not from a trusted proxy") }
        }
    }

    @Test func `a header that does not come to its end is given up`() throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false, trusting + "handshake-timeout = 1s\n")
            let silent = try Connection.to(port: relay.port)
            let slow = try Connection.to(port: relay.port)
            try slow.write(String(line.dropLast(2)))
            #expect(try silent.readToEnd().isEmpty)
            #expect(try slow.readToEnd().isEmpty)
        }
    }

    @Test func `a second header is not a second client`() throws {
        try stage { stage in
            let relay = try stage.relay(trusting)
            let client = try Connection.to(port: relay.port)
            try client.write(line + "PROXY TCP4 6.6.6.6 10.0.0.1 1 2\r\n\r\n")
            let response = try client.readResponse()
            #expect(response.status == 400)
            #expect(try relay.expectLine(status: 400).contains(" CLIENT=192.0.2.7 "))
        }
    }

    @Test func `nginx ends TLS before the relay, which believes it`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay("trusted-proxies = 127.0.0.1\n")
            let certificate = try stage.certificate("nginx")
            let proxy = try stage.nginx(
                serving: stage.directory, protocols: "ssl",
                """
                ssl_certificate \(certificate.file);
                ssl_certificate_key \(certificate.key);
                location / {
                    proxy_pass http://\(relay.address);
                    proxy_http_version 1.1;
                    proxy_set_header Host $http_host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection $http_connection;
                    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
                    proxy_set_header X-Forwarded-Proto $scheme;
                    proxy_set_header X-Forwarded-Host $http_host;
                    proxy_read_timeout 1h;
                }
                """)
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", "wss://127.0.0.1:\(proxy.port)/mirror", "--ca-file",
                    certificate.file, "--apikey-file",
                    try stage.write("agent.key", agentKey.secret + "\n"), "--name", "prom",
                    "--local", origin.url,
                ])
            _ = try agent.expectReady("ready mirror=prom ")
            let answer = try stage.curl(
                "https://127.0.0.1:\(proxy.port)/m/alice/prom/x",
                [
                    "--cacert", certificate.file, "--header", bearer(clientKey), "--interface",
                    "127.0.0.9", "--header", "X-Forwarded-For: 6.6.6.6", "--header",
                    "X-Forwarded-Proto: gopher",
                ])
            #expect(answer.text == "/x", "\(answer.error)")
            let head = try origin.waitForRequest().head
            #expect(head.all("X-Forwarded-For") == ["127.0.0.9, 127.0.0.1"])
            #expect(head.all("X-Forwarded-Proto") == ["https"])
            #expect(head.all("X-Forwarded-Host") == ["127.0.0.1:\(proxy.port)"])
            #expect(
                head.all("Forwarded") == [
                    "for=127.0.0.9;proto=https;host=\"127.0.0.1:\(proxy.port)\", for=127.0.0.1"
                ])
            #expect(try relay.expectLine(status: 200).contains(" CLIENT=127.0.0.9 "))
        }
    }
}
