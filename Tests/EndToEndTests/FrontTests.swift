// Other proxies before the relay, by the configurations that are shipped: agents come through them,
// nothing is held back either way, and the client is whom they name.

import Foundation
import Testing

enum Front: String, CaseIterable {
    case nginx, haproxy, caddy
}

struct FrontTests {
    @Test(arguments: Front.allCases)
    func `a relay behind a proxy as shipped serves agents, streams and uploads`(front: Front) throws
    {
        try stage { stage in
            let play = try Play(stage, front)
            try play.knowsTheClient()
            try play.streamsAnswers()
            try play.takesUploads()
            try play.passesUpgrades()
        }
    }

    /// The requests that Grafana's own data source makes; it is asked for none of them here.
    @Test func `the shipped data source of Grafana gets its answers`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                local: try stage.prometheus().url, agent: ["--policy", "prometheus"])
            let file = try stage.shipped(
                "grafana-datasource.yaml",
                [
                    "https://relay.example.com/m/alice/localprometheus":
                        mirror.relay.url(mirror.path(""))
                ])
            let values = try stage.read(file).split(separator: "\n").reduce(
                into: [String: String]()
            ) {
                let parts = $1.split(separator: ":", maxSplits: 1)
                    .map { $0.trimmingCharacters(in: .whitespaces) }
                if parts.count == 2 { $0[parts[0]] = parts[1] }
            }
            #expect(values["basicAuthPassword"] == "$MAGICMIRROR_KEY")
            let url = try #require(values["url"])
            let user = try #require(values["basicAuthUser"])
            #expect(values["httpMethod"] == "POST")
            let span = ["--data", "start=1700000000&end=1700003600"]
            let query = ["--data-urlencode", "query=vector(6*7)"]
            for (path, form) in [
                ("query", ["--data", "query=1%2B1&time=1700000000"]),
                ("query_range", query + span + ["--data", "step=15"]),
                ("labels", span),
                ("series", span + ["--data-urlencode", "match[]=up"]),
                ("label/__name__/values?start=1700000000&end=1700003600", []), ("metadata", []),
                ("rules", []), ("status/buildinfo", []),
            ] {
                let answer = try stage.curl(
                    "\(url)/api/v1/\(path)",
                    ["--user", "\(user):\(mirror.clientKey.secret)"] + form)
                #expect(answer.status == 200, "\(path): \(answer.text)")
                #expect(json(answer.bytes)["status"] as? String == "success", "\(path)")
            }
        }
    }

    @Test func `the certificate that certbot has renewed is the one that the relay shows`() throws {
        try stage { stage in
            let directory = stage.path("tls")
            // The name of the group is the package's; here it is whatever group runs the tests.
            let hook = try stage.shipped(
                "certbot-hook",
                [
                    "/etc/magicmirror/tls": directory,
                    "/usr/sbin/magicmirrord": Built.relay,
                    "group=magicmirrord": "group=\(getgid())",
                    "systemctl try-reload-or-restart magicmirrord.service":
                        "\(Built.control) reload --socket \(stage.path("control"))",
                ])
            let lineage = stage.path("live/relay.example.com")
            try FileManager.default.createDirectory(
                atPath: lineage, withIntermediateDirectories: true)
            func renew() throws -> String {
                let made = try stage.certificate("renewed")
                // As certbot has it: links to files that only root can read.
                for (name, file) in [("fullchain.pem", made.file), ("privkey.pem", made.key)] {
                    try? FileManager.default.removeItem(atPath: lineage + "/" + name)
                    try FileManager.default.createSymbolicLink(
                        atPath: lineage + "/" + name, withDestinationPath: file)
                }
                return made.file
            }
            func runHook(for name: String) throws -> Finished {
                try stage.run(
                    "sh", [hook],
                    environment: ["RENEWED_LINEAGE": stage.path("live/" + name)])
            }

            _ = try renew()
            // No relay runs yet: the files are there, only the reload fails.
            #expect(try runHook(for: "relay.example.com").exit != .code(0))
            let file = try stage.relayConfiguration(
                certificate: Certificate(
                    file: directory + "/fullchain.pem", key: directory + "/privkey.pem"),
                "control-socket = \(stage.path("control"))\n")
            let relay = try Relay(
                stage, arguments: ["--config", file], keys: stage.path("keys"),
                authority: directory + "/fullchain.pem")
            let renewed = try renew()
            #expect(try runHook(for: "other.example.com").exit == .code(0))
            #expect(
                try stage.curl(relay.url("/-/healthy"), ["--cacert", renewed]).exit == .code(60))
            let ran = try runHook(for: "relay.example.com")
            #expect(ran.exit == .code(0), "\(ran.error)")
            #expect(try stage.curl(relay.url("/-/healthy"), ["--cacert", renewed]).status == 200)
            let modes = try FileManager.default.attributesOfItem(atPath: directory + "/privkey.pem")
            #expect(modes[.posixPermissions] as? Int == 0o640)
        }
    }
}

