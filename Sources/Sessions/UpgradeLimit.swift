// How many exchanges of a program may be upgraded at once.
//
// Called by: a worker, before it asks for an upgrade.
// Hard: a place is held by the exchange, and so until both sides have ended it: opening and
// cancelling in a loop gains nobody more than the limit.

import Synchronization

/// The limit of one program. Thread-safe: it is one atomic.
package final class UpgradeLimit: Sendable {
    private let taken = Atomic<Int>(0)

    package init() {}

    /// - Returns: nil where `limit` places are taken.
    package func take(atMost limit: Int) -> UpgradePermit? {
        if taken.add(1, ordering: .relaxed).newValue <= limit { return UpgradePermit(self) }
        giveBack()
        return nil
    }

    fileprivate func giveBack() { taken.subtract(1, ordering: .relaxed) }
}

/// One place, free again when nobody holds this any more.
package final class UpgradePermit: Sendable {
    private let limit: UpgradeLimit

    fileprivate init(_ limit: UpgradeLimit) { self.limit = limit }

    deinit { limit.giveBack() }
}
