// Signs of life for systemd's watchdog: they come while a program moves, and not while a part of it
// stands still.
//
// Needs root: a thread stands still while a script traces it.

import Foundation
import Testing

struct WatchdogTests {
    /// So short that one is due in each round of a program's `housekeeping`.
    private static let shortWatchdog = 1000

    @Test(arguments: ["parking", "worker-"])
    func `a relay gives no sign of life while what it needs stands still`(threads: String) throws {
        try stage { stage in
            let systemd = try ServiceManager(stage)
            let programs = try systemd.programs(
                stage, watchdogMicroseconds: WatchdogTests.shortWatchdog)
            let relay = try stage.relay(program: programs.relay, "workers = 2\n")
            try systemd.expect("WATCHDOG=1", from: systemd.expect("WATCHDOG=1"))

            let hold = try stage.hold(relay.program, threads: threads)
            let start = systemd.heard.count
            // A line of each is written by another round.
            for _ in 1...6 {
                let line = relay.program.log.lines.count
                _ = try relay.addKey(role: "client")
                try relay.program.expectLog("the key", from: line) { $0.hasPrefix("keys changed") }
            }
            // Before it stood still one may have been sent, and what was asked before may have been
            // answered.
            #expect(systemd.signsOfLife(from: start) <= 2, "\(systemd.heard)")

            hold.end()
            try systemd.expect("WATCHDOG=1", from: systemd.heard.count)
        }
    }

    @Test func `an agent gives no sign of life while the owner of a session stands still`() throws {
        try stage { stage in
            let systemd = try ServiceManager(stage)
            let key = try stage.addKey(role: "agent")
            let (one, two) = (try stage.relay(), try stage.relay())
            try stage.write("key", key.secret + "\n")
            let file = try stage.write(
                "agent.conf",
                "apikey-file = \(stage.path("key"))\nlocal = 127.0.0.1:1\nreconnect-delay = 100ms\n"
                    + "[mirror one]\nremote = \(one.remote)\n[mirror two]\nremote = \(two.remote)\n"
            )
            let agent = try stage.start(
                Built.agent, ["--config", file],
                environment: [
                    "NOTIFY_SOCKET": systemd.path,
                    "WATCHDOG_USEC": "\(WatchdogTests.shortWatchdog)",
                ])
            var last = try systemd.expect("STATUS=sessions connected: 2 of 2")
            last = try systemd.expect("WATCHDOG=1", from: systemd.expect("WATCHDOG=1", from: last))

            let hold = try stage.hold(agent, threads: "relay-one")
            let start = systemd.heard.count
            // Each status is sent by another round.
            for _ in 1...3 {
                two.program.end()
                last = try systemd.expect("STATUS=sessions connected: 1 of 2", from: last)
                try two.startOnSamePort()
                last = try systemd.expect("STATUS=sessions connected: 2 of 2", from: last)
            }
            #expect(systemd.signsOfLife(from: start) <= 2, "\(systemd.heard)")

            hold.end()
            try systemd.expect("WATCHDOG=1", from: systemd.heard.count)
        }
    }

    @Test func `requests that take long are no reason to start a relay anew`() throws {
        try stage { stage in
            let systemd = try ServiceManager(stage)
            let programs = try systemd.programs(
                stage, watchdogMicroseconds: WatchdogTests.shortWatchdog)
            let release = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest(.long) {
                    try release.wait("the release", .long)
                    try visit.connection.write(Answer(200, body: "ok").bytes(to: request.method))
                }
            }
            let mirror = try stage.mirror(
                origin, programs: Programs(relay: programs.relay), relay: "workers = 4\n")
            // As many as one user may have.
            let clients = try (1...2).map { number in
                let client = try mirror.connect()
                try client.write(mirror.request("GET", "/\(number)"))
                return client
            }
            for number in 1...2 { _ = try origin.waitForRequest { $0.target == "/\(number)" } }
            var last = systemd.heard.count
            for _ in 1...3 { last = try systemd.expect("WATCHDOG=1", from: last) }
            release.open()
            for client in clients { #expect(try client.readResponse().status == 200) }
        }
    }
}
