// Signals as values. Each is sent to the one thread that waits for it, so that the process that
// runs the tests does not stop.

import Glibc
import Testing
import Threads

@testable import Program

@Suite struct SignalsTests {
    @Test(arguments: [(SIGTERM, Signal.stop), (SIGINT, .stop), (SIGHUP, .reload)])
    func `a blocked signal is taken by whoever waits`(number: Int32, expected: Signal) throws {
        let taken = Monitor<Signal?>(nil)
        try Thread.start(name: "waiter") {
            Signals.block()
            pthread_kill(pthread_self(), number)
            let signal = Signals.next()
            taken.withLock { $0 = signal }
            taken.broadcast()
        }
        #expect(taken.wait(until: .after(seconds: 60)) { $0 } == expected)
    }

    @Test func `a write to a closed pipe is an error, not the end`() throws {
        let written = Monitor<Int32?>(nil)
        try Thread.start(name: "writer") {
            Signals.block()
            var ends: [Int32] = [0, 0]
            pipe(&ends)
            close(ends[0])
            let code = writeAll([1], to: ends[1])
            close(ends[1])
            written.withLock { $0 = code }
            written.broadcast()
        }
        #expect(written.wait(until: .after(seconds: 60)) { $0 } == EPIPE)
    }
}
