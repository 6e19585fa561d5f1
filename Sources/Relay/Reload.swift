// SIGHUP and `magicmirrorctl reload`: configuration, certificate and keys are read anew.
//
// Called by: the thread `signals`; a worker, for the control socket.
// Waits for: the disk; another reload that is still under way.
// Hard: all or nothing. Everything is read and checked, by the code of the start, before anything
// changes; what cannot be used, or would need a restart, leaves the relay as it was.

import Program
import Threads

extension Relay {
    /// - Returns: how many keys are valid; or why everything stays as it was.
    @discardableResult
    package func reload() -> Result<Int, StartError> {
        do throws(StartError) {
            // One at a time: the older of two readings must not win.
            guard beginReload() else {
                throw .failed(place: nil, message: "another reload has not come to its end")
            }
            defer { endReload() }
            notifySocket.reloading()
            defer { notifySocket.reloaded() }
            let old = snapshot
            let new = try readAnew(old)
            // First the mirrors: whoever goes by the new configuration finds all that it names.
            for job in registry.adopt(new) { submit(job) }
            replaceSnapshot(by: new)
            journal.setLevel(new.configuration.logLevel)
            closeRevoked()
            let count = keys.keyCount
            metrics.lastReloadSucceeded.set(1)
            metrics.lastReloadTime.set(WallClock.secondsSince1970)
            journal.info("reloaded") {
                $0.field("KEYS", count)
                let changes = new.configuration.changes(from: old.configuration)
                if !changes.isEmpty { $0.field("CHANGED", changes.joined(separator: " ")) }
            }
            return .success(count)
        } catch {
            metrics.lastReloadSucceeded.set(0)
            journal.error("reload refused, all stays as it was") {
                $0.field("REASON", error.line(program: "magicmirrord"))
            }
            return .failure(error)
        }
    }

    private func readAnew(
        _ old: ConfigurationSnapshot
    ) throws(StartError) -> ConfigurationSnapshot {
        let configuration = try readConfiguration()
        try configuration.requireNoRestart(after: old.configuration)
        let new = try ConfigurationSnapshot(configuration, number: old.number + 1)
        // The last that can fail, and the first that counts.
        if case .failed(let error) = keys.refresh(always: true) {
            throw configuration.placed(error)
        }
        return new
    }
}

extension RelayConfiguration {
    /// Holds this configuration against that of a running relay.
    ///
    /// - Throws: where they differ in what is only set up at the start, naming the key.
    func requireNoRestart(after running: RelayConfiguration) throws(StartError) {
        let atStartOnly = [
            ("listen", listening == running.listening),
            ("admin-listen", adminListening == running.adminListening),
            ("control-socket", controlSocket == running.controlSocket),
            ("keys", keysFile == running.keysFile),
            ("workers", limits.workers == running.limits.workers),
        ]
        for (key, isSame) in atStartOnly where !isSame {
            // Where it was taken away, it is named where it stood.
            let value = written.first(key) ?? running.written.first(key)
            throw value?.error("a reload cannot change it (restart magicmirrord)")
                ?? .configuration(place: nil, message: "a reload cannot change '\(key)'")
        }
    }

    /// The keys, and the mirrors, of which this configuration says something else, for the log.
    func changes(from old: RelayConfiguration) -> [String] {
        let sections = { (configuration: RelayConfiguration) in
            Dictionary(
                configuration.mirrors.map { ("\($0.user)/\($0.name)", $0) }
            ) { first, _ in first }
        }
        let (before, after) = (sections(old), sections(self))
        let mirrors = Set(before.keys).union(after.keys).filter { before[$0] != after[$0] }
        return written.namesDiffering(from: old.written) + mirrors.sorted()
    }

    /// An error of the keys file, with the place where that is named if it has none of its own.
    func placed(_ error: StartError) -> StartError {
        guard case .configuration(nil, let message) = error else { return error }
        return written.unusable("keys", message)
    }
}
