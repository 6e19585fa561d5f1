// One mirror: the sessions of its agents, the exchanges in flight, and the requests that wait.
//
// Called by: the workers (admit, wait), the sessions' owners (join, leave, release), the
// housekeeping thread (due).
// Waits for: nothing. A request that finds no room does not hold its worker: its whole connection
// stands in the line here, and goes back to the pool when a place is free.
// Hard: a place is counted from `admit` until both sides have ended the exchange, so that opening
// and cancelling in a loop gains a client nothing. A place that becomes free while somebody waits
// passes to the first in the line, and is never free in between: nobody can jump it.

import Program
import Sessions
import Synchronization
import Threads
import Wire

/// A place for one exchange on one session. It must be used to open an exchange, or be released.
struct MirrorPlace: Sendable {
    let session: SessionHandle
    fileprivate let number: Int
}

/// The places of all mirrors together: a quarter of the workers stays for everything else.
///
/// Thread-safe: it is one atomic.
package final class Places: Sendable {
    /// At least one.
    package let limit: Int
    fileprivate let taken = Atomic<Int>(0)

    package init(workers: Int) { limit = max(1, workers * 3 / 4) }

    /// How many one user's mirrors may have who has no neighbours: see `UserPlaces`.
    package var limitAlone: Int { max(1, limit * 2 / 3) }
}

/// The places of one user's mirrors together: at most twice as many as are left free.
///
/// So one user alone gets two thirds of all, two get two fifths each, and however many there are,
/// some is left for the next one. Whoever has none gets the last one.
///
/// Thread-safe: it is two atomics. Two takers at once may both be refused, never both be let in.
package final class UserPlaces: Sendable {
    private let all: Places
    private let taken = Atomic<Int>(0)

    package init(of all: Places) { self.all = all }

    /// - Returns: false where the user, or the relay, has no more.
    package func take() -> Bool {
        let mine = taken.add(1, ordering: .relaxed).newValue
        let free = all.limit - all.taken.add(1, ordering: .relaxed).newValue
        if free >= 0, mine == 1 || mine <= 2 * free { return true }
        giveBack()
        return false
    }

    package func giveBack() {
        all.taken.subtract(1, ordering: .relaxed)
        taken.subtract(1, ordering: .relaxed)
    }
}

/// A mirror. Thread-safe: all state is in one monitor.
final class Mirror: Sendable {
    struct Member: Sendable {
        fileprivate let number: Int
        let session: SessionHandle
        let key: KeyIdentity
        let since: Int
        var inFlight = 0
        var isDraining = false

        fileprivate var freePlaces: Int {
            isDraining ? 0 : session.peer.maximumExchanges - inFlight
        }
    }

    fileprivate struct Waiting: Sendable {
        let connection: Handover<ClientConnection>
        let deadline: Deadline
    }

    fileprivate struct State: Sendable {
        var members: [Member] = []
        var inFlight = 0
        var maximumInFlight: Int
        var maximumWaiting: Int
        var waiting = RingBuffer<Waiting>()
        var nextNumber = 1
        /// Until then requests wait for an agent that was sent away for a moment.
        var comesBackUntil = Deadline.now

        init(maximumInFlight: Int, maximumWaiting: Int) {
            self.maximumInFlight = maximumInFlight
            self.maximumWaiting = maximumWaiting
        }
    }

    let id: MirrorID
    private let places: UserPlaces
    private let state: Monitor<State>

    init(_ id: MirrorID, maximumInFlight: Int, maximumWaiting: Int, places: UserPlaces) {
        self.places = places
        self.id = id
        state = Monitor(State(maximumInFlight: maximumInFlight, maximumWaiting: maximumWaiting))
    }

    /// Has other limits from now on. Nothing that runs or waits already is touched.
    ///
    /// - Returns: the jobs that got a place.
    func limit(maximumInFlight: Int, maximumWaiting: Int) -> [ClientJob] {
        state.withLock { state in
            state.maximumInFlight = maximumInFlight
            state.maximumWaiting = maximumWaiting
            return state.allNext(places)
        }
    }

    // MARK: - Requests

    enum Admission: Sendable {
        case granted(MirrorPlace)
        /// No agent is connected.
        case absent
        /// All places are taken, this mirror's or its user's or the relay's: wait in the line.
        case busy(RelayLimit)
        /// The line is full too.
        case full
    }

    /// Takes a place on the least busy session.
    ///
    /// - Parameter lost: a place on a session that has ended, and is perhaps not known to have.
    func admit(insteadOf lost: MirrorPlace? = nil) -> Admission {
        state.withLock { state in
            if let lost { state.drain(lost.number) }
            if !state.waiting.isEmpty { return .busy(.exchanges) }
            return state.admit(places)
        }
    }

    /// Puts a connection at the end of the line, until `deadline`.
    ///
    /// - Returns: `busy` where it waits now; anything else holds at once, and the connection is
    ///   still the caller's.
    func wait(
        _ connection: Handover<ClientConnection>, until deadline: Deadline
    ) -> Admission {
        state.withLock { state in
            var limit = RelayLimit.exchanges
            if state.waiting.isEmpty {
                let admission = state.admit(places)
                guard case .busy(let reached) = admission else { return admission }
                limit = reached
            }
            if state.waiting.count >= state.maximumWaiting { return .full }
            state.waiting.append(Waiting(connection: connection, deadline: deadline))
            return .busy(limit)
        }
    }

