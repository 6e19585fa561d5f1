// How a program ends: the exit codes of magicmirrord(8), magicmirror(1) and magicmirrorctl(8).
//
// Called by: the three programs, as the last thing they do.

import Glibc

/// The exit codes, after sysexits(3) where it has one.
package enum ExitCode: Int32, Sendable {
    /// Stopped as asked.
    case stopped = 0
    /// Failed at run time.
    case failed = 1
    /// The command line is wrong.
    case commandLine = 64
    /// The relay refused this agent for good: its key or its name.
    case refused = 77
    /// The configuration is wrong.
    case configuration = 78

    /// Ends the program now.
    ///
    /// This is _exit(2): exit(3) would take down OpenSSL under threads that still use it. Nothing
    /// is lost, for no output is buffered outside the journal, which the caller has flushed.
    package func exit() -> Never {
        _exit(rawValue)
    }
}
