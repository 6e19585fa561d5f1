// SIGHUP at the agent: it connects anew by what its configuration says now, and the sessions from
// before finish what runs.

import Foundation
import Testing

struct AgentReloadTests {
    @Test func `a reload changes origin and policy, and no request is lost`() throws {
        try stage { stage in
            let (mirror, file) = try reloadable(
                stage, Origin.answering { _ in Answer(200, body: "old") })
            let next = stage.keep(try Origin.answering { _ in Answer(200, body: "new") })
            #expect(try mirror.get("/x").text == "old")
            try stage.write(
                file, top(mirror) + "[mirror prom]\nlocal = \(next.url)\nallow = GET /x\n")
            mirror.agent.send(SIGHUP)
            let changed = try askUntil("the new origin answers", .patient) {
                let answer = try mirror.get("/x")
                #expect(answer.status == 200)
                return answer
            } _: {
                $0.text == "new"
            }
            #expect(changed.body.isWhole)
            try mirror.agent.expectLog("the end of the session from before") {
                $0.hasPrefix("session ended ")
            }
            expectProblem(try mirror.get("/y"), 403, "http_request_denied")
            #expect(try mirror.get("/x").text == "new")
        }
    }

    @Test func `an exchange that runs ends on the session with which it began`() throws {
        try stage { stage in
            let finish = Gate()
            let (mirror, file) = try reloadable(stage, .pausing(until: finish))
            let held = try mirror.half()
            try stage.write(file, try stage.read(stage.path(file)) + "\nallow = GET /new\n")
            mirror.agent.send(SIGHUP)
            _ = try askUntil("the new policy counts", .patient) {
                try mirror.get("/other")
            } _: {
                $0.status == 403
            }
            finish.open()
            try held.expectRest()
            try mirror.agent.expectLog("the end of the session from before") {
                $0.hasPrefix("session ended ")
            }
        }
    }

    @Test func `mirrors come and go with a reload`() throws {
        try stage { stage in
            let (mirror, file) = try reloadable(stage, .echoingTarget(), agentName: "*")
            let local = try stage.read(stage.path(file)).split(separator: "\n").last ?? ""
            try stage.write(file, top(mirror) + "[mirror other]\n\(local)\n")
            mirror.agent.send(SIGHUP)
            _ = try mirror.agent.expectReady("ready mirror=other ")
            try mirror.agent.expectLog("the end of the other") {
                $0.hasPrefix("session ended MIRROR=prom ")
            }
            let came = try ask(mirror.relay, "/m/alice/other/x", [bearer(mirror.clientKey)])
            #expect(came.text == "/x")
            _ = try askUntil("the relay notices, too", .patient) {
                try mirror.get("/x")
            } _: {
                $0.status == 503
            }
        }
    }

    @Test func `a key can be exchanged without a moment in between`() throws {
        try stage { stage in
            let (mirror, _) = try reloadable(stage, .echoingTarget())
            let next = try mirror.relay.addKey(role: "agent", name: "prom")
            try mirror.relay.program.expectLog("the new key") {
                $0.hasPrefix("keys changed KEYS=3")
            }
            try stage.write("agent.key", next.secret + "\n")
            mirror.agent.send(SIGHUP)
            try mirror.relay.program.expectLog("a session by the new key") {
                $0.hasPrefix("agent connected ") && $0.contains("KEY_ID=\(next.id)")
            }
            try mirror.agent.expectLog("the end of the session from before") {
                $0.hasPrefix("session ended ")
            }
            try mirror.relay.revoke(mirror.agentKey)
            try mirror.relay.program.expectLog("it is revoked") {
                $0.hasPrefix("keys changed KEYS=2")
            }
            #expect(try mirror.get("/x").status == 200)
        }
    }

    @Test func `a key that the relay refuses leaves the session from before as it is`() throws {
        try stage { stage in
            let (mirror, _) = try reloadable(stage, .echoingTarget())
            try stage.write("agent.key", "mma_wrong\n")
            mirror.agent.send(SIGHUP)
            try mirror.agent.expectLog("the refusal") {
                $0.hasPrefix("error: the relay refuses this agent") && $0.contains("STATUS=401")
            }
            #expect(try mirror.get("/x").status == 200)
            try stage.write("agent.key", mirror.agentKey.secret + "\n")
            mirror.agent.send(SIGHUP)
            try mirror.agent.expectLog("the end of the session from before") {
                $0.hasPrefix("session ended ")
            }
            #expect(try mirror.get("/x").status == 200)
        }
    }

    @Test(arguments: [
        ("remot = x\n", "1: unknown key 'remot' (did you mean 'remote'?)"),
        ("ca-file = /nowhere\n", "1: cannot use trusted certificates '/nowhere'"),
        (
            "workers = 3\n",
            "1: key 'workers': a reload cannot change it (restart magicmirror)"
        ),
    ])
    func `what an agent cannot use is refused, and it goes on as it was`(
        line: String, message: String
    ) throws {
        try stage { stage in
            let (mirror, file) = try reloadable(stage, .echoingTarget())
            let whole = try stage.read(stage.path(file)) + "\n"
            #expect(try lastReloadSucceeded(stage))
            try stage.write(file, line + whole)
            mirror.agent.send(SIGHUP)
            try mirror.agent.expectLog("why it was refused") {
                $0.hasPrefix("error: reload refused, all stays as it was")
                    && $0.contains("\(stage.path(file)):\(message)")
            }
            #expect(try !lastReloadSucceeded(stage))
            #expect(try mirror.get("/x").status == 200)
            #expect(!mirror.agent.log.lines.contains { $0.contains("session ended") })
            try stage.write(file, whole)
            mirror.agent.send(SIGHUP)
            try mirror.agent.expectLog("it is taken") { $0.hasPrefix("reloaded MIRRORS=1") }
            #expect(try lastReloadSucceeded(stage))
        }
    }

    // MARK: -

    /// The mirror alice/prom, whose agent has a configuration file; and the file's name.
    private func reloadable(
        _ stage: Stage, _ origin: Origin, agentName: String = "prom"
    ) throws -> (Mirror, file: String) {
        let agentKey = try stage.addKey(role: "agent", name: agentName)
        let clientKey = try stage.addKey(role: "client")
        let relay = try stage.relay()
        try stage.write("agent.key", agentKey.secret + "\n")
        try stage.write(
            "agent.conf",
            top(stage, relay) + "[mirror prom]\nlocal = \(stage.keep(origin).url)\n")
        let agent = try stage.start(Built.agent, ["--config", stage.path("agent.conf")])
        _ = try agent.expectReady("ready mirror=prom ")
        let mirror = Mirror(
            relay: relay, agent: agent, agentKey: agentKey, clientKey: clientKey)
        return (mirror, "agent.conf")
    }

    private func top(_ mirror: Mirror) -> String { top(mirror.relay.stage, mirror.relay) }

    private func top(_ stage: Stage, _ relay: Relay) -> String {
        """
        remote = \(relay.remote)
        apikey-file = agent.key
        metrics-listen = unix:\(stage.path("metrics"))

        """
    }

    /// Whether the last reload was taken, as the agent's metrics have it.
    private func lastReloadSucceeded(_ stage: Stage) throws -> Bool {
        try stage.metric("agent_config_last_reload_successful", at: stage.path("metrics")) == 1
    }
}
