// What moves from thread to thread, once.

import Testing
import Threads

/// Unshared, as connections are.
private final class Luggage {
    var count = 0
}

@Suite struct HandoverTests {
    @Test func `a value moves on with what its first owner did to it`() throws {
        let luggage = Luggage()
        luggage.count = 1
        let handover = Handover(luggage)
        let seen = Monitor(0)
        let crew = Crew()
        try crew.start { _ in
            let luggage = handover.take()
            luggage.count += 1
            seen.withLock { $0 = luggage.count }
        }
        #expect(crew.hasEnded())
        #expect(seen.withLock { $0 } == 2)
    }

    @Test func `it passes through a pool to one of many`() throws {
        let pool = WorkerPool<Handover<Luggage>>()
        let state = Monitor((taken: 0, sum: 0))
        try pool.start(name: "worker", workers: 3, waiting: 100) { handover, _ in
            let luggage = handover.take()
            luggage.count += 1
            state.withLock {
                $0.taken += 1
                $0.sum += luggage.count
            }
            state.signal()
        }
        for number in 0..<100 {
            let luggage = Luggage()
            luggage.count = number
            #expect(pool.submit(Handover(luggage)))
        }
        let sum = state.wait(until: soon) { $0.taken == 100 ? $0.sum : nil }
        #expect(sum == 99 * 100 / 2 + 100)
        pool.close()
    }

    @Test func `taking twice traps`() async {
        await #expect(processExitsWith: .failure) {
            let handover = Handover(Luggage())
            _ = handover.take()
            _ = handover.take()
        }
    }

    @Test func `what nobody took is released`() {
        final class Probe: Sendable {}
        weak var seen: Probe?
        do {
            let probe = Probe()
            seen = probe
            _ = Handover(probe)
        }
        #expect(seen == nil)
    }
}
