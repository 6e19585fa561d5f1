// SIGHUP and `magicmirrorctl reload`: a new configuration takes the place of the old one while the
// relay serves, or is refused as a whole.

import Foundation
import Testing

struct ReloadTests {
    // MARK: certificates

    @Test(arguments: ["SIGHUP", "magicmirrorctl"])
    func `a new certificate is shown to new connections, and none is dropped`(by: String) throws {
        try stage { stage in
            let mirror = try reloadable(stage, plaintext: false)
            let standing = try stage.secureConnection(mirror.relay.address).connection
            try standing.write(mirror.request("GET", "/before"))
            #expect(try standing.readResponse().text == "/before")
            let old = try stage.write("old.pem", try stage.read(stage.path("relay.pem")) + "\n")
            // In the same files, as tools that renew certificates do it.
            _ = try stage.certificate("relay")
            #expect(try healthy(stage, mirror, trust: old).status == 200)

            if by == "SIGHUP" {
                mirror.relay.program.send(SIGHUP)
                try mirror.relay.program.expectLog("reloaded") { $0.hasPrefix("reloaded KEYS=2") }
            } else {
                #expect(try reload(stage).output == "reloaded, 2 key(s)\n")
            }
            #expect(try healthy(stage, mirror, trust: old).status == 0)
            #expect(
                try healthy(stage, mirror, trust: stage.path("relay.pem")).status == 200)
            try standing.write(mirror.request("GET", "/after"))
            #expect(try standing.readResponse().text == "/after")
            #expect(!mirror.agent.log.lines.contains { $0.contains("session ended") })
        }
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func `a session from before a reload is not resumed, and its client is served`(
        version: String
    ) throws {
        try stage { stage in
            let mirror = try reloadable(stage, plaintext: false)
            let session = stage.path("session.pem")
            #expect(
                try handshake(stage, mirror, [version, "-sess_out", session]).output
                    .contains("\nNew, "))
            #expect(
                try handshake(stage, mirror, [version, "-sess_in", session]).output
                    .contains("\nReused, "))
            _ = try stage.certificate("relay")
            #expect(try reload(stage).exit == .code(0))
            let after = try handshake(stage, mirror, [version, "-sess_in", session])
            #expect(after.output.contains("\nNew, "), "\(after.output)")
            #expect(after.output.contains("HTTP/1.1 200"))
            #expect(after.output.contains("Verify return code: 0 (ok)"))
        }
    }

    // MARK: the configuration

    @Test func `what a reload has read counts from the next request on, on any connection`() throws
    {
        try stage { stage in
            let origin = try Origin.answering { request in
                Answer(200, body: request.head["X-Forwarded-For"] ?? "")
            }
            let mirror = try reloadable(stage, origin: origin, "trusted-proxies = 127.0.0.1\n")
            let client = try mirror.connect()
            func get(_ path: String, _ fields: [String]) throws -> Response {
                try client.write(
                    "GET \(path) HTTP/1.1\r\n" + fields.map { $0 + "\r\n" }.joined() + "\r\n")
                return try client.readResponse()
            }
            func expectKeyless(_ path: String, host: String, _ status: Int) throws {
                #expect(try get(path, ["Host: \(host)"]).status == status, "\(path) of \(host)")
            }
            let key = "Authorization: Bearer \(mirror.clientKey.secret)"
            let forwarded = "X-Forwarded-For: 192.0.2.7"
            let own = mirror.path("/x")

            #expect(
                try get(own, ["Host: a", key, forwarded]).text == "192.0.2.7, 127.0.0.1")
            try expectKeyless(own, host: "a", 401)
            try expectKeyless("/x", host: "prom--alice.relay.test", 404)
            try expectKeyless("/x", host: "extra.test", 404)
            try expectKeyless("/agents", host: "a", 404)
            #expect(try get(own, ["Host: a", key, "X-Long: " + padding]).status == 200)

            try rewrite(
                stage,
                """
                domain = relay.test
                agent-path = /agents
                maximum-head-bytes = 4KiB
                [mirror alice/prom]
                access = public
                hosts = extra.test
                """)
            #expect(try reload(stage).exit == .code(0))
            try mirror.relay.program.expectLog("what has changed") {
                $0.hasSuffix(
                    "CHANGED=\"agent-path domain maximum-head-bytes trusted-proxies alice/prom\"")
            }

            #expect(try get(own, ["Host: a", key, forwarded]).text == "127.0.0.1")
            try expectKeyless(own, host: "a", 200)
            try expectKeyless("/x", host: "prom--alice.relay.test", 200)
            try expectKeyless("/x", host: "extra.test", 200)
            try expectKeyless("/agents", host: "a", 400)
            #expect(try get(own, ["Host: a", key, "X-Long: " + padding]).status == 431)
            #expect(!mirror.agent.log.lines.contains { $0.contains("session ended") })

            try rewrite(stage, "")
            #expect(try reload(stage).exit == .code(0))
            #expect(try ask(mirror.relay, own).status == 401)
        }
    }

    @Test func `a mirror that a reload brings is known at once`() throws {
        try stage { stage in
            let mirror = try reloadable(stage)
            let path = "/m/alice/other/x"
            #expect(try ask(mirror.relay, path, [bearer(mirror.clientKey)]).status == 404)
            try rewrite(stage, "[mirror alice/other]\naccess = public\n")
            #expect(try reload(stage).exit == .code(0))
            expectProblem(try ask(mirror.relay, path), 503, "destination_unavailable")
            try rewrite(stage, "")
            #expect(try reload(stage).exit == .code(0))
            #expect(try ask(mirror.relay, path, [bearer(mirror.clientKey)]).status == 404)
        }
    }

    @Test func `more exchanges that a reload allows go to those who wait`() throws {
        try stage { stage in
            let finish = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    if request.target == "/held" { try finish.wait("the reload") }
                    try visit.connection.write(Answer(200, body: request.target).bytes(to: "GET"))
                }
            }
            let mirror = try reloadable(stage, origin: origin, "maximum-exchanges = 1\n")
            let held = try mirror.connect()
            try held.write(mirror.request("GET", "/held"))
            _ = try origin.waitForRequest { $0.target == "/held" }
            let waiting = try mirror.connect()
            try waiting.write(mirror.request("GET", "/waits"))
            try rewrite(stage, "maximum-exchanges = 2\n")
            #expect(try reload(stage).exit == .code(0))
            #expect(try waiting.readResponse().text == "/waits")
            finish.open()
            #expect(try held.readResponse().text == "/held")
        }
    }

    @Test func `the log's level can be changed while the relay runs`() throws {
        try stage { stage in
            let mirror = try reloadable(stage)
            try rewrite(stage, "log-level = warning\n")
            #expect(try reload(stage).exit == .code(0))
            #expect(try mirror.get("/quiet").status == 200)
            try rewrite(stage, "log-level = info\n")
            #expect(try reload(stage).exit == .code(0))
            try mirror.relay.program.expectLog("the second reload") {
                $0.hasPrefix("reloaded") && $0.contains("CHANGED=log-level")
            }
            #expect(!mirror.relay.program.log.lines.contains { $0.contains("/quiet") })
        }
    }

    @Test func `an exchange goes on as it began while the configuration changes`() throws {
        try stage { stage in
            let finish = Gate()
            let mirror = try reloadable(
                stage, origin: .pausing(until: finish),
                "[mirror alice/prom]\naccess = public\n")
            let held = try mirror.half(showsKey: false)
            try rewrite(stage, "maximum-exchanges = 1\n")
            #expect(try reload(stage).exit == .code(0))
            #expect(try ask(mirror.relay, mirror.path("/x")).status == 401)
            finish.open()
            try held.expectRest()
        }
    }

    @Test func `reloads under load lose no request and no connection`() throws {
        try stage { stage in
            let mirror = try reloadable(stage, plaintext: false)
            let isOver = Signalled(false)
            let loads = Signalled<[Result<Int, any Error>]>([])
            for thread in 0..<4 {
                // Started here, for a program dies with the thread that has started it.
                nonisolated(unsafe) let client =
                    try stage.secureConnection(mirror.relay.address).connection
                Thread.detachNewThread {
                    let result = Result {
                        var count = 0
                        while !isOver.withLock({ $0 }) {
                            try client.write(mirror.request("GET", "/\(thread)/\(count)"))
                            guard try client.readResponse().text == "/\(thread)/\(count)" else {
                                throw Failure("a wrong answer")
                            }
                            count += 1
                        }
                        return count
                    }
                    loads.withLock { $0.append(result) }
                }
            }
            for round in 1...20 {
                try rewrite(stage, plaintext: false, "maximum-exchanges = \(round + 10)\n")
                #expect(try reload(stage).exit == .code(0))
            }
            isOver.withLock { $0 = true }
            let all = loads.wait(.patient) { $0.count == 4 ? $0 : nil }
            for result in all ?? [] { #expect(try result.get() > 0) }
            #expect(all != nil)
            #expect(!mirror.agent.log.lines.contains { $0.contains("session ended") })
        }
    }

    // MARK: refused

    @Test(arguments: [
        ("lisen = [::]:443\n", "7: unknown key 'lisen' (did you mean 'listen'?)"),
        ("head-timeout = 10\n", "7: key 'head-timeout': '10' is not a time"),
        ("[mirror nobody]\n", "7: 'nobody' is not USER/NAME"),
        (
            "[mirror a/b]\nhosts = x.test\n[mirror a/c]\nhosts = x.test\n",
            "10: key 'hosts': 'x.test'"
        ),
        ("=\n", "7: "),
    ])
    func `a configuration that cannot be used is refused, and the old one goes on`(
        more: String, message: String
    ) throws {
        try stage { stage in
            let admin = stage.path("admin")
            func lastReload(_ name: String) throws -> Int {
                try stage.metric("config_last_reload_\(name)", at: admin)
            }
            let mirror = try reloadable(stage, "admin-listen = unix:\(admin)\n")
            let wanted = "\(stage.path("relay.conf")):\(message)"
            let before = try lastReload("success_timestamp_seconds")
            #expect(try lastReload("successful") == 1)

            try rewrite(stage, "admin-listen = unix:\(admin)\n" + more)
            let refused = try reload(stage)
            #expect(refused.exit == .code(1))
            #expect(refused.error.hasPrefix("magicmirrorctl: \(wanted)"), "\(refused.error)")
            #expect(refused.errorLines.count == 1)
            try mirror.relay.program.expectLog("why it was refused") {
                $0.hasPrefix("error: reload refused") && $0.contains(wanted)
            }
            #expect(try lastReload("successful") == 0)
            #expect(try lastReload("success_timestamp_seconds") == before)
            #expect(try mirror.get("/x").status == 200)

            try rewrite(stage, "admin-listen = unix:\(admin)\n")
            #expect(try reload(stage).exit == .code(0))
            #expect(try lastReload("successful") == 1)
            #expect(try lastReload("success_timestamp_seconds") >= before)
        }
    }

    @Test func `a private key of another certificate is refused, and the old pair is shown`() throws
    {
        try stage { stage in
            let mirror = try reloadable(stage, plaintext: false)
            let whole = try stage.read(stage.path("relay.key"))
            let other = try stage.certificate("other")
            try stage.write("relay.key", try stage.read(other.key) + "\n")
            let refused = try reload(stage)
            #expect(refused.exit == .code(1))
            #expect(
                refused.error.hasPrefix(
                    "magicmirrorctl: \(stage.path("relay.conf")):3: private key '"),
                "\(refused.error)")
            #expect(refused.error.contains("does not match certificate"))
            #expect(try healthy(stage, mirror, trust: stage.path("relay.pem")).status == 200)
            try stage.write("relay.key", whole + "\n")
            #expect(try reload(stage).exit == .code(0))
        }
    }

    @Test func `with a broken keys file nothing of the configuration is taken either`() throws {
        try stage { stage in
            let mirror = try reloadable(stage)
            try stage.write("keys", try stage.read(mirror.relay.keys) + "\nnonsense\n")
            try rewrite(stage, "[mirror alice/prom]\naccess = public\n")
            #expect(try reload(stage).exit == .code(1))
            #expect(try ask(mirror.relay, mirror.path("/x")).status == 401)
            #expect(try mirror.get("/x").status == 200)
        }
    }

    @Test(arguments: [
        ("workers", 6, "workers = 12\n", "workers = 13\n"), ("workers", 6, "", "workers = 13\n"),
        ("workers", 6, "workers = 12\n", ""), ("admin-listen", 6, "", "admin-listen = unix:/x\n"),
        ("admin-listen", 6, "admin-listen = 127.0.0.1:0\n", ""),
        ("listen", 6, "", "listen = 127.0.0.1:0\n"),
    ])
    func `what only a restart can change is refused by its name`(
        key: String, line: Int, before: String, after: String
    ) throws {
        try stage { stage in
            let mirror = try reloadable(stage, before)
            try rewrite(stage, after + "[mirror alice/prom]\naccess = public\n")
            let refused = try reload(stage)
            #expect(refused.exit == .code(1))
            // Of several lines for one key the first is named.
            let place = key == "listen" ? 1 : line
            #expect(
                refused.error
                    == "magicmirrorctl: \(stage.path("relay.conf")):\(place): key '\(key)':"
                    + " a reload cannot change it (restart magicmirrord)\n")
            #expect(try ask(mirror.relay, mirror.path("/x")).status == 401)
        }
    }

    @Test func `a relay for a first try reloads its certificate, too`() throws {
        try stage { stage in
            let relay = try stage.quickstart()
            relay.program.send(SIGHUP)
            try relay.program.expectLog("reloaded") { $0.hasPrefix("reloaded KEYS=2") }
            #expect(try stage.curl(relay, "/-/healthy").status == 200)
        }
    }

    // MARK: -

    /// Beyond 4 KiB with anything around it.
    private let padding = String(repeating: "x", count: 4096)

    /// The mirror alice/prom behind a relay with a control socket, whose five lines come first.
    private func reloadable(
        _ stage: Stage, plaintext: Bool = true, origin: Origin? = nil, _ more: String = ""
    ) throws -> Mirror {
        try stage.mirror(
            origin ?? .echoingTarget(), plaintext: plaintext, relay: head(stage) + more)
    }

    /// Writes the configuration again, with other lines at its end.
    private func rewrite(_ stage: Stage, plaintext: Bool = true, _ more: String) throws {
        let certificate = Certificate(file: stage.path("relay.pem"), key: stage.path("relay.key"))
        _ = try stage.relayConfiguration(
            certificate: plaintext ? nil : certificate, head(stage) + more)
    }

    private func head(_ stage: Stage) -> String {
        "control-socket = \(stage.path("control"))\n# more:\n"
    }

    private func reload(_ stage: Stage) throws -> Finished {
        try stage.run(Built.control, ["reload", "--socket", stage.path("control")])
    }

    private func healthy(_ stage: Stage, _ mirror: Mirror, trust: String) throws -> CurlAnswer {
        try stage.curl("https://\(mirror.relay.address)/-/healthy", ["--cacert", trust])
    }

    private func handshake(
        _ stage: Stage, _ mirror: Mirror, _ options: [String]
    ) throws -> Finished {
        let request = try stage.write(
            "request", "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return try stage.run(
            "openssl",
            [
                "s_client", "-ign_eof", "-connect", mirror.relay.address,
                "-CAfile", stage.path("relay.pem"),
            ] + options, input: request)
    }
}
