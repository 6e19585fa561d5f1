// What the programs tell systemd: that they serve, reload and stop, and how they are. A test plays
// systemd.

import Foundation
import Testing

struct ServiceManagerTests {
    @Test func `a relay says that it serves, that it reloads, and that it stops`() throws {
        try stage { stage in
            let systemd = try ServiceManager(stage)
            let programs = try systemd.programs(stage)
            let relay = try stage.relay(program: programs.relay, "drain-timeout = 7s\n")
            let next = try reload(relay.program, systemd, from: systemd.expect("READY=1"))
            // One that is refused has come to its end, too.
            try stage.write("relay.conf", "nonsense\n")
            let last = try reload(relay.program, systemd, from: next)
            relay.program.send(SIGTERM)
            try systemd.expect("STOPPING=1\nEXTEND_TIMEOUT_USEC=12000000", from: last)
            #expect(try relay.program.exit() == .code(0))
            let states = systemd.heard.filter { !$0.hasPrefix("STATUS=") }
            #expect(states.first == "READY=1" && states.count == 6, "\(states)")
        }
    }

    @Test func `an agent says that it serves though no relay answers, that it reloads and stops`()
        throws
    {
        try stage { stage in
            let systemd = try ServiceManager(stage)
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", "ws://127.0.0.1:\(Listener.freePort())/mirror", "--name", "prom",
                    "--apikey-file", stage.write("key", "sixteen-or-more-characters\n"),
                    "--local", "127.0.0.1:1",
                ], environment: ["NOTIFY_SOCKET": systemd.path])
            let next = try reload(agent, systemd, from: systemd.expect("READY=1"))
            try systemd.expect("STATUS=sessions connected: 0 of 1")
            agent.send(SIGTERM)
            try systemd.expect("STOPPING=1", from: next) { $0.hasPrefix("STOPPING=1\n") }
            #expect(try agent.exit() == .code(0))
        }
    }

    /// - Returns: the number of the notice behind the end of the reload.
    private func reload(_ program: Program, _ systemd: ServiceManager, from start: Int) throws
        -> Int
    {
        program.send(SIGHUP)
        let begun = try systemd.expect("RELOADING=1", from: start) { notice in
            let lines = notice.split(separator: "\n")
            return lines.first == "RELOADING=1" && lines.count == 2
                && Int(lines[1].dropFirst("MONOTONIC_USEC=".count)) ?? 0 > 0
        }
        return try systemd.expect("READY=1", from: begun)
    }

    @Test func `the status of both follows the sessions`() throws {
        try stage { stage in
            let (one, two) = (try ServiceManager(stage), try ServiceManager(stage, "agent"))
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay(program: one.programs(stage).relay)
            let began = try one.expect("STATUS=serving, mirrors: 0, sessions: 0")
            let agent = try stage.startAgent(
                relay, key: key.secret, local: "127.0.0.1:1",
                environment: ["NOTIFY_SOCKET": two.path])
            let connected = try two.expect("STATUS=sessions connected: 1 of 1")
            let served = try one.expect("STATUS=serving, mirrors: 1, sessions: 1", from: began)
            relay.program.end()
            let lost = try two.expect("STATUS=sessions connected: 0 of 1", from: connected)
            try relay.startOnSamePort()
            try two.expect("STATUS=sessions connected: 1 of 1", from: lost)
            let back = try one.expect("STATUS=serving, mirrors: 1, sessions: 1", from: served)
            agent.end()
            try one.expect("STATUS=serving, mirrors: 0, sessions: 0", from: back)
        }
    }

    @Test func `a service manager that does not listen keeps nobody from serving`() throws {
        try stage { stage in
            let programs = try stage.scripted {
                "env NOTIFY_SOCKET=\(stage.path("none")) WATCHDOG_USEC=1000 \($0) \"$@\""
            }
            let mirror = try stage.mirror(
                .echoingTarget(), programs: programs)
            #expect(try mirror.get("/x").text == "/x")
            for program in [mirror.relay.program, mirror.agent] {
                try program.expectLog("that it was not heard") {
                    $0.hasPrefix("warning: cannot tell the service manager")
                }
            }
        }
    }
}
