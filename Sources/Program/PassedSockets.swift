// The sockets that systemd passes to a program that it starts (sd_listen_fds(3)).
//
// Called by: the relay, once, at its start, for `listen = systemd`.
// Waits for: nothing.
// Hard: the variables are inherited by everything that is started from here. LISTEN_PID says whom
// they are for; descriptors meant for another program must not be touched.

import Glibc
import Streams

extension SettingValue {
    /// Takes over all the sockets that were passed. To be called once: they belong to the listeners
    /// from then on.
    package func takePassedSockets(_ environment: Environment) throws(StartError) -> [Listener] {
        guard environment["LISTEN_PID"].flatMap({ Int32($0) }) == getpid(),
            let count = environment["LISTEN_FDS"].flatMap({ Int32($0) }), count > 0
        else {
            throw unusable(
                "systemd passed no sockets (restart the .socket unit, not this one; see"
                    + " systemd.socket(5))")
        }
        // The descriptors follow standard error, in the order of the unit.
        let first: Int32 = 3
        guard count <= Int32.max - first else { throw unusable("LISTEN_FDS is \(count)") }
        var listeners: [Listener] = []
        for descriptor in first..<first + count {
            guard let listener = Listener(inherited: descriptor) else {
                throw unusable(
                    "descriptor \(descriptor), passed by systemd, is no listening stream socket"
                        + " (use ListenStream= and Accept=no in the .socket unit)")
            }
            listeners.append(listener)
        }
        return listeners
    }
}
