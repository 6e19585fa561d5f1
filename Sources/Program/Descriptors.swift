// How many descriptors the program may have, and the three that are not for sockets.
//
// Called by: the programs' mains, before anything is opened.

import Glibc

package enum Descriptors {
    /// Takes all that the system allows: the soft limit of 1,024 is there for select(2), which
    /// nobody here uses, and a relay has one descriptor for each connection.
    package static func raiseLimit() {
        var limit = rlimit()
        guard unsafe getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else {
            return
        }
        limit.rlim_cur = limit.rlim_max
        // Where it is refused the program goes on with what it has.
        _ = unsafe setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
    }

    /// Fills the places of standard input, output and error where they are closed: else a socket
    /// would take them, and its peer would read the journal.
    ///
    /// Nothing can be written there, so that whoever tries learns that it is lost.
    package static func fillStandardPlaces() {
        for number in Int32(0)...2 where fcntl(number, F_GETFD) < 0 {
            // The lowest free number is this one.
            guard unsafe open("/dev/null", O_RDONLY) == number else { ExitCode.failed.exit() }
        }
    }
}
