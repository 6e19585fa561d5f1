// How long an agent waits before it connects again.

import Testing

@testable import Agent

@Suite struct BackoffTests {
    /// The longest of many waits, and the shortest, of the attempt behind so many failures.
    private func waits(behind failures: Int, last: Duration = .seconds(30)) -> (Duration, Duration)
    {
        let many = (0..<500).map { _ in
            var backoff = Backoff(first: .milliseconds(500), last: last)
            for _ in 0..<failures { _ = backoff.next() }
            return backoff.next()
        }
        return (many.min() ?? .zero, many.max() ?? .zero)
    }

    @Test(arguments: [
        (0, 500), (1, 1000), (2, 2000), (5, 16_000), (6, 30_000), (7, 30_000), (1000, 30_000),
    ])
    func `the longest wait doubles up to its end, and each is any part of it`(
        failures: Int, milliseconds: Int
    ) {
        let longest = Duration.milliseconds(milliseconds)
        let (least, most) = waits(behind: failures)
        #expect(most <= longest)
        // Of 500 waits one is in each fifth, but once in ten to the 48th runs.
        #expect(most > longest * 4 / 5)
        #expect(least < longest / 5)
    }

    @Test func `the least end is the first wait`() {
        #expect(waits(behind: 9, last: .milliseconds(500)).1 <= .milliseconds(500))
    }

    @Test func `a session that stood makes the next wait a short one`() {
        var backoff = Backoff(first: .milliseconds(500), last: .seconds(30))
        for _ in 0..<500 {
            for _ in 0..<8 { _ = backoff.next() }
            backoff.reset()
            #expect(backoff.next() <= .milliseconds(500))
            backoff.reset()
        }
    }
}
