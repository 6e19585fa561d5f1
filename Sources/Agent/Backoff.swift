// How long to wait before connecting again: exponential, with full jitter, so that the agents of a
// relay that restarts do not come back all at once.
//
// Called by: RelaySession.

struct Backoff {
    private let first: Duration
    private let last: Duration
    private var failures = 0

    init(first: Duration, last: Duration) {
        self.first = first
        self.last = last
    }

    /// A session stood long enough to call the relay well.
    mutating func reset() { failures = 0 }

    /// The time to wait now: anything up to `first`, doubled with each call, at most `last`.
    mutating func next() -> Duration {
        var limit = first
        // Doubled at most until it reaches `last`: no shift can overflow.
        for _ in 0..<failures where limit < last { limit *= 2 }
        failures += 1
        let nanoseconds = min(limit, last).components
        let longest =
            nanoseconds.seconds * 1_000_000_000 + nanoseconds.attoseconds / 1_000_000_000
        return .nanoseconds(Int64.random(in: 0...max(longest, 1)))
    }
}
