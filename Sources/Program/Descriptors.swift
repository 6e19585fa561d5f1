// How many descriptors the program may have.
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
}
