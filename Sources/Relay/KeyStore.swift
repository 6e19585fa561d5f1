// The keys that open this relay, as they stand in the keys file now.
//
// Called by: the workers, for each request and each agent that connects (`lookup`, `isValid`); the
// thread that ticks twice a second, and whoever is told to reload (`refresh`). Only `refresh` reads
// the disk.
// Hard: a key must stop working within a second. Whoever keeps an identity for longer than one
// request asks `isValid` again when `generation` has changed. And the clock may be set, both ways:
// so expired keys are kept, and each answer depends on the time that it is now.

import Program
import Streams
import Synchronization
import Threads
import Wire

/// Whom a key stands for.
package struct KeyIdentity: Sendable, Equatable {
    package let id: String
    package let role: KeyRole
    package let user: MirrorName
    /// The mirrors of `user` that it is for.
    package let pattern: NamePattern
    /// Seconds since 1970; nil: never.
    package let expires: Int?

    init(_ record: KeyRecord) {
        id = record.id
        role = record.role
        user = record.user
        pattern = record.pattern
        expires = record.expires
    }

    /// Whether the key is for the mirror `user`/`name`, in its role.
    package func covers(user: MirrorName, name: MirrorName) -> Bool {
        user == self.user && pattern.matches(name)
    }

    fileprivate func isExpired(at now: Int) -> Bool {
        expires.map { $0 <= now } ?? false
    }
}

/// The keys. Thread-safe: all state is in one monitor.
package final class KeyStore: Sendable {
    /// What `refresh` found.
    package enum Change: Sendable, Equatable {
        case unchanged
        /// Keys came, went or expired, or the clock was set; so many are valid now.
        case changed(keyCount: Int)
        /// The file cannot be used; the keys from before stay. Reported once for each change of it.
        case failed(StartError)
    }

    private struct Entry: Sendable {
        let identity: KeyIdentity
        let digest: [UInt8]
    }

    private struct State: Sendable {
        /// By the first bytes of the digest. Timing may tell those of a digest; no secret follows.
        var entries: [UInt64: [Entry]] = [:]
        var identities: [String: KeyIdentity] = [:]
        /// Of agents, by user.
        var agents: [MirrorName: [KeyIdentity]] = [:]
        /// The file when it was last read, well or not; nil: it was not there.
        var status: File.Status?
        /// Why the file could not be read though nothing is wrong with it: the next call tries again.
        var unread: StartError?
        /// How many keys are valid at the times of `span`, in seconds since 1970.
        var validCount = 0
        var span = 0..<Int.max

        init(_ keys: KeysText, status: File.Status, now: Int) {
            self.status = status
            for record in keys.records {
                let identity = KeyIdentity(record)
                identities[record.id] = identity
                if identity.role == .agent { agents[identity.user, default: []].append(identity) }
                entries[prefix(of: record.digest), default: []]
                    .append(Entry(identity: identity, digest: record.digest))
            }
            count(at: now)
        }

        /// Counts the keys that are valid, and finds when that changes next.
        mutating func count(at now: Int) {
            validCount = identities.values.count { !$0.isExpired(at: now) }
            let next = identities.values.compactMap(\.expires).filter { $0 > now }.min()
            span = now..<max(next ?? .max, now)
        }
    }

    private let path: String
    private let state: Monitor<State>
    private let changes = Atomic<Int>(0)
    /// What the operator should know though nothing is wrong.
    package let warnings: [String]

    /// Reads the keys file.
    ///
    /// - Parameter now: seconds since 1970; tests set it.
    package init(
        path: String, now: Int = WallClock.secondsSince1970
    ) throws(StartError) {
        self.path = path
        let (keys, status) = try KeyFile.read(path)
        state = Monitor(State(keys, status: status, now: now))
        warnings =
            status.isReadableByOthers
            ? ["keys file '\(path)' is readable by everybody (chmod 640 '\(path)')"] : []
    }

    /// Grows with each change of the keys.
    package var generation: Int { changes.load(ordering: .acquiring) }

    package var keyCount: Int { state.withLock { $0.validCount } }

    /// Whose key `secret` is; nil: nobody's, or it has expired.
    package func lookup(
        _ secret: ArraySlice<UInt8>, now: Int = WallClock.secondsSince1970
    ) -> KeyIdentity? {
        let digest = Cryptography.sha256(secret)
        let candidates = state.withLock { $0.entries[prefix(of: digest)] } ?? []
        let found = candidates.first { Cryptography.equal($0.digest, digest[...]) }
        guard let identity = found?.identity, !identity.isExpired(at: now) else { return nil }
        return identity
    }

    /// Whether the key of an identity found before still stands for the same.
    package func isValid(
        _ identity: KeyIdentity, now: Int = WallClock.secondsSince1970
    ) -> Bool {
        !identity.isExpired(at: now) && state.withLock { $0.identities[identity.id] } == identity
    }

    /// Whether an agent with some valid key may bring the mirror `user`/`name`.
    ///
    /// - Parameter byName: only keys for just this name count, not those for a pattern.
    func hasAgentKey(
        user: MirrorName, name: MirrorName, byName: Bool, now: Int = WallClock.secondsSince1970
    ) -> Bool {
        state.withLock { state in
            state.agents[user, default: []].contains { identity in
                identity.covers(user: user, name: name)
                    && (!byName || identity.pattern.text == name.text)
                    && !identity.isExpired(at: now)
            }
        }
    }

    /// Reads the file again where it has changed, or could not be read; and sees what has expired.
    ///
    /// Two threads may call it at once: should the older reading win, its status is the older one
    /// too, and the next call reads again.
    ///
    /// - Parameter always: read it even where it seems unchanged.
    package func refresh(
        always: Bool = false, now: Int = WallClock.secondsSince1970
    ) -> Change {
        let status = try? File.status(of: path)
        let (last, unread) = state.withLock { ($0.status, $0.unread) }
        let isSame = status == last && !always
        if isSame && unread == nil { return look(at: now) }
        // Whatever follows is said once: the next call compares with what was seen now.
        state.withLock { $0.status = status }
        do throws(StartError) {
            let (keys, status) = try KeyFile.read(path)
            let fresh = State(keys, status: status, now: now)
            state.withLock { $0 = fresh }
            changes.add(1, ordering: .releasing)
            return .changed(keyCount: fresh.validCount)
        } catch {
            // What is wrong with the file stays until somebody changes it.
            var passing: StartError?
            if case .failed = error { passing = error }
            state.withLock { $0.unread = passing }
            return isSame && error == unread ? look(at: now) : .failed(error)
        }
    }

    /// Sees whether keys have expired, or become valid again since the clock was set back.
    private func look(at now: Int) -> Change {
        let count = state.withLock { state -> Int? in
            if state.span.contains(now) { return nil }
            let before = state.validCount
            state.count(at: now)
            return state.validCount == before ? nil : state.validCount
        }
        guard let count else { return .unchanged }
        changes.add(1, ordering: .releasing)
        return .changed(keyCount: count)
    }
}

/// The first eight bytes of a digest.
private func prefix(of digest: [UInt8]) -> UInt64 {
    digest.prefix(8).reduce(0) { $0 << 8 | UInt64($1) }
}
