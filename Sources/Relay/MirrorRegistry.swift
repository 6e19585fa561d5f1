// The mirrors that this relay knows.
//
// Called by: the workers (find), AgentEndpoint (admit an agent's mirror), housekeeping, a reload.
// Waits for: nothing but, where a mirror is seen for the first time, the disk.
// Hard: a mirror is known as long as a key of an agent covers it and the relay's configuration, the
// key itself or an earlier session names it. So it is known after a restart too, before its agent
// is back, and a name that nobody ever used is no different from somebody else's.

import Program
import Threads
import Wire

/// Counts one agent of a user for as long as it is connected. Thread-safe: the registry is.
final class SessionPermit: Sendable {
    private let registry: MirrorRegistry
    private let user: MirrorName

    fileprivate init(_ registry: MirrorRegistry, _ user: MirrorName) {
        self.registry = registry
        self.user = user
    }

    deinit { registry.sessionEnded(of: user) }
}

/// All mirrors by name. Thread-safe: all state is in one monitor.
final class MirrorRegistry: Sendable {
    private struct State: Sendable {
        var mirrors: [MirrorID: Mirror] = [:]
        /// The same mirrors: what a user is told takes no longer for those that others have.
        var ofUser: [MirrorName: [Mirror]] = [:]
        /// How many of them the user's agents have brought.
        var brought: [MirrorName: Int] = [:]
        /// How many agents of a user are connected, or on their way.
        var sessions: [MirrorName: Int] = [:]
        var places: [MirrorName: UserPlaces] = [:]
        /// Those of the configuration.
        var limits: RelayLimits
    }

    private let state: Monitor<State>
    private let places: Places
    private let file: SeenMirrors

    init(_ snapshot: ConfigurationSnapshot) throws(StartError) {
        places = Places(workers: snapshot.limits.workers)
        state = Monitor(State(limits: snapshot.limits))
        file = SeenMirrors(besides: snapshot.configuration.keysFile)
        for id in snapshot.configuredMirrors { _ = add(id, isConfigured: true) }
        for id in try file.read() { _ = add(id, isConfigured: false) }
    }

    /// Goes by a new configuration. A mirror that it does not name any more stays as it would be
    /// without a section.
    ///
    /// - Returns: the jobs that got a place.
    func adopt(_ snapshot: ConfigurationSnapshot) -> [ClientJob] {
        let maximumExchanges = snapshot.limits.maximumExchanges
        // Those that are entered from here on have the new limit.
        let mirrors = state.withLock { state in
            state.limits = snapshot.limits
            return Array(state.mirrors.values)
        }
        for id in snapshot.configuredMirrors { _ = add(id, isConfigured: true) }
        return mirrors.flatMap {
            $0.limit(
                maximumInFlight: min(maximumExchanges, places.limitAlone),
                maximumWaiting: 2 * maximumExchanges)
        }
    }

    /// The mirror of that name, connected or not.
    func find(_ id: MirrorID) -> Mirror? { state.withLock { $0.mirrors[id] } }

    var all: [Mirror] { state.withLock { Array($0.mirrors.values) } }

    func mirrors(of user: MirrorName) -> [Mirror] {
        state.withLock { $0.ofUser[user] ?? [] }
    }

    /// The mirror that an agent brings, made and remembered where it is new.
    ///
    /// - Returns: nil where its user has too many.
    func enter(_ id: MirrorID) -> Mirror? {
        if let known = find(id) { return known }
        guard let mirror = add(id, isConfigured: false) else { return nil }
        file.append(id)
        return mirror
    }

    /// - Returns: nil where so many agents of the user are connected as may be.
    func admitSession(of user: MirrorName) -> SessionPermit? {
        let isAdmitted = state.withLock { state in
            let count = state.sessions[user, default: 0]
            if count >= state.limits.maximumSessions { return false }
            state.sessions[user] = count + 1
            return true
        }
        return isAdmitted ? SessionPermit(self, user) : nil
    }

    fileprivate func sessionEnded(of user: MirrorName) {
        state.withLock { state in
            let left = state.sessions[user, default: 1] - 1
            state.sessions[user] = left > 0 ? left : nil
        }
    }

    private func add(_ id: MirrorID, isConfigured: Bool) -> Mirror? {
        state.withLock { state in
            if let known = state.mirrors[id] { return known }
            if !isConfigured {
                if state.brought[id.user, default: 0] >= state.limits.maximumMirrors { return nil }
                state.brought[id.user, default: 0] += 1
            }
            let places = state.places[id.user] ?? UserPlaces(of: self.places)
            state.places[id.user] = places
            // A place is a worker for as long as the exchange lasts.
            let mirror = Mirror(
                id,
                maximumInFlight: min(state.limits.maximumExchanges, self.places.limitAlone),
                maximumWaiting: 2 * state.limits.maximumExchanges, places: places)
            state.mirrors[id] = mirror
            state.ofUser[id.user, default: []].append(mirror)
            return mirror
        }
    }
}

/// The file beside the keys that names the mirrors seen so far, a `USER/NAME` a line.
private struct SeenMirrors: Sendable {
    private let path: String

    init(besides keysFile: String) {
        path = keysFile + ".mirrors"
    }

    /// The names; none where the file is not there. Lines that are no names are passed over.
    func read() throws(StartError) -> [MirrorID] {
        let contents: File.Contents
        do {
            contents = try File.read(path, maximumBytes: 16 * 1024 * 1024)
        } catch {
            if error.isMissingFile { return [] }
            throw .configuration(place: path, message: error.message)
        }
        return contents.bytes.split(separator: 0x0A).compactMap { line in
            let parts = line.split(separator: 0x2F)
            guard parts.count == 2, let user = MirrorName(bytes: parts[0]),
                let name = MirrorName(bytes: parts[1])
            else { return nil }
            return MirrorID(user: user, name: name)
        }
    }

    /// Adds a name. Where the disk refuses, the relay only knows the mirror until it restarts.
    func append(_ id: MirrorID) {
        _ = try? File.append(Array((id.text + "\n").utf8), to: path)
    }
}
