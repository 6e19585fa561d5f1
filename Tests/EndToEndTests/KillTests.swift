// Each program killed over and over while clients ask: what was in flight is lost, and nothing else.
//
// The number of kills is MAGICMIRROR_KILLS, 5 for each program if not said: `make check-faults`
// says 100.

import Foundation
import Testing

@Suite(.serialized)
struct KillTests {
    private static let kills =
        ProcessInfo.processInfo.environment["MAGICMIRROR_KILLS"].flatMap { Int($0) } ?? 5

    @Test func `an agent killed over and over loses what it carried, and the relay nothing`()
        throws
    {
        try stage { stage in
            let play = try Play(stage)
            try play.run(survivor: play.mirror.relay.program) {
                play.agent.withLock { $0 }.end()
                try play.startAgent()
            }
        }
    }

    @Test func `a relay killed over and over loses what it carried, and the agent nothing`()
        throws
    {
        try stage { stage in
            let play = try Play(stage)
            try play.run(survivor: play.mirror.agent) {
                play.load.holdBack(true)
                play.mirror.relay.program.end()
                try play.mirror.relay.startOnSamePort()
                play.load.holdBack(false)
            }
        }
    }

    /// The programs, and clients that ask.
    private final class Play: Sendable {
        let stage: Stage
        let mirror: Mirror
        let load: Load
        let agent: Signalled<Program>
        /// The requests that change something, and how often each has reached the origin.
        private let seen = Signalled([String: Int]())
        private let origin: Origin
        /// Descriptors and threads of relay and agent before anybody asks.
        private let idle: [pid_t: (descriptors: Int, threads: Int)]
        private let options: [String]

        init(_ stage: Stage) throws {
            self.stage = stage
            let seen = self.seen
            origin = stage.keep(try Load.origin(unix: nil, seen))
            // Back within a second, so that many kills take minutes; and idle connections to the
            // origin go, so that what is open can be counted.
            let file = try stage.write(
                "agent.conf",
                "reconnect-delay = 100ms\nmaximum-reconnect-delay = 500ms\nidle-timeout = 1s\n")
            options = ["--config", file]
            mirror = try stage.mirror(origin, port: try Listener.lastingPort(), agent: options)
            agent = Signalled(mirror.agent)
            // The first request lets everything be made that stays.
            guard try mirror.get("/load/x").status == 200 else { throw Failure("not served") }
            var idle: [pid_t: (descriptors: Int, threads: Int)] = [:]
            for program in [mirror.relay.program, mirror.agent] {
                idle[program.pid] = (try program.descriptorCount(), try program.threadCount())
            }
            self.idle = idle
            load = Load(mirror)
        }

        func startAgent() throws {
            let started = try stage.startAgent(
                mirror.relay, key: mirror.agentKey.secret, local: origin.url, options)
            agent.withLock { $0 = started }
        }

        /// Kills, over and over, at points of the load that nobody chooses.
        func run(survivor: Program, _ kill: () throws -> Void) throws {
            var longest = 0.0
            for _ in 0..<KillTests.kills {
                try load.waitForRight(.random(in: 1...40))
                let start = ContinuousClock.now
                try kill()
                // More than can have been in flight: a new one is among them.
                try load.waitForRight(5)
                longest = max(longest, (.now - start) / .seconds(1))
            }
            let tally = try load.stop()
            print("\(KillTests.kills) kills, all well within \(longest) s: \(tally)")
            #expect(tally.wrong.isEmpty, "\(tally.wrong.prefix(5))")
            #expect(tally.right > KillTests.kills)
            let twice = seen.withLock { $0.filter { $0.value > 1 } }
            #expect(twice.isEmpty, "sent twice: \(twice.count)")
            #expect(survivor.unasked == nil)
            let before = try #require(idle[survivor.pid])
            try survivor.expectNoMore(
                descriptors: before.descriptors, threads: before.threads)
            #expect(try mirror.get("/load/x").status == 200)
        }
    }
}
