// How much memory the arrivals of one session may take together.
//
// Called by: its exchanges, on any thread.
// Hard: a window must be wide enough for a fast consumer far away, but many slow consumers at once
// must not fill the memory with what they were promised. So windows are wide while the session has
// promised little, and narrow once it has promised much; a narrow one still moves.

import Connections
import Synchronization

/// What a session has promised to take. Thread-safe: it is one atomic.
final class CreditBudget: Sendable {
    /// What a new exchange may be sent before anything was taken: whole pieces, so that no scrap of
    /// credit makes a small one.
    static let initialWindow = Piece.maximumCount
    private static let wideWindow = 4 * Piece.maximumCount
    /// Beyond this, windows are narrow.
    private static let maximumPromised = 2 * 1024 * 1024

    private let promised = Atomic<Int>(0)

    /// How far ahead of its consumer a peer may send now.
    var window: Int {
        promised.load(ordering: .relaxed) < CreditBudget.maximumPromised
            ? CreditBudget.wideWindow : CreditBudget.initialWindow
    }

    func promise(_ bytes: Int) { promised.add(bytes, ordering: .relaxed) }

    func release(_ bytes: Int) { promised.subtract(bytes, ordering: .relaxed) }
}
