// A bell that poll(2) hears.

import Glibc
import Testing
import Threads

/// Whether the bell has rung; blocks until it does, at most until `deadline`.
private func hears(_ doorbell: Doorbell, until deadline: Deadline) -> Bool {
    var entry = pollfd(fd: doorbell.descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&entry, 1, deadline.millisecondsLeft) == 1
}

@Suite struct DoorbellTests {
    @Test func `a bell is heard until it is cleared, however often it rang`() throws {
        let doorbell = try Doorbell()
        #expect(!hears(doorbell, until: .now))
        doorbell.ring()
        doorbell.ring()
        doorbell.ring()
        #expect(hears(doorbell, until: .now))
        #expect(hears(doorbell, until: .now))
        doorbell.clear()
        #expect(!hears(doorbell, until: .now))
        doorbell.clear()
        doorbell.ring()
        #expect(hears(doorbell, until: .now))
    }

    @Test func `a ring wakes a thread in poll`() throws {
        let bells = [try Doorbell(), try Doorbell()]
        let rounds = 500
        let crew = Crew()
        // Each answers the other's ring by one: no ring is lost, or both would wait.
        try crew.start(2) { number in
            for _ in 0..<rounds {
                if number == 0 { bells[1].ring() }
                if !hears(bells[number], until: soon) { return }
                bells[number].clear()
                if number == 1 { bells[0].ring() }
            }
        }
        #expect(crew.hasEnded())
        #expect(!hears(bells[0], until: .now))
        #expect(!hears(bells[1], until: .now))
    }

    @Test func `a bell too many rings is still heard`() throws {
        let doorbell = try Doorbell()
        // The counter's end (eventfd(2)): a ring must not block there.
        var most = UInt64.max - 1
        #expect(write(doorbell.descriptor, &most, 8) == 8)
        doorbell.ring()
        #expect(hears(doorbell, until: .now))
        doorbell.clear()
        #expect(!hears(doorbell, until: .now))
    }
}