/// A relay behind a proxy, its agent that has come through it, and an origin that does as asked.
private struct Play {
    let stage: Stage
    let front: Front
    let relay: Relay
    let port: Int
    let certificate: Certificate
    let clientKey: Relay.Key
    let origin: Origin
    private let gates = (0..<5).map { _ in Gate() }
    private let firstPiece = Gate()

    init(_ stage: Stage, _ front: Front) throws {
        (self.stage, self.front) = (stage, front)
        let agentKey = try stage.addKey(role: "agent", name: "prom")
        clientKey = try stage.addKey(role: "client")
        relay = try stage.relay("trusted-proxies = 127.0.0.1\n")
        certificate = try stage.certificate(front.rawValue)
        port = try Listener.freePort()
        origin = stage.keep(try Play.origin(gates, firstPiece))
        try start()
        let agent = try stage.start(
            Built.agent,
            [
                "--remote", "wss://localhost:\(port)/mirror", "--ca-file", certificate.file,
                "--apikey-file", try stage.write("agent.key", agentKey.secret + "\n"), "--name",
                "prom", "--local", origin.url,
            ])
        _ = try agent.expectReady("ready mirror=prom ")
    }

    private func start() throws {
        switch front {
        case .nginx: try startNginx()
        case .haproxy:
            let file = try stage.shipped(
                "haproxy.cfg",
                try stage.haproxyPlaces(certificate, port: port)
                    .merging(["127.0.0.1:8080": relay.address]) { $1 })
            try stage.startHAProxy(file, ports: [port])
        case .caddy:
            let file = try stage.shipped(
                "Caddyfile",
                [
                    "relay.example.com {":
                        "https://localhost:\(port) {\n\ttls \(certificate.file) \(certificate.key)",
                    "127.0.0.1:8080": relay.address,
                ])
            let text = try stage.read(file)
            try stage.write(
                "Caddyfile", "{\n\tadmin off\n\tauto_https off\n}\n\(text)\n")
            let program = try stage.start(
                "caddy", ["run", "--config", file, "--adapter", "caddyfile"])
            try program.expectLog("serving") { $0.contains("serving initial configuration") }
        }
    }

