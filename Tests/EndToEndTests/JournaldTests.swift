// Under systemd: what the journal gets is found by its fields, is the same at both ends, holds up
// nobody, and is nobody's but ours.

import Foundation
import Testing

struct JournaldTests {
    @Test func `an exchange is an entry at both ends, under one request id`() throws {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"))
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, programs: stage.units(journald.path))
            let answer = try mirror.ask(
                "POST", "/api/v1/query?secret=1", ["Content-Length: 4"], body: "body")
            #expect(answer.status == 200)
            let asked = try origin.waitForRequest()

            let relay = try journald.expect("STATUS=200", of: "magicmirrord") {
                $0["STATUS"] == "200"
            }
            let agent = try journald.expect("STATUS=200", of: "magicmirror") {
                $0["STATUS"] == "200"
            }
            let id = try #require(asked.head["X-Request-Id"])
            let common = [
                "PRIORITY": "6", "EXCHANGE": "1", "REQUEST_ID": id, "METHOD": "POST",
                "BYTES_IN": "4", "BYTES_OUT": "\(asked.target.utf8.count)",
            ]
            let ofRelay = [
                "MIRROR": "alice/prom", "PATH": "/m/alice/prom/api/v1/query",
                "CLIENT": "127.0.0.1", "KEY_ID": mirror.clientKey.id,
            ]
            let ofAgent = ["MIRROR": "prom", "PATH": "/api/v1/query"]
            for (entry, own) in [(relay, ofRelay), (agent, ofAgent)] {
                for (name, value) in Array(common) + Array(own) {
                    #expect(entry[name] == value, "\(name)")
                }
                #expect(entry["ERROR"] == nil)
                #expect(!entry.description.contains("secret"))
                // Who reads the text alone misses nothing.
                let message = try #require(entry["MESSAGE"])
                #expect(message.hasPrefix("exchange MIRROR="))
                for name in ["REQUEST_ID", "STATUS", "DURATION_MS"] {
                    #expect(message.contains(" \(name)=\(entry[name] ?? "?")"))
                }
            }
            // Each part is inside the whole, and the origin's inside the tunnel's.
            let duration = try #require(relay.microseconds("DURATION_MS"))
            let wait = try #require(relay.microseconds("WAIT_MS"))
            let firstByte = try #require(relay.microseconds("FIRST_BYTE_MS"))
            let byOrigin = try #require(agent.microseconds("ORIGIN_MS"))
            #expect(wait + firstByte <= duration)
            #expect(0 < byOrigin && byOrigin <= firstByte)
            #expect(try byOrigin <= #require(agent.microseconds("DURATION_MS")))
            for program in [mirror.relay.program, mirror.agent] {
                #expect(program.log.lines == [])
            }
        }
    }

    @Test func `what failed is found by its status and its error`() throws {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"))
            let origin = try Origin.echoingTarget()
            origin.stop()
            let mirror = try stage.mirror(origin, programs: stage.units(journald.path))
            expectProblem(try mirror.get("/x"), 502, "connection_refused")
            let relay = try journald.expect("STATUS=502", of: "magicmirrord") {
                $0["MIRROR"] == "alice/prom" && $0["STATUS"] == "502"
            }
            let agent = try journald.expect("REQUEST_ID", of: "magicmirror") {
                $0["REQUEST_ID"] == relay["REQUEST_ID"]
            }
            for entry in [relay, agent] {
                #expect(entry["PRIORITY"] == "4")
                #expect(entry["ERROR"] == "connection_refused")
                #expect(entry["REASON"]?.contains(" connection refused") == true)
            }
            #expect(agent["STATUS"] == "0")
            #expect(agent["ORIGIN_MS"] == nil)
            #expect(relay["FIRST_BYTE_MS"] == nil)
        }
    }

    /// What would be a field, or more of them, if it came to stand there.
    private static let forged =
        "x\nFORGED=1\nFORGED\n\u{1}\0\0\0\0\0\0\0a\n\" FORGED=1 \\\" FORGED=2 \\\\\" FORGED=3 \u{1b}[2J\u{9b}"

    @Test func `bytes of a client or an agent forge no entry and no field`() throws {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"))
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay(program: stage.units(journald.path).relay)
            let agent = try RawSession(agentOf: relay, key: agentKey)
            for (path, fields, isRequest) in [
                ("/%0aFORGED=1\u{e9}", [], false), ("/x\tFORGED=1", [], false),
                ("/%0aFORGED=1\"\\", [], true), ("/a\"&FORGED=1&\\\"", [], true),
                ("/x", ["X-Request-Id: a\tFORGED=1", "User-Agent: FORGED=1"], true),
                ("/x", ["X-Request-Id: FORGED=1", "X-Forwarded-For: FORGED=1"], true),
            ] {
                let client = try Connection.to(port: relay.port)
                try client.write(
                    "GET /m/alice/prom\(path) HTTP/1.1\r\nHost: a\r\n\(bearer(clientKey))\r\n"
                        + fields.map { $0 + "\r\n" }.joined() + "\r\n")
                if !isRequest {
                    #expect(try client.readResponse().status == 400)
                    continue
                }
                let request = try agent.next(RawSession.request)
                try agent.send(
                    RawSession.reset, exchange: request.exchange,
                    [0, 1] + Array(JournaldTests.forged.utf8))
                #expect(try client.readResponse().status == 502)
            }
            let entry = try journald.expect("what the agent said", of: "magicmirrord") {
                $0["REASON"]?.contains("FORGED=3") == true
            }
            #expect(entry["REASON"]?.hasPrefix(#"x\nFORGED=1\nFORGED\n\x01\x00"#) == true)
            expectOwnFields(journald)
        }
    }

    @Test func `bytes of a relay forge no entry and no field`() throws {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"))
            let origin = stage.keep(try Origin.echoingTarget())
            let relay = try stage.relayByHand(origin, agent: stage.units(journald.path).agent)
            try relay.send(
                RawSession.request, flags: RawSession.end, exchange: 1,
                Array(
                    "GET /\"FORGED=1 HTTP/1.1\r\nHost: a\r\nX-Request-Id: a\" FORGED=1\t\u{9b}\r\n\r\n"
                        .utf8))
            try relay.send(
                RawSession.request, flags: RawSession.end, exchange: 2,
                Array("GET /x HTTP/1.1\r\nHost: a\r\nX-Request-Id: last\r\n\r\n".utf8))
            try journald.expect("the last request", of: "magicmirror") {
                $0["REQUEST_ID"] == "last"
            }
            expectOwnFields(journald)
        }
    }

    /// The entries have the fields that the manuals name, and of those only printable ASCII.
    private func expectOwnFields(_ journald: Journald) {
        let own: Set = [
            "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "PRIORITY", "MESSAGE", "MIRROR", "EXCHANGE",
            "REQUEST_ID", "CLIENT", "KEY_ID", "METHOD", "PATH", "STATUS", "ERROR", "REASON",
            "BYTES_IN", "BYTES_OUT", "WAIT_MS", "FIRST_BYTE_MS", "ORIGIN_MS", "DURATION_MS",
            "ADDRESS", "KEYS", "PROTOCOL", "AGENT_VERSION", "INSTANCE", "REMOTE", "RELAY_VERSION",
            "NOTE",
        ]
        for entry in journald.entries {
            for (name, value) in entry.fields {
                #expect(own.contains(name), "\(entry)")
                #expect(value.utf8.allSatisfy { (0x20..<0x7F).contains($0) }, "\(entry)")
            }
        }
    }

    @Test func `a journald that takes nothing holds up no request, and is told what it has missed`()
        throws
    {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"), takes: false)
            let mirror = try stage.mirror(
                .echoingTarget(), programs: stage.units(journald.path),
                relay: "admin-listen = unix:\(stage.path("relay"))\n",
                agent: ["--metrics-listen", "unix:\(stage.path("agent"))"])
            // More than a socket and the buffer hold: about 200 and 256 KiB.
            let path = "/" + String(repeating: "x", count: 900)
            let client = try mirror.connect()
            for _ in 1...900 {
                try client.write(mirror.request("GET", path))
                #expect(try client.readResponse().text == path)
            }
            for (socket, name) in [
                ("relay", "journal_lost_lines_total"), ("agent", "agent_journal_lost_lines_total"),
            ] {
                #expect(try stage.metric(name, at: stage.path(socket)) > 0)
            }
            journald.receive()
            for program in ["magicmirrord", "magicmirror"] {
                try journald.expect("how many were lost", of: program) {
                    $0["MESSAGE"]?.hasPrefix(
                        "warning: journal lines lost COUNT=") == true
                        && Int($0["COUNT"] ?? "") ?? 0 > 0
                }
            }
        }
    }

    @Test func `entries wait for a journald that comes back`() throws {
        try stage { stage in
            let first = try Journald(at: stage.path("journald"))
            let mirror = try stage.mirror(.echoingTarget(), programs: stage.units(first.path))
            #expect(try mirror.get("/before").text == "/before")
            try first.expect("the first request", of: "magicmirror") { $0["PATH"] == "/before" }
            first.stop()
            for number in 1...5 { #expect(try mirror.get("/\(number)").status == 200) }
            let second = try Journald(at: stage.path("journald"))
            for number in 1...5 {
                try second.expect("request \(number)", of: "magicmirror") {
                    $0["PATH"] == "/\(number)"
                }
                try second.expect("request \(number)", of: "magicmirrord") {
                    $0["PATH"] == "/m/alice/prom/\(number)"
                }
            }
        }
    }

    @Test func `where journald takes no entries, lines go to standard error with priorities`()
        throws
    {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), programs: stage.units(stage.path("nobody")))
            #expect(try mirror.get("/x").text == "/x")
            for program in [mirror.relay.program, mirror.agent] {
                try program.expectLog("<6>exchange") { $0.hasPrefix("<6>exchange MIRROR=") }
            }
        }
    }

    @Test func `why a program does not start is an error of the journal`() throws {
        try stage { stage in
            let journald = try Journald(at: stage.path("journald"))
            let programs = try stage.units(journald.path)
            for (path, name) in [(programs.relay, "magicmirrord"), (programs.agent, "magicmirror")]
            {
                let failed = try stage.run(path, ["--config", stage.path("none")])
                #expect(failed.exit == .code(78))
                #expect(failed.error.hasPrefix("<3>\(name): "), "\(failed.error)")
            }
        }
    }

    @Test func `the query is logged where the operator asks for it`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), relay: "log-query = yes\n", agent: ["--log-query"])
            #expect(try mirror.get("/a?b=c&d").text == "/a?b=c&d")
            try mirror.relay.program.expectLog("PATH") {
                $0.contains(#" PATH="/m/alice/prom/a?b=c&d" "#)
            }
            try mirror.agent.expectLog("PATH") { $0.contains(#" PATH="/a?b=c&d" "#) }
            #expect(try mirror.get("/plain").status == 200)
            try mirror.agent.expectLog("PATH") { $0.contains(" PATH=/plain ") }
        }
    }
}
