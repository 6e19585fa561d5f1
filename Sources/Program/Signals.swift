// The signals that stop or reload a daemon, taken by one thread in plain code.
//
// Called by: the programs. `block` first of all, before any thread exists, for threads inherit the
// mask; then `start` once. There is no signal handler, so nothing here is restricted to what is
// safe in one.
// Waits for: (the thread `signals`) the next signal, for ever.

import Glibc
import Threads

package enum Signal: Sendable {
    /// SIGTERM or SIGINT: finish what runs, then stop. A second one: stop now.
    case stop
    /// SIGHUP: read configuration, certificates and keys again.
    case reload
}

package enum Signals {
    /// Keeps the signals from every thread that is started after this call, and SIGPIPE from all:
    /// writing to a closed socket is an error that the writer sees.
    package static func block() {
        var set = watched()
        guard unsafe pthread_sigmask(SIG_BLOCK, &set, nil) == 0 else {
            fatalError("pthread_sigmask failed")
        }
        Glibc.signal(SIGPIPE, SIG_IGN)
    }

    /// Starts the thread that hands each signal to `act`.
    package static func start(_ act: sending @escaping (Signal) -> Void) throws(ThreadError) {
        try Thread.start(name: "signals") {
            while true { act(next()) }
        }
    }

    /// Blocks until one of the signals is sent to the process or to this thread.
    static func next() -> Signal {
        var set = watched()
        var number: Int32 = 0
        // sigwait(3) returns an error number and is never interrupted on Linux.
        guard unsafe sigwait(&set, &number) == 0 else { fatalError("sigwait failed") }
        return number == SIGHUP ? .reload : .stop
    }

    private static func watched() -> sigset_t {
        var set = sigset_t()
        unsafe sigemptyset(&set)
        unsafe sigaddset(&set, SIGTERM)
        unsafe sigaddset(&set, SIGINT)
        unsafe sigaddset(&set, SIGHUP)
        return set
    }
}
