// A point in time that a wait may not pass, on the monotonic clock.
//
// A deadline is a point, a timeout a length: whoever starts to wait turns a timeout into a
// deadline once, and all the waits below share it.

import CLinux
import Glibc

/// A point on CLOCK_MONOTONIC. It does not move when somebody sets the clock.
public struct Deadline: Sendable, Comparable {
    /// Nanoseconds since the machine started, as clock_gettime(2) counts them. Never negative, so
    /// that every wait of the system takes it.
    public let nanoseconds: Int

    /// A number that is too small or too large becomes the nearest deadline there is.
    public init(nanoseconds: Int) { self.nanoseconds = min(max(nanoseconds, 0), Int.max / 2) }

    /// Now; as a deadline, one that has passed.
    public static var now: Deadline {
        var time = timespec()
        guard unsafe clock_gettime(CLOCK_MONOTONIC, &time) == 0 else {
            fatalError("clock_gettime failed on CLOCK_MONOTONIC")
        }
        return Deadline(nanoseconds: time.tv_sec * 1_000_000_000 + time.tv_nsec)
    }

    /// Later than any wait lasts (about 146 years from the start of the machine).
    public static let distantFuture = Deadline(nanoseconds: Int.max)

    public static func after(seconds: Int) -> Deadline {
        now + seconds.multipliedOrMost(by: 1_000_000_000)
    }

    public static func after(_ timeout: Duration) -> Deadline { now + timeout.nanoseconds }

    public static func after(milliseconds: Int) -> Deadline {
        now + milliseconds.multipliedOrMost(by: 1_000_000)
    }

    /// The deadline moved by a number of nanoseconds; never beyond `distantFuture`.
    public static func + (deadline: Deadline, nanoseconds: Int) -> Deadline {
        // Only upwards: a deadline is not negative.
        let (sum, overflow) = deadline.nanoseconds.addingReportingOverflow(nanoseconds)
        return Deadline(nanoseconds: overflow ? Int.max : sum)
    }

    /// Nanoseconds from `right` to `left`.
    public static func - (left: Deadline, right: Deadline) -> Int {
        left.nanoseconds - right.nanoseconds
    }

    @inlinable
    public static func < (left: Deadline, right: Deadline) -> Bool {
        left.nanoseconds < right.nanoseconds
    }

    public var hasPassed: Bool { Deadline.now >= self }

    /// What is left, for poll(2) and epoll_wait(2): rounded up, so that a wait never wakes just
    /// before its deadline and spins; 0 once passed; at most a day.
    public var millisecondsLeft: Int32 {
        let left = nanoseconds - Deadline.now.nanoseconds
        if left <= 0 { return 0 }
        return Int32(min((left - 1) / 1_000_000 + 1, 86_400_000))
    }

    /// The same point for futex(2).
    var timespecValue: timespec {
        timespec(tv_sec: nanoseconds / 1_000_000_000, tv_nsec: nanoseconds % 1_000_000_000)
    }
}

extension Duration {
    /// Whole nanoseconds; a length beyond 292 years is that long.
    public var nanoseconds: Int { Int(clamping: attoseconds / 1_000_000_000) }
}

extension Int {
    /// The product; where it is out of range, the nearest number there is.
    fileprivate func multipliedOrMost(by factor: Int) -> Int {
        let (product, overflow) = multipliedReportingOverflow(by: factor)
        return overflow ? (self < 0 ? .min : .max) : product
    }
}

/// How long ago `start` was.
public func nanosecondsSince(_ start: Deadline) -> Int {
    .now - start
}
