// How slow a client may be, without waiting for one: the waits are given as past.

import Testing
import Threads

@testable import Relay

@Suite struct RateMeterTests {
    /// 500 bytes a second in each 20 seconds of waiting.
    private func meter() -> RateMeter { RateMeter(RelayLimits()) }

    /// Waits of so many seconds and what moved in each; whether the last one was still fast enough.
    private func isFast(_ waits: [(seconds: Int, bytes: Int)]) -> Bool {
        var meter = meter()
        var isFast = true
        for wait in waits where isFast {
            isFast = meter.account(
                since: Deadline.now + -wait.seconds * 1_000_000_000, bytes: wait.bytes)
        }
        return isFast
    }

    @Test func `before the first window is over nothing is too slow`() {
        #expect(isFast([(19, 0)]))
        #expect(isFast([(10, 0), (9, 0)]))
        #expect(!isFast([(10, 0), (10, 0)]))
    }

    @Test func `the least rate is enough, and a byte less is not`() {
        #expect(isFast([(20, 10_010)]))
        #expect(!isFast([(20, 9_999)]))
        #expect(isFast([(10, 5_005), (10, 5_005), (20, 10_010)]))
    }

    @Test func `what moves in large steps is as fast as it is in small ones`() {
        // 64 KiB every 32 seconds: 2 KiB a second.
        #expect(isFast([(20, 65_536), (20, 0), (12, 65_536), (20, 0), (12, 65_536)]))
    }

    @Test func `a fast start does not pay for an endless stall`() {
        #expect(isFast([(1, 1 << 30), (19, 0), (20, 0), (20, 0)]))
        #expect(!isFast([(1, 1 << 30), (19, 0), (20, 0), (20, 0), (20, 0)]))
    }
}
