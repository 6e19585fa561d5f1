// A named thread with a small stack.

import CLinux
import Glibc

public enum ThreadError: Error {
    /// pthread_create(3) refused: the number, EAGAIN where a limit on threads is reached.
    case cannotStart(Int32)
}

extension ThreadError: CustomStringConvertible {
    public var description: String {
        switch self {
        case .cannotStart(let number):
            // strerror(3) gives a constant string for every known number on glibc.
            "cannot start a thread: \(String(cString: strerror(number)))"
                + " (limits on processes and on memory count threads, too)"
        }
    }
}

/// A thread of the program. It runs its body once and ends; nobody is forced to join it.
public enum Thread {
    /// Stack of each thread. Only address space: pages are touched as they are needed. A TLS
    /// handshake needs some 16 KiB; the rest is head-room for the deepest call with its buffers.
    public static let stackBytes = 512 * 1024

    private final class Body {
        let name: String
        let run: () -> Void
        init(name: String, run: @escaping () -> Void) {
            self.name = name
            self.run = run
        }
    }

    /// Starts `body` on a new thread called `name` (the kernel keeps 15 bytes of it).
    ///
    /// `body` is `sending`: what it captures belongs to the new thread from here on.
    public static func start(
        name: String, _ body: sending @escaping () -> Void
    ) throws(ThreadError) {
        var attributes = pthread_attr_t()
        check(pthread_attr_init(&attributes), "pthread_attr_init")
        defer { pthread_attr_destroy(&attributes) }
        check(pthread_attr_setstacksize(&attributes, stackBytes), "pthread_attr_setstacksize")
        check(
            pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED)),
            "pthread_attr_setdetachstate")
        // Retained here, released by the thread that takes it.
        let argument = Unmanaged.passRetained(Body(name: name, run: body))
        var thread = pthread_t()
        let status = pthread_create(
            &thread, &attributes,
            { argument in
                guard let argument else { return nil }
                let body = Unmanaged<Body>.fromOpaque(argument).takeRetainedValue()
                let name = String(decoding: body.name.utf8.prefix(15), as: UTF8.self)
                pthread_setname_np(pthread_self(), name)
                body.run()
                return nil
            }, argument.toOpaque())
        if status != 0 {
            argument.release()
            throw .cannotStart(status)
        }
    }
}
