// The one place where threads meet: exclusion, test-and-take, wake-ups, deadlines.

import Synchronization
import Testing
import Threads

@Suite struct MonitorTests {
    @Test func `one thread at a time is inside, and no change is lost`() throws {
        let monitor = Monitor(0)
        let inside = Atomic(0)
        let intruders = Atomic(0)
        let crew = Crew()
        try crew.start(4) { _ in
            for _ in 0..<10_000 {
                monitor.withLock { count in
                    if inside.add(1, ordering: .relaxed).newValue != 1 {
                        intruders.add(1, ordering: .relaxed)
                    }
                    count += 1
                    inside.subtract(1, ordering: .relaxed)
                }
            }
        }
        #expect(crew.hasEnded())
        #expect(monitor.withLock { $0 } == 40_000)
        #expect(intruders.load(ordering: .relaxed) == 0)
    }

    @Test func `what two wait for goes to one of them`() throws {
        let tokens = Monitor(0)
        let taken = Monitor(0)
        let crew = Crew()
        let each = 2_000
        try crew.start(3) { _ in
            while tokens.wait(until: soon, { $0 == 0 ? nil : $0 < 0 ? false : take(&$0) }) == true {
                taken.withLock { $0 += 1 }
            }
        }
        try crew.start(2) { _ in
            for _ in 0..<each {
                tokens.withLock { $0 += 1 }
                tokens.signal()
            }
        }
        #expect(eventually { taken.withLock { $0 } == 2 * each })
        #expect(tokens.withLock { $0 } == 0)
        tokens.withLock { $0 = -1 }
        tokens.broadcast()
        #expect(crew.hasEnded())
        #expect(taken.withLock { $0 } == 2 * each)

        @Sendable func take(_ tokens: inout Int) -> Bool {
            tokens -= 1
            return true
        }
    }

    @Test func `what is there is taken without waiting, even after the deadline`() {
        let monitor = Monitor("there")
        #expect(monitor.wait(until: Deadline(nanoseconds: 0)) { $0 } == "there")
    }

    @Test func `a wait ends at its deadline, not before`() {
        let monitor = Monitor(())
        let deadline = Deadline.after(milliseconds: 20)
        #expect(monitor.wait(until: deadline) { _ -> Int? in nil } == nil)
        #expect(deadline.hasPassed)
    }

    @Test func `what comes at the very deadline is still taken`() {
        let monitor = Monitor(0)
        let found = monitor.wait(until: .now) { looks -> Int? in
            looks += 1
            return looks == 2 ? looks : nil
        }
        #expect(found == 2)
    }

    @Test func `a wake-up for nothing goes on waiting`() throws {
        struct State: Sendable {
            var looks = 0
            var isThere = false
        }
        let monitor = Monitor(State())
        let found = Monitor<Bool?>(nil)
        let crew = Crew()
        try crew.start { _ in
            let isThere = monitor.wait(until: soon) { state -> Bool? in
                state.looks += 1
                return state.isThere ? true : nil
            }
            found.withLock { $0 = isThere ?? false }
        }
        #expect(
            eventually {
                monitor.signal()
                return monitor.withLock { $0.looks } >= 3
            })
        #expect(found.withLock { $0 } == nil)
        monitor.withLock { $0.isThere = true }
        monitor.signal()
        #expect(crew.hasEnded())
        #expect(found.withLock { $0 } == true)
    }

    @Test func `a broadcast wakes everybody`() throws {
        struct State: Sendable {
            var waiting = 0
            var isOpen = false
        }
        let gate = Monitor(State())
        let crew = Crew()
        try crew.start(5) { _ in
            gate.withLock { $0.waiting += 1 }
            _ = gate.wait(until: soon) { $0.isOpen ? true : nil }
        }
        #expect(eventually { gate.withLock { $0.waiting } == 5 })
        gate.withLock { $0.isOpen = true }
        gate.broadcast()
        #expect(crew.hasEnded())
    }

    @Test func `a signal is enough for each of those who wait`() throws {
        struct State: Sendable {
            var waiting = 0
            var tokens = 0
        }
        let monitor = Monitor(State())
        let crew = Crew()
        try crew.start(5) { _ in
            var isCounted = false
            _ = monitor.wait(until: soon) { state -> Bool? in
                if !isCounted {
                    isCounted = true
                    state.waiting += 1
                }
                if state.tokens == 0 { return nil }
                state.tokens -= 1
                return true
            }
        }
        #expect(eventually { monitor.withLock { $0.waiting } == 5 })
        for _ in 0..<5 {
            monitor.withLock { $0.tokens += 1 }
            monitor.signal()
        }
        #expect(crew.hasEnded())
    }

    @Test func `an error leaves the lock open`() {
        struct Failure: Error {}
        let monitor = Monitor(1)
        #expect(throws: Failure.self) {
            try monitor.withLock { (state: inout Int) throws(Failure) in
                state = 2
                throw Failure()
            }
        }
        #expect(monitor.withLock { $0 } == 2)
    }

    @Test(arguments: [Int.min, -1, 0, 1, 999_999_999])
    func `a deadline before the start of the machine has passed`(nanoseconds: Int) {
        let monitor = Monitor(())
        let deadline = Deadline(nanoseconds: nanoseconds)
        #expect(monitor.wait(until: deadline) { _ -> Int? in nil } == nil)
    }

    @Test(arguments: [Int.max, Int.max / 2])
    func `the latest deadlines can be waited for`(nanoseconds: Int) throws {
        let monitor = Monitor(false)
        let crew = Crew()
        try crew.start { _ in
            _ = monitor.wait(until: Deadline(nanoseconds: nanoseconds)) { $0 ? true : nil }
        }
        monitor.withLock { $0 = true }
        monitor.signal()
        #expect(crew.hasEnded())
    }

    @Test func `the state is released with its monitor`() {
        final class Probe: Sendable {}
        weak var probe: Probe?
        do {
            let state = Probe()
            probe = state
            let monitor = Monitor(state)
            #expect(monitor.withLock { $0 === state })
        }
        #expect(probe == nil)
    }
}