    private func startNginx() throws {
        let site = try stage.shipped(
            "nginx-site.conf",
            [
                "listen 443 ssl http2;": "listen 127.0.0.1:\(port) ssl http2;",
                "    listen [::]:443 ssl http2;\n": "",
                "/etc/letsencrypt/live/relay.example.com/fullchain.pem": certificate.file,
                "/etc/letsencrypt/live/relay.example.com/privkey.pem": certificate.key,
                "127.0.0.1:8080": relay.address,
            ])
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"].map {
            "\($0)_temp_path \(stage.path($0));"
        }
        let file = try stage.write(
            "nginx.conf",
            """
            daemon off;
            master_process off;
            pid \(stage.path("nginx.pid"));
            error_log stderr notice;
            events {}
            http {
                access_log off;
                \(places.joined(separator: "\n    "))
                include \(site);
            }

            """)
        let program = try stage.start("nginx", ["-c", file])
        try program.expectLog("serving") { $0.contains("event method") }
    }

    private static func origin(_ gates: [Gate], _ firstPiece: Gate) throws -> Origin {
        try Origin { visit in
            let connection = visit.connection
            while let head = try? visit.readHead(.long) {
                switch Request(head: head).target {
                case "/events":
                    try visit.write(
                        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                            + "Transfer-Encoding: chunked\r\n\r\n")
                    for (index, gate) in gates.enumerated() {
                        try connection.writeChunk("data: \(index)\n\n")
                        try gate.wait("event \(index) has arrived")
                    }
                    try visit.write("0\r\n\r\n")
                case "/upload":
                    guard try connection.readChunk() == Array("first".utf8) else { return }
                    firstPiece.open()
                    var count = 5
                    while let chunk = try connection.readChunk(.long), !chunk.isEmpty {
                        count += chunk.count
                    }
                    _ = try connection.readTrailers()
                    try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\(count)\n")
                case "/raw":
                    try visit.write(
                        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\n"
                            + "Upgrade: raw\r\n\r\n")
                    return try connection.echoToEnd()
                default:
                    try connection.write(Answer(200, body: "here").bytes(to: "GET"))
                }
            }
        }
    }

    private func url(_ path: String) -> String { "https://localhost:\(port)/m/alice/prom\(path)" }

    private var trust: [String] { ["--cacert", certificate.file, "--header", bearer(clientKey)] }

    /// By HTTP/2, which the relay itself does not speak.
    func knowsTheClient() throws {
        let claims = ["For: 6.6.6.6", "Proto: gopher", "Host: evil.test", "Prefix: /evil"]
        let answer = try stage.curl(
            url("/x"),
            trust + ["--http2", "--ipv4", "--interface", "127.0.0.9"]
                + claims.flatMap { ["--header", "X-Forwarded-" + $0] })
        #expect(answer.text == "here", "\(answer.error)")
        #expect(answer.response?.head.startLine.hasPrefix("HTTP/2 ") == true)
        let head = try origin.waitForRequest { $0.target == "/x" }.head
        #expect(head.all("X-Forwarded-For") == ["127.0.0.9, 127.0.0.1"])
        #expect(head.all("X-Forwarded-Proto") == ["https"])
        #expect(head.all("X-Forwarded-Host") == ["localhost:\(port)"])
        #expect(head.all("X-Forwarded-Prefix") == ["/m/alice/prom"])
        #expect(try relay.expectLine(status: 200).contains(" CLIENT=127.0.0.9 "))
        // What the relay answers itself is told by its field, through the proxy, too.
        let absent = try stage.curl(
            "https://localhost:\(port)/m/alice/absent/", trust + ["--http1.1"])
        #expect(absent.status == 404)
        #expect(absent["Proxy-Status"]?.hasPrefix("magicmirrord; error=") == true)
    }

    func streamsAnswers() throws {
        let client = try stage.start(
            "curl", ["--silent", "--no-buffer", "--http2"] + trust + [url("/events")])
        for (index, gate) in gates.enumerated() {
            _ = try client.expectOutput("event \(index)") { $0 == "data: \(index)" }
            gate.open()
        }
        #expect(try client.exit() == .code(0))
    }

    func takesUploads() throws {
        let client = try stage.secureConnection("localhost:\(port)").connection
        try client.write(
            "PUT /m/alice/prom/upload HTTP/1.1\r\nHost: localhost:\(port)\r\n\(bearer(clientKey))\r\n"
                + "Transfer-Encoding: chunked\r\n\r\n")
        try client.writeChunk("first")
        try firstPiece.wait("the first piece has reached the origin")
        // More than any of the proxies takes, or keeps, by itself.
        let piece = String(repeating: "x", count: 1 << 20)
        for _ in 0..<20 { try client.writeChunk(piece, .long) }
        try client.write("0\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.text == "\(5 + 20 << 20)\n", "\(answer.head.startLine)")
    }

    func passesUpgrades() throws {
        let client = try stage.secureConnection("localhost:\(port)").connection
        try client.write(
            "GET /m/alice/prom/raw HTTP/1.1\r\nHost: localhost:\(port)\r\n\(bearer(clientKey))\r\n"
                + "Connection: Upgrade\r\nUpgrade: raw\r\n\r\n")
        #expect(try client.readResponseHead().status == 101)
        #expect(try client.echoes("there and back"))
    }
}
