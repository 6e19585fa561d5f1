// Signals by the hundred at both programs while clients ask.

import Foundation
import Testing

struct SignalStormTests {
    @Test func `a storm of signals, and standing still for moments, cost no request`() throws {
        try stage { stage in
            let mirror = try stage.mirror(Load.origin())
            let load = Load(mirror)
            try load.waitForRight(5)
            let signals = [SIGCHLD, SIGURG, SIGWINCH, SIGPIPE, SIGCONT]
            for turn in 0..<300 {
                for program in [mirror.relay.program, mirror.agent] {
                    for signal in signals { program.send(signal) }
                    // Whoever is stopped in a wait is woken from it by an error (signal(7)).
                    if turn % 10 == 0 {
                        program.send(SIGSTOP)
                        program.send(SIGCONT)
                    }
                }
                if turn % 10 == 0 { try load.waitForRight(1) }
            }
            let tally = try load.stop()
            #expect(tally.right == tally.all, "\(tally)")
            #expect(!mirror.relay.program.log.lines.contains { $0.contains("disconnected") })
            #expect(mirror.agent.output.lines.count == 1)
        }
    }
}
