// What the tests of this target share: threads that run at once, deadlines, random numbers that are
// always the same.

import Glibc
import Testing
import Threads

/// For a wait that succeeds where the code is right: long enough for a busy machine.
var soon: Deadline { .after(seconds: 300) }

/// Threads of a test, and the wait for their end.
final class Crew: Sendable {
    private let running = Monitor(0)

    /// Runs `body` on `count` new threads, with the numbers from 0.
    func start(_ count: Int = 1, _ body: @escaping @Sendable (Int) -> Void) throws {
        for number in 0..<count {
            running.withLock { $0 += 1 }
            try Thread.start(name: "test-\(number)") { [running] in
                body(number)
                running.withLock { $0 -= 1 }
                running.broadcast()
            }
        }
    }

    /// Whether all have ended in time.
    func hasEnded() -> Bool {
        running.wait(until: soon) { $0 == 0 ? true : nil } ?? false
    }
}

/// Looks again and again until `condition` holds, for what nobody signals.
func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = soon
    while !condition() {
        if deadline.hasPassed { return false }
        sched_yield()
    }
    return true
}

/// SplitMix64: small, and the same sequence everywhere for one seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}