    /// Gives a place back.
    ///
    /// - Returns: the job of the connection that gets it, for the caller to submit.
    func release(_ number: Int) -> ClientJob? {
        places.giveBack()
        return state.withLock { state in
            state.inFlight -= 1
            if let index = state.members.firstIndex(where: { $0.number == number }) {
                state.members[index].inFlight -= 1
            }
            return state.next(places)
        }
    }

    func release(_ place: MirrorPlace) -> ClientJob? { release(place.number) }

    /// The connections that have waited for too long, and before them those that have a place now:
    /// one that another mirror has given back.
    func due() -> [ClientJob] {
        let now = Deadline.now
        return state.withLock { state in
            var jobs: [ClientJob] = []
            while let job = state.next(places) { jobs.append(job) }
            while let first = state.waiting.first, first.deadline <= now {
                _ = state.waiting.popFirst()
                jobs.append(ClientJob(connection: first.connection, place: nil))
            }
            return jobs
        }
    }

    var inFlight: Int { state.withLock { $0.inFlight } }

    // MARK: - Sessions

    /// Adds a session; one of the same instance and key is displaced by it.
    ///
    /// - Returns: its number, the displaced sessions, and the jobs that got a place.
    func join(
        _ session: SessionHandle, key: KeyIdentity, now: Int
    ) -> (number: Int, displaced: [SessionHandle], jobs: [ClientJob]) {
        state.withLock { state in
            let number = state.nextNumber
            state.nextNumber += 1
            let instance = session.peer.instance
            var displaced: [SessionHandle] = []
            for index in state.members.indices
            where !instance.isEmpty && state.members[index].session.peer.instance == instance
                && state.members[index].key.id == key.id
            {
                // It stays a member until its owner has ended it, but gets nothing more.
                state.members[index].isDraining = true
                displaced.append(state.members[index].session)
            }
            state.members.append(Member(number: number, session: session, key: key, since: now))
            return (number, displaced, state.allNext(places))
        }
    }

    /// How long an agent may take that comes back; the original one needs 3 s.
    private static let absence = Duration.seconds(6)

    /// The session takes no new exchanges.
    ///
    /// - Parameter comesBack: its agent will be here again in a moment, and requests can wait.
    func drain(_ number: Int, comesBack: Bool = false) {
        let absence = Deadline.after(Mirror.absence)
        state.withLock { state in
            if comesBack { state.comesBackUntil = absence }
            state.drain(number)
        }
    }

    /// Removes a session that has ended; its exchanges have been released.
    ///
    /// - Returns: where it was the last one, everybody who waited: in vain.
    func leave(_ number: Int) -> [ClientJob] {
        state.withLock { state in
            state.members.removeAll { $0.number == number }
            if !state.members.isEmpty || !state.comesBackUntil.hasPassed { return [] }
            var jobs: [ClientJob] = []
            while let waiting = state.waiting.popFirst() {
                jobs.append(ClientJob(connection: waiting.connection, place: nil))
            }
            return jobs
        }
    }

    /// The sessions and the keys that they came with.
    var sessions: [(session: SessionHandle, key: KeyIdentity)] {
        state.withLock { $0.members.map { ($0.session, $0.key) } }
    }

    /// The same with all that is known of them.
    var members: [Member] { state.withLock { $0.members } }

    /// Whether some agent takes requests.
    var hasAgent: Bool { state.withLock { !$0.members.allSatisfy(\.isDraining) } }

    /// Whether there are agents that take requests, and all of them speak version 1.
    var speaksOnlyVersion1: Bool {
        state.withLock { state in
            var isFound = false
            for member in state.members where !member.isDraining {
                if member.session.version != .v1 { return false }
                isFound = true
            }
            return isFound
        }
    }

    /// How many sessions, and since when the oldest stands (seconds since 1970).
    var presence: (sessions: Int, since: Int?) {
        state.withLock { ($0.members.count, $0.members.map(\.since).min()) }
    }
}

extension Mirror.State {
    fileprivate mutating func drain(_ number: Int) {
        if let index = members.firstIndex(where: { $0.number == number }) {
            members[index].isDraining = true
        }
    }

    fileprivate mutating func admit(_ places: UserPlaces) -> Mirror.Admission {
        if members.allSatisfy(\.isDraining) {
            return comesBackUntil.hasPassed ? .absent : .busy(.exchanges)
        }
        if inFlight >= maximumInFlight { return .busy(.exchanges) }
        // Of equals the newest: an older one may be dead, and not yet be known to be.
        var (best, most) = (Int?.none, 1)
        for (index, member) in members.enumerated() where member.freePlaces >= most {
            (best, most) = (index, member.freePlaces)
        }
        guard let best else { return .busy(.exchanges) }
        if !places.take() { return .busy(.workers) }
        members[best].inFlight += 1
        inFlight += 1
        return .granted(MirrorPlace(session: members[best].session, number: members[best].number))
    }

    /// The first of the line and its place, where there is one.
    fileprivate mutating func next(_ places: UserPlaces) -> ClientJob? {
        guard !waiting.isEmpty, case .granted(let place) = admit(places),
            let first = waiting.popFirst()
        else { return nil }
        return ClientJob(connection: first.connection, place: place)
    }

    /// As many of the line as there are places.
    fileprivate mutating func allNext(_ places: UserPlaces) -> [ClientJob] {
        var jobs: [ClientJob] = []
        while let job = next(places) { jobs.append(job) }
        return jobs
    }
}
