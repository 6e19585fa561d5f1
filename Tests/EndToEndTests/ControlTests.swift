// magicmirrorctl against a running relay: what it shows, what it orders, and who may.

import Foundation
import Testing

struct ControlTests {
    @Test func `status shows what the relay does`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let text = try control(stage, ["status"])
            #expect(text.exit == .code(0), "\(text.error)")
            for words in [["state", "serving"], ["sessions", "1"], ["keys", "2"]] {
                #expect(
                    text.output.split(separator: "\n").contains {
                        $0.split(separator: " ").map(String.init) == words
                    }, "\(text.output)")
            }
            let status = json(try control(stage, ["status", "--json"]).outputBytes)
            #expect(status["state"] as? String == "serving")
            #expect(status["addresses"] as? [String] == [mirror.relay.address])
            #expect(status["sessions"] as? Int == 1)
            #expect(status["keys"] as? Int == 2)
            #expect(status["exchanges"] as? Int == 0)
        }
    }

    @Test func `mirrors are listed with their agents`() throws {
        try stage { stage in
            let mirror = try controlled(stage, "[mirror bob/grafana]\naccess = public\n")
            let text = try control(stage, ["mirrors"])
            let lines = text.output.split(separator: "\n").map { $0.split(separator: " ") }
            #expect(lines.count == 3, "\(text.output)")
            #expect(lines.dropFirst().first?.prefix(2) == ["alice/prom", "connected"])
            #expect(lines.dropFirst().first?.contains(mirror.agentKey.id[...]) == true)
            #expect(lines.last?.prefix(2) == ["bob/grafana", "disconnected"])

            let list = try control(stage, ["mirrors", "--json"])
            let mirrors =
                try JSONSerialization.jsonObject(with: Data(list.outputBytes))
                as? [[String: Any]] ?? []
            #expect(mirrors.map { $0["name"] as? String } == ["prom", "grafana"])
            #expect(mirrors.map { $0["state"] as? String } == ["connected", "disconnected"])
            #expect(mirrors.map { $0["access"] as? String } == ["key", "public"])
            let session = (mirrors.first?["sessions"] as? [[String: Any]])?.first
            #expect(session?["key"] as? String == mirror.agentKey.id)
            #expect((session?["agent"] as? String)?.hasPrefix("magicmirror ") == true)
        }
    }

    @Test func `a mirror's agents are disconnected, and come back`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let done = try control(stage, ["disconnect", "alice/prom", "--json"])
            #expect(done.exit == .code(0), "\(done.error)")
            #expect(json(done.outputBytes)["sessions"] as? Int == 1)
            try mirror.relay.program.expectLog("the end of the session") {
                $0.contains("agent disconnected") && $0.contains("by the operator")
            }
            _ = try askUntil("the agent is back", .patient) {
                try mirror.get("/x")
            } _: {
                $0.status == 200
            }
        }
    }

    @Test func `a mirror without an agent can't be disconnected`() throws {
        try stage { stage in
            _ = try controlled(stage, "[mirror bob/grafana]\n")
            for name in ["bob/grafana", "nobody/none"] {
                let refused = try control(stage, ["disconnect", name])
                #expect(refused.exit == .code(1))
                #expect(
                    refused.error
                        == "magicmirrorctl: no agent of '\(name)' is connected (see 'mirrors')\n")
                let problem = try control(stage, ["disconnect", name, "--json"])
                #expect(problem.exit == .code(1))
                #expect(json(problem.outputBytes)["status"] as? Int == 404)
            }
        }
    }

    @Test func `a relay that is drained finishes what runs, can be watched, and stops`() throws {
        try stage { stage in
            let finish = Gate()
            let mirror = try controlled(stage, origin: .pausing(until: finish))
            let held = try mirror.half()

            #expect(
                try control(stage, ["drain"]).output == "draining, 1 exchange(s) in flight\n")
            // Ordered again, it does not stop sooner.
            #expect(try control(stage, ["drain"]).exit == .code(0))
            let status = json(try control(stage, ["status", "--json"]).outputBytes)
            #expect(status["state"] as? String == "draining")
            #expect(status["exchanges"] as? Int == 1)

            finish.open()
            try held.expectRest()
            #expect(try mirror.relay.program.exit() == .code(0))
        }
    }

    @Test func `a reload reads the keys at once, and keeps the old ones where it cannot`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let added = try mirror.relay.addKey(role: "client")
            let done = try control(stage, ["reload", "--json"])
            #expect(json(done.outputBytes)["keys"] as? Int == 3, "\(done.error)")
            #expect(try ask(mirror.relay, mirror.path("/x"), [bearer(added)]).status == 200)

            let whole = try stage.read(mirror.relay.keys)
            try stage.write("keys", whole + "\nnonsense\n")
            let refused = try control(stage, ["reload"])
            #expect(refused.exit == .code(1))
            #expect(
                refused.error.hasPrefix("magicmirrorctl: \(mirror.relay.keys):"),
                "\(refused.error)")
            #expect(try mirror.get("/x").status == 200)
        }
    }

    @Test func `SIGHUP reloads`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            mirror.relay.program.send(SIGHUP)
            try mirror.relay.program.expectLog("reloaded") { $0.contains("reloaded KEYS=2") }
            #expect(try mirror.get("/x").status == 200)
        }
    }

    // MARK: who may

    @Test func `the control socket is for its owner and its group`() throws {
        try stage { stage in
            _ = try controlled(stage)
            var status = stat()
            #expect(lstat(stage.path("control"), &status) == 0)
            #expect(status.st_mode & S_IFMT == S_IFSOCK)
            #expect(status.st_mode & 0o7777 == 0o660)
        }
    }

    @Test func `nothing that changes the relay is served anywhere else`() throws {
        try stage { stage in
            let mirror = try controlled(stage, "admin-listen = unix:\(stage.path("admin"))\n")
            for order in ["drain", "reload", "disconnect?mirror=alice/prom"] {
                for method in ["POST", "GET"] {
                    let admin = try stage.curl(
                        "http://a/\(order)",
                        ["--unix-socket", stage.path("admin"), "--request", method])
                    #expect(admin.status == 404, "\(method) \(order)")
                    let outside = try ask(mirror.relay, "/\(order)", method: method)
                    #expect(outside.status == 404, "\(method) \(order)")
                }
            }
            let page = try stage.curl("http://a/status", ["--unix-socket", stage.path("admin")])
            #expect(page.text.contains("serving"))
            #expect(try mirror.get("/x").status == 200)
            #expect(
                json(try control(stage, ["status", "--json"]).outputBytes)["sessions"] as? Int == 1)
        }
    }

    @Test(arguments: [
        "GET /drain HTTP/1.1\r\nHost: a\r\n\r\n", "POST /status HTTP/1.1\r\nHost: a\r\n\r\n",
        "POST /nonsense HTTP/1.1\r\nHost: a\r\n\r\n",
    ])
    func `what is no order changes nothing`(request: String) throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let words = request.split(separator: " ")
            let answer = try stage.curl(
                "http://a\(words[1])",
                ["--unix-socket", stage.path("control"), "--request", String(words[0])])
            #expect(answer.status == 404)
            #expect(try mirror.get("/x").status == 200)
        }
    }

    // MARK: the socket and its file

    @Test func `a socket that a dead relay has left is replaced, one in use is not`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let second = try stage.relayConfiguration(
                "second.conf", certificate: nil, "control-socket = \(stage.path("control"))\n")
            let refused = try stage.run(Built.relay, ["--config", second])
            #expect(refused.exit == .code(1))
            #expect(
                refused.error.hasPrefix(
                    "\(second):4: cannot bind 'unix:\(stage.path("control"))': Address already in use ("
                ), "\(refused.error)")
            #expect(try control(stage, ["status"]).exit == .code(0))

            mirror.relay.program.end()
            let dead = try control(stage, ["status"])
            #expect(dead.exit == .code(1))
            #expect(dead.error.contains("is magicmirrord running"), "\(dead.error)")
            let relay = try stage.start(Built.relay, ["--config", second])
            _ = try relay.expectReady("ready address=")
            #expect(try control(stage, ["status"]).exit == .code(0))
        }
    }

    @Test func `the socket is where the relay's configuration says`() throws {
        try stage { stage in
            let mirror = try controlled(stage)
            let byFile = try stage.run(
                Built.control, ["status", "--config", stage.path("relay.conf")])
            #expect(byFile.exit == .code(0), "\(byFile.error)")
            #expect(byFile.output.contains(mirror.relay.address))
        }
    }

    // MARK: -

    /// The mirror alice/prom behind a relay with a control socket.
    private func controlled(
        _ stage: Stage, origin: Origin? = nil, _ more: String = ""
    ) throws -> Mirror {
        try stage.mirror(
            origin ?? .echoingTarget(), relay: "control-socket = \(stage.path("control"))\n" + more)
    }

    private func control(_ stage: Stage, _ arguments: [String]) throws -> Finished {
        try stage.run(Built.control, arguments + ["--socket", stage.path("control")])
    }
}
