// The agent as a whole: its threads, from the start to the stop.
//
// Called by: the program `magicmirror`, once.
// Threads: one for each mirror and relay (RelaySession), a fixed pool that asks the origins
// (OriginWorker), `upgrade-NAME` for each upgraded connection (OriginUpgrade), one that closes old
// connections each second, `metrics` (MetricsEndpoint), the journal's, the signals'.

import Program
import Sessions
import Streams
import Threads
import Wire

/// The running agent. Thread-safe: what changes is in one monitor, the rest is set once.
package final class AgentProgram: Sendable {
    /// A mirror and a relay that are kept connected by a thread. A reload makes new ones.
    struct Link: Sendable {
        let mirror: Mirror
        let dialer: RelayDialer
        /// Links of the same name and relay, which end when this one stands.
        fileprivate var replaces: [Int] = []
        /// Its session is the last, and drains.
        fileprivate var isRetired = false
        /// It has no session, and its thread is with the network until the connect timeout.
        fileprivate var isDialing = false

        fileprivate init(mirror: Mirror, dialer: RelayDialer) {
            self.mirror = mirror
            self.dialer = dialer
        }

        fileprivate func isFor(_ other: Link) -> Bool {
            mirror.name == other.mirror.name && dialer.remote.url == other.dialer.remote.url
        }
    }

    private struct State: Sendable {
        /// Those whose threads run.
        var links: [Int: Link] = [:]
        var nextNumber = 0
        var sessions: [Int: SessionHandle] = [:]
        var wasReady: Set<Int> = []
        /// For how many mirrors there are workers.
        var mirrorsServed = 0
        var isStopping = false
        var isAborting = false

        func isOver(_ number: Int) -> Bool { isStopping || links[number]?.isRetired != false }
    }

    private let state = Monitor(State())
    private let configuration: AgentConfiguration
    private let links: [Link]
    private let readConfiguration: @Sendable () throws(StartError) -> AgentConfiguration
    private let worker: OriginWorker
    private let pool = WorkerPool<OriginJob>()
    private let metricsListener: Listener?
    private let notifySocket = NotifySocket()
    let metrics: AgentMetrics
    let journal: Journal
    let limits: AgentLimits
    /// Of this process. With the number of mirror and relay behind it, it names an instance: a
    /// session replaces the one before of the same instance.
    let instance: String

    /// Reads trust files, binds the address of the metrics. Serves nothing yet.
    ///
    /// - Parameter again: reads the configuration anew, for a reload.
    package init(
        _ configuration: AgentConfiguration, _ journal: Journal,
        again: @escaping @Sendable () throws(StartError) -> AgentConfiguration
    ) throws {
        self.configuration = configuration
        self.journal = journal
        readConfiguration = again
        metrics = AgentMetrics(journal)
        limits = configuration.limits
        instance = Cryptography.randomBytes(12).map { hexadecimal($0) }.joined()
        links = try AgentProgram.links(configuration)
        if let address = configuration.metricsListening, let value = configuration.metricsWritten {
            metricsListener = try value.listen(address, manual: "magicmirror(1)")
        } else {
            metricsListener = nil
        }
        worker = OriginWorker(
            journal: journal, limits: limits, metrics: metrics, upgrades: UpgradeLimit())
    }

    /// Reads everything that `run` would, and stops there.
    package static func check(_ configuration: AgentConfiguration) throws(StartError) {
        _ = try links(configuration)
    }

    /// Reads the files that they need.
    private static func links(
        _ configuration: AgentConfiguration
    ) throws(StartError) -> [Link] {
        var links: [Link] = []
        for mirror in configuration.mirrors {
            let made = try Mirror(mirror, limits: configuration.limits)
            let context = try mirror.relayContext()
            for remote in mirror.remotes {
                let dialer = RelayDialer(
                    remote: remote, name: mirror.name, key: mirror.key,
                    tls: remote.url.isSecure ? context : nil,
                    timeout: configuration.limits.connectTimeout)
                links.append(Link(mirror: made, dialer: dialer))
            }
        }
        return links
    }

    /// Serves until it is told to stop, or every relay refuses it. Blocks that long.
    package func run() throws -> ExitCode {
        if let metricsListener {
            let endpoint = MetricsEndpoint(listener: metricsListener, metrics: metrics.all)
            try Thread.start(name: "metrics") { endpoint.run() }
            journal.info("serving metrics") {
                $0.field("ADDRESS", metricsListener.address.description)
            }
        }
        try Thread.start(name: "housekeeping") { [self] in keepHouse() }
        try start(links, mirrors: configuration.mirrors.count)
        // Not when a relay answers: one that is down must not keep the service from being started.
        if let error = notifySocket.ready() {
            journal.warning("cannot tell the service manager that the agent is ready") {
                $0.field("REASON", error.description)
            }
        }
        defer { metricsListener?.removeFile() }
        return waitForEnd()
    }

    /// The body of the thread `housekeeping`: each second.
    private func keepHouse() {
        var watchdog = Watchdog(notifySocket)
        var asked: [(session: SessionHandle, turns: Int)] = []
        while true {
            pause(until: .after(seconds: 1))
            let (links, sessions) = state.withLock { ($0.links, $0.sessions) }
            for link in links.values {
                metrics.reached(.idleTimeout, link.mirror.origin.closeOld())
            }
            let wanted = links.filter { !$1.isRetired }
            let connected = wanted.count { sessions[$0.key] != nil }
            notifySocket.status("sessions connected: \(connected) of \(wanted.count)")
            // Whoever owns a session takes a turn when it is asked to; if it ends, it has moved, too.
            let haveMoved = asked.allSatisfy { session, turns in
                session.turns != turns || !sessions.values.contains { $0 === session }
            }
            if watchdog.isDue, haveMoved {
                watchdog.feed()
                asked = sessions.values.map { ($0, $0.turns) }
                for (session, _) in asked { session.nudge() }
            }
        }
    }

    /// Starts what keeps `links` connected. What runs already for the same mirror and relay ends
    /// when its successor stands; what has none, or is not connected, ends at once.
    private func start(_ links: [Link], mirrors: Int) throws {
        let missing = state.withLock { max(0, mirrors - $0.mirrorsServed) }
        if missing > 0 {
            // A relay sends no more at once than there are workers, but there may be many relays.
            let workers = limits.workers * missing
            try pool.start(name: "origin", workers: workers, waiting: 2 * workers) {
                [worker] job, doorbell in worker.serve(job, doorbell)
            }
        }
        let (started, ended) = state.withLock { state in
            state.mirrorsServed += missing
            let old = state.links.filter { !$1.isRetired }
            var started: [Int] = []
            for var link in links {
                link.replaces = old.filter { $1.isFor(link) && state.sessions[$0] != nil }
                    .map(\.key)
                state.links[state.nextNumber] = link
                started.append(state.nextNumber)
                state.nextNumber += 1
            }
            let replaced = Set(started.flatMap { state.links[$0]?.replaces ?? [] })
            return (started, old.keys.filter { !replaced.contains($0) })
        }
        for (number, link) in zip(started, links) {
            let session = RelaySession(
                dialer: link.dialer, mirror: link.mirror, program: self, number: number)
            try Thread.start(name: "relay-\(link.mirror.name)") { [self] in
                session.run()
                state.withLock { _ = $0.links.removeValue(forKey: number) }
                state.broadcast()
            }
        }
        retire(ended)
    }

    /// Lets the running exchanges of these finish, and connects them no more.
    private func retire(_ numbers: [Int]) {
        let sessions = state.withLock { state in
            for number in numbers { state.links[number]?.isRetired = true }
            return numbers.compactMap { state.sessions[$0] }
        }
        state.broadcast()
        for session in sessions { session.drain() }
    }

    // MARK: - Reload

    /// Reads the configuration anew, keys and certificates too, and connects by it. Nothing changes
    /// where something of it cannot be used. Blocks on the disk; one thread calls it.
    package func reload() {
        notifySocket.reloading()
        defer { notifySocket.reloaded() }
        do {
            let new = try readConfiguration()
            try new.requireNoRestart(after: configuration)
            let links = try AgentProgram.links(new)
            journal.setLevel(new.logLevel)
            try start(links, mirrors: new.mirrors.count)
            metrics.lastReloadSucceeded.set(1)
            metrics.lastReloadTime.set(WallClock.secondsSince1970)
            journal.info("reloaded") { $0.field("MIRRORS", new.mirrors.count) }
            for warning in new.warnings {
                journal.warning("configuration") { $0.field("NOTE", warning) }
            }
        } catch {
            metrics.lastReloadSucceeded.set(0)
            journal.error("reload refused, all stays as it was") {
                $0.field("REASON", StartFailure(error).line(program: "magicmirror"))
            }
        }
    }

    private func waitForEnd() -> ExitCode {
        let isStopped = state.wait(until: .distantFuture) { state -> Bool? in
            state.isStopping || state.links.isEmpty ? state.isStopping : nil
        }
        if isStopped == false { return .refused }
        notifySocket.stopping(within: limits.drainTimeout + .seconds(5))
        let deadline = Deadline.after(limits.drainTimeout)
        let isDone = state.wait(until: deadline) { state in
            state.links.values.allSatisfy(\.isDialing) || state.isAborting ? true : nil
        }
        if isDone == nil { journal.warning("exchanges were still running at the drain limit") }
        // The last bytes for the origins are with their threads.
        while metrics.exchangesInFlight.current > 0, !deadline.hasPassed,
            !state.withLock({ $0.isAborting })
        {
            pause(until: .after(milliseconds: 20))
        }
        return .stopped
    }

    /// Lets the running exchanges finish, then stops; called a second time, stops at once.
    package func stop() {
        let sessions = state.withLock { state -> [SessionHandle] in
            if state.isStopping { state.isAborting = true }
            state.isStopping = true
            return Array(state.sessions.values)
        }
        state.broadcast()
        for session in sessions { session.drain() }
    }

    // MARK: - For the threads of the sessions

    /// Whether the link is not to be connected any more.
    func isOver(_ number: Int) -> Bool { state.withLock { $0.isOver(number) } }

    /// Nobody who stops waits for a link that dials.
    func setDialing(_ number: Int, _ isDialing: Bool) {
        state.withLock { $0.links[number]?.isDialing = isDialing }
        state.broadcast()
    }

    /// Blocks until the link is not to be connected any more, or `deadline` passes.
    func waitForEnd(of number: Int, until deadline: Deadline) {
        _ = state.wait(until: deadline) { $0.isOver(number) ? true : nil }
    }

    private func pause(until deadline: Deadline) {
        _ = state.wait(until: deadline) { _ -> Bool? in nil }
    }

    func submit(_ job: OriginJob) -> Bool { pool.submit(job) }

    func sessionStands(
        _ number: Int, _ handle: SessionHandle, _ name: MirrorName, _ remote: RemoteURL
    ) {
        let (isFirst, drains, replaced) = state.withLock { state in
            state.sessions[number] = handle
            defer { state.links[number]?.replaces = [] }
            return (
                state.wasReady.insert(number).inserted, state.isOver(number),
                state.links[number]?.replaces ?? []
            )
        }
        retire(replaced)
        metrics.sessions.add()
        if !isFirst { metrics.reconnects.add() }
        if isFirst {
            StandardOutput.ready([("mirror", name.text), ("remote", remote.description)])
        }
        // The order to end came while this session was being made.
        if drains { handle.drain() }
    }

    func sessionEnded(_ number: Int) {
        // One that never stood ends, too.
        let stood = state.withLock { $0.sessions.removeValue(forKey: number) != nil }
        if stood { metrics.sessions.subtract() }
    }
}

