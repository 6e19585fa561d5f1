// Whether a client takes or brings a body fast enough.
//
// Called by: the workers, around each wait for a client's socket.
// Hard: only the time spent waiting for the client counts, or an origin that pauses would be held
// against it. It counts anew in each window, or a fast start would pay for an endless stall; but two
// windows' worth is carried on, for what a client takes shows in steps of its receive buffer.

import Threads

/// At least `minimum-rate` bytes per second over each `minimum-rate-after` of waiting, or saved from
/// the two before.
struct RateMeter {
    private let window: Int
    private let minimumBytes: Int
    private var waited = 0
    private var moved = 0

    init(_ limits: RelayLimits) {
        window = limits.minimumRateAfter.nanoseconds
        let (product, overflow) = limits.minimumBytesPerSecond.multipliedReportingOverflow(
            by: window / 1_000_000)
        minimumBytes = overflow ? Int.max / 4 : product / 1000
    }

    /// Until when the client may be waited for now.
    var deadline: Deadline { Deadline.now + (window - waited) }

    /// Accounts for a wait that began at `start`, after which `bytes` moved.
    ///
    /// - Returns: false where the client is too slow.
    mutating func account(since start: Deadline, bytes: Int) -> Bool {
        waited += nanosecondsSince(start)
        moved += bytes
        if waited < window { return true }
        if moved < minimumBytes || moved == 0 { return false }
        waited = 0
        moved = min(moved - minimumBytes, 2 * minimumBytes)
        return true
    }
}
