// Wakes a thread that sleeps in poll(2), as a condition variable cannot.

import CLinux
import Glibc

public enum DoorbellError: Error {
    /// eventfd(2) refused: the number, EMFILE where descriptors have run out.
    case cannotCreate(Int32)
}

extension DoorbellError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cannotCreate(let number):
            // strerror(3) gives a constant string for every known number on glibc.
            "cannot make an eventfd: \(String(cString: strerror(number)))"
        }
    }
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
        // Any other failure can only be EAGAIN: 2^64 - 1 rings are waiting, so it is readable.
        while eventfd_write(descriptor, 1) < 0, errno == EINTR {}
    }

    public func clear() {
        // A failure can only be EAGAIN: nobody has rung.
        var count: eventfd_t = 0
        _ = eventfd_read(descriptor, &count)
    }
}