extension Mirror {
    /// Reads the files that it takes to reach the origin.
    convenience init(
        _ mirror: AgentConfiguration.Mirror, limits: AgentLimits
    ) throws(StartError) {
        let tls = mirror.local.isSecure ? try mirror.originContext() : nil
        let host: [UInt8]? =
            switch mirror.hostField {
            case .preserve: nil
            case .local: Array(mirror.local.hostField.utf8)
            case .value(let value): Array(value.utf8)
            }
        self.init(
            name: mirror.name, origin: Origin(mirror.local, tls: tls, limits: limits),
            paths: OriginPaths(mirror.local, host: host), policy: mirror.policy,
            logsQueries: mirror.logsQueries)
    }
}

extension AgentConfiguration.Mirror {
    /// Reads the files that it takes to trust the relays.
    func relayContext() throws(StartError) -> TLSContext {
        do throws(TLSConfigurationError) {
            return try TLSContext(trust: trustFile, verifies: true)
        } catch {
            throw written.unusable("ca-file", error.message)
        }
    }

    fileprivate func originContext() throws(StartError) -> TLSContext {
        do throws(TLSConfigurationError) {
            return try TLSContext(
                trust: localTrustFile, verifies: !localIsInsecure, identity: localIdentity)
        } catch {
            let setting =
                switch error.subject {
                case .trust: "local-ca-file"
                case .certificate: "local-certificate"
                case .privateKey: "local-private-key"
                }
            throw written.unusable(setting, error.message)
        }
    }
}

private func hexadecimal(_ byte: UInt8) -> String {
    let digits = String(byte, radix: 16)
    return digits.count == 1 ? "0" + digits : digits
}
