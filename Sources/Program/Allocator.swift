// How the C library keeps the memory that was freed.
//
// Called by: the programs' mains, first of all, before any thread exists.

import CLinux

package enum Allocator {
    /// Two arenas for all threads, and a few megabytes kept in each.
    ///
    /// By default each of some hundred threads may get an arena of its own, in which what was freed
    /// by another thread lies idle; and each body piece that is freed last goes back to the system,
    /// to be asked for again by the next one: a tenth of the agent's time, measured.
    package static func tune() {
        // mallopt(3) only fails for values that it does not know.
        mallopt(M_ARENA_MAX, 2)
        mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024)
        mallopt(M_MMAP_THRESHOLD, 1024 * 1024)
    }
}
