// Threads: their names, and what they hold.

import Foundation
import Testing

@testable import Threads

@Suite struct ThreadTests {
    private func name(of given: String) throws -> String? {
        let seen = Monitor<String?>(nil)
        try Threads.Thread.start(name: given) {
            let name = try? String(contentsOfFile: "/proc/thread-self/comm", encoding: .utf8)
            seen.withLock { $0 = name?.trimmingCharacters(in: .newlines) ?? "" }
            seen.signal()
        }
        return seen.wait(until: soon) { $0 }
    }

    @Test(arguments: [
        ("accept-1", "accept-1"),
        ("agent-localprometheus", "agent-localprom"),
        ("", ""),
    ])
    func `the kernel knows a thread by its name`(given: String, kept: String) throws {
        #expect(try name(of: given) == kept)
    }

    @Test func `a thread gives back what it held`() throws {
        final class Probe: Sendable {}
        weak var seen: Probe?
        do {
            let probe = Probe()
            seen = probe
            let handover = Handover(probe)
            try Threads.Thread.start(name: "test") { _ = handover.take() }
        }
        #expect(eventually { seen == nil })
    }
}
