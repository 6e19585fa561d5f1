// How something that only one thread may own moves to another thread.

import Glibc

/// Carries one unshared value from the thread that owned it to the one that will.
///
/// The compiler checks the giving end (`sending`: no reference stays behind); `take` checks at run
/// time that there is one receiver.
public final class Handover<Value>: @unchecked Sendable {
    // @unchecked: `value` is written before the hand-over is shared and read by the one `take`,
    // and every way to share it passes through a monitor, which orders the two.
    @usableFromInline var value: Value?

    @inlinable
    public init(_ value: sending Value) { self.value = consume value }

    /// The value, once. A second call is a bug of ours and traps.
    @inlinable
    public func take() -> sending Value {
        // The value left its first owner's region with `init`; nil stays behind.
        nonisolated(unsafe) let taken = value
        value = nil
        guard let taken else { fatalError("a hand-over was taken twice") }
        return taken
    }
}
