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

    @Test func `it passes through a queue to one of many`() throws {
        let queue = BlockingQueue<Handover<Luggage>>(capacity: 100)
        let sum = Monitor(0)
        let crew = Crew()
        try crew.start(3) { _ in
            while let handover = queue.take(until: soon) {
                let luggage = handover.take()
                luggage.count += 1
                sum.withLock { $0 += luggage.count }
            }
        }
        for number in 0..<100 {
            let luggage = Luggage()
            luggage.count = number
            #expect(queue.offer(Handover(luggage)))
        }
        queue.close()
        #expect(crew.hasEnded())
        #expect(sum.withLock { $0 } == 99 * 100 / 2 + 100)
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
