// Wakes a thread that sleeps in poll(2), as a condition variable cannot.

import CLinux
import Glibc

public enum DoorbellError: Error {
    /// eventfd(2) refused: the number, EMFILE where descriptors have run out.
    case cannotCreate(Int32)
}

/// An eventfd: `ring` from any thread makes `descriptor` readable until `clear`.
///
/// Thread-safe: the kernel's counter is the only state.
public final class Doorbell: Sendable {
    public let descriptor: Int32

    public init() throws(DoorbellError) {
        let descriptor = eventfd(0, Int32(EFD_CLOEXEC | EFD_NONBLOCK))
        if descriptor < 0 { throw .cannotCreate(errno) }
        self.descriptor = descriptor
    }

    deinit { close(descriptor) }

    public func ring() {
        // A failure can only be EAGAIN: 2^64 - 1 rings are waiting, so it is readable.
        _ = eventfd_write(descriptor, 1)
    }

    public func clear() {
        // A failure can only be EAGAIN: nobody has rung.
        var count: eventfd_t = 0
        _ = eventfd_read(descriptor, &count)
    }
}
