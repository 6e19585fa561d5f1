// The relay as a whole: what its threads share, from the start to the stop.
//
// Called by: the program `magicmirrord`, once; then by every thread of it.
// Threads: `accept-N` for each listener, `parking`, a fixed pool `worker-N`, `agent-NAME` for each
// session, `upgrade-NAME` for each upgraded connection, `housekeeping`, the journal's, the signals'.

import Connections
import Program
import Sessions
import Streams
import Synchronization
import Threads
import Wire

/// The running relay. Thread-safe: what changes is in monitors and atomics, the rest is set once.
package final class Relay: Sendable {
    /// How far a stop has come.
    private enum Stage: Int {
        case serving
        /// All is as before, but load balancers are told to ask elsewhere.
        case leaving
        /// Requests are answered by 503, and with each answer its connection ends.
        case draining
        /// No connections are taken any more.
        case refusing
        /// Connections at rest end.
        case parting
    }

    private struct State: Sendable {
        var isStopping = false
        var isAborting = false
        var isReloading = false
        /// Sessions whose threads run.
        var sessions = 0
        /// Threads that take connections of clients and agents.
        var acceptors = 0
    }

    let journal: Journal
    let metrics: RelayMetrics
    let keys: KeyStore
    let registry: MirrorRegistry
    private let listeners: [Listener]
    private let administration: Listener?
    private let controlListener: Listener?
    /// Seconds since 1970.
    let startTime = WallClock.secondsSince1970
    private let state = Monitor(State())
    private let newest: Monitor<ConfigurationSnapshot>
    private let newestNumber: Atomic<Int>
    /// Reads the configuration anew, from wherever that of the start came.
    let readConfiguration: @Sendable () throws(StartError) -> RelayConfiguration
    private let stage = Atomic(Stage.serving.rawValue)
    /// Rung once: connections are refused.
    let refusingBell: Doorbell
    let parkingLot: ParkingLot
    let upgrades = UpgradeLimit()
    let addressLimits = AddressLimits()
    private let pool = WorkerPool<PoolJob>()
    let notifySocket = NotifySocket()
    /// How many of those that the watchdog has asked have not answered.
    private let unanswered = Atomic(0)

    private enum PoolJob: Sendable {
        case serve(ClientJob)
        /// Somebody asks whether the workers still take jobs.
        case answer
    }

    /// Reads certificate and keys, binds every address. Serves nothing yet.
    ///
    /// - Parameter again: reads the configuration anew, for a reload.
    package init(
        _ configuration: RelayConfiguration, _ journal: Journal,
        again: @escaping @Sendable () throws(StartError) -> RelayConfiguration
    ) throws {
        self.journal = journal
        metrics = RelayMetrics(journal)
        readConfiguration = again
        let snapshot: ConfigurationSnapshot
        (snapshot, keys, registry) = try Relay.read(configuration)
        newest = Monitor(snapshot)
        newestNumber = Atomic(snapshot.number)
        refusingBell = try Doorbell()
        listeners = try RelayListeners.open(configuration)
        administration = try RelayListeners.openAdministration(configuration)
        controlListener = try RelayListeners.openControl(configuration)
        parkingLot = try ParkingLot()
    }

    private static func read(
        _ configuration: RelayConfiguration
    ) throws(StartError) -> (ConfigurationSnapshot, KeyStore, MirrorRegistry) {
        let snapshot = try ConfigurationSnapshot(configuration, number: 1)
        let keys: KeyStore
        do throws(StartError) {
            keys = try KeyStore(path: configuration.keysFile)
        } catch {
            throw configuration.placed(error)
        }
        return (snapshot, keys, try MirrorRegistry(snapshot))
    }

    /// What the operator should know though nothing is wrong.
    package var warnings: [String] { snapshot.configuration.warnings + keys.warnings }

    /// Of the first listener.
    package var address: String { addresses.first ?? "" }

    /// Of the listeners for clients and agents.
    var addresses: [String] { listeners.map(\.address.description) }

    /// Reads everything that a start would, and stops there.
    package static func check(_ configuration: RelayConfiguration) throws(StartError) {
        _ = try read(configuration)
    }

    /// Serves until it is told to stop. Blocks that long.
    package func run() throws {
        try start()
        if let error = notifySocket.ready() {
            journal.warning("cannot tell the service manager that the relay is ready") {
                $0.field("REASON", error.description)
            }
        }
        StandardOutput.ready(addresses.map { ("address", $0) })
        journal.info("ready") { line in
            for address in addresses { line.field("ADDRESS", address) }
            line.field("KEYS", keys.keyCount)
        }
        _ = state.wait(until: .distantFuture) { $0.isStopping ? true : nil }
        leave()
        drain()
        part()
        administration?.removeFile()
        controlListener?.removeFile()
        journal.info("stopped")
    }

    private func start() throws {
        let worker = ClientWorker(relay: self)
        // A connection stands in this queue once at most, so that it is never full.
        try pool.start(
            name: "worker", workers: limits.workers,
            waiting: RelayLimits.mostConnections + Acceptor.operatorsReserve
        ) { [self] job, doorbell in
            switch job {
            case .serve(let job): worker.serve(job, doorbell)
            case .answer: answerWatchdog()
            }
        }
        try Thread.start(name: "parking") { [self] in
            parkingLot.watch(answer: answerWatchdog) {
                submit(ClientJob(connection: $0, place: nil))
            }
        }
        try Thread.start(name: "housekeeping") { [self] in keepHouse() }
        for (index, listener) in listeners.enumerated() {
            let acceptor = Acceptor(listener: listener, service: .mirrors, relay: self)
            state.withLock { $0.acceptors += 1 }
            try Thread.start(name: "accept-\(index + 1)") { acceptor.run() }
        }
        if let administration {
            let acceptor = Acceptor(
                listener: administration, service: .administration, relay: self)
            try Thread.start(name: "accept-admin") { acceptor.run() }
        }
        if let controlListener {
            let acceptor = Acceptor(
                listener: controlListener, service: .control, relay: self)
            try Thread.start(name: "accept-control") { acceptor.run() }
        }
    }

    // MARK: - Stopping

    /// Lets the running exchanges finish, then stops; called a second time, stops at once.
    package func stop() {
        startLeaving()
        state.withLock { state in
            if state.isStopping { state.isAborting = true }
            state.isStopping = true
        }
        state.broadcast()
    }

    /// Lets the running exchanges finish, then stops; changes nothing where that is on its way.
    func beginDrain() {
        startLeaving()
        state.withLock { $0.isStopping = true }
        state.broadcast()
    }

    private func startLeaving() {
        let next = limits.drainDelay > .zero ? Stage.leaving : .draining
        _ = stage.compareExchange(
            expected: Stage.serving.rawValue, desired: next.rawValue,
            ordering: .acquiringAndReleasing)
    }

    var isLeaving: Bool { hasReached(.leaving) }
    var isDraining: Bool { hasReached(.draining) }
    var isRefusing: Bool { hasReached(.refusing) }
    var isParting: Bool { hasReached(.parting) }

    private func hasReached(_ stage: Stage) -> Bool {
        self.stage.load(ordering: .acquiring) >= stage.rawValue
    }

    /// Blocks until `deadline`, or until the relay is to stop at once.
    func pause(until deadline: Deadline) {
        _ = state.wait(until: deadline) { $0.isAborting ? true : nil }
    }

    /// Serves on until load balancers have noticed: what they still send is answered.
    private func leave() {
        let delay = limits.drainDelay
        if delay > .zero {
            journal.info("leaving")
            pause(until: .after(delay))
        }
        stage.store(Stage.draining.rawValue, ordering: .releasing)
    }

    /// Tells every agent, and waits until their exchanges, and so their sessions, have ended.
    private func drain() {
        // And what comes after it, with the last lines of the journal.
        notifySocket.stopping(within: limits.drainTimeout + .seconds(5))
        journal.info("draining") { $0.field("EXCHANGES", metrics.exchangesInFlight.current) }
        for mirror in registry.all {
            for (session, _) in mirror.sessions { session.drain() }
        }
        let deadline = Deadline.after(limits.drainTimeout)
        let isDone = state.wait(until: deadline) { state in
            state.sessions == 0 || state.isAborting ? true : nil
        }
        if isDone == nil { journal.warning("exchanges were still running at the drain limit") }
        // The last answers are with their workers: they have what they need.
        waitForNone(metrics.exchangesInFlight, until: deadline)
    }

    /// Before the end, how long clients have to ask once more and be told; and then how long to
    /// close their connections.
    private static let partingTimeout = Duration.seconds(1)

    /// Takes no more connections, and lets go of those that there are.
    ///
    /// A client must not see a reset: neither one whose request is on its way, nor one that has
    /// just connected. Sockets that were passed in keep what comes from here on for the next relay.
    private func part() {
        stage.store(Stage.refusing.rawValue, ordering: .releasing)
        refusingBell.ring()
        _ = state.wait(until: .after(Relay.partingTimeout)) { $0.acceptors == 0 ? true : nil }
        waitForNone(metrics.clientConnections, until: .after(Relay.partingTimeout))
        // Nothing was asked on these: they are closed as idle ones are (RFC 9112 §9.6).
        stage.store(Stage.parting.rawValue, ordering: .releasing)
        parkingLot.wakeAll()
        waitForNone(metrics.clientConnections, until: .after(Relay.partingTimeout))
    }

    private func waitForNone(_ gauge: Gauge, until deadline: Deadline) {
        while gauge.current > 0, !deadline.hasPassed, !state.withLock({ $0.isAborting }) {
            pause(until: .after(milliseconds: 20))
        }
    }

    func acceptorEnded() {
        state.withLock { $0.acceptors -= 1 }
        state.broadcast()
    }

    func sessionStarts() { state.withLock { $0.sessions += 1 } }

    func sessionEnded() {
        state.withLock { $0.sessions -= 1 }
        state.broadcast()
    }

    // MARK: - Each second, and half of one

    private func keepHouse() {
        var watchdog = Watchdog(notifySocket)
        while true {
            pause(until: .after(milliseconds: 500))
            refreshKeys()
            for mirror in registry.all {
                for job in mirror.due() { submit(job) }
            }
            notifySocket.status(summary)
            if watchdog.isDue, unanswered.load(ordering: .acquiring) == 0 {
                watchdog.feed()
                askAll()
            }
        }
    }

    private var summary: String {
        if isDraining { return "draining, exchanges: \(metrics.exchangesInFlight.current)" }
        let mirrors = registry.all.count { $0.hasAgent }
        return "serving, mirrors: \(mirrors), sessions: \(metrics.sessions.current)"
    }

    /// Asks whether workers still take jobs, and the parking lot still wakes.
    ///
    /// Exchanges may keep three quarters of the workers for as long as they like. The others come to
    /// their next job soon, which is this, however long the line is.
    private func askAll() {
        unanswered.store(2, ordering: .releasing)
        pool.submitFirst(.answer)
        parkingLot.ask()
    }

    private func answerWatchdog() { unanswered.subtract(1, ordering: .acquiringAndReleasing) }

    private func refreshKeys() {
        switch keys.refresh() {
        case .unchanged: return
        case .failed(let error):
            journal.error("cannot read the keys; those from before stay") {
                $0.field("REASON", error.line(program: "magicmirrord"))
            }
        case .changed(let count):
            journal.info("keys changed") { $0.field("KEYS", count) }
            closeRevoked()
        }
    }

    func closeRevoked() {
        for mirror in registry.all {
            for (session, key) in mirror.sessions where !keys.isValid(key) {
                session.close(.revoked)
            }
        }
    }

    // MARK: - The configuration

    /// What is served by now.
    var snapshot: ConfigurationSnapshot { newest.withLock { $0 } }

    /// The limits of now, for what belongs to no connection.
    var limits: RelayLimits { snapshot.limits }

    /// Whether nothing has taken the place of `snapshot`. For each request: one atomic load.
    func isCurrent(_ snapshot: ConfigurationSnapshot) -> Bool {
        newestNumber.load(ordering: .acquiring) == snapshot.number
    }

    func replaceSnapshot(by new: ConfigurationSnapshot) {
        newest.withLock { $0 = new }
        newestNumber.store(new.number, ordering: .releasing)
    }

    /// - Returns: false where another reload does not come to its end.
    func beginReload() -> Bool {
        state.wait(until: .after(seconds: 5)) { state in
            if state.isReloading { return nil }
            state.isReloading = true
            return true
        } ?? false
    }

    func endReload() {
        state.withLock { $0.isReloading = false }
        state.broadcast()
    }

    // MARK: - For the workers

    var idleWorkers: Int { pool.idleWorkers }

    func submit(_ job: ClientJob?) {
        if let job, !pool.submit(.serve(job)) { _ = job.connection.take() }
    }

    /// The address of the connection's client may have another exchange instead of this one.
    func exchangeEnds(on connection: ClientConnection) {
        if let client = connection.exchanging.take() { addressLimits.exchangeEnds(client) }
    }

    /// Puts a connection into its mirror's line; its worker is free.
    func line(up connection: sending ClientConnection, for mirror: Mirror) {
        connection.rest()
        let handover = Handover(connection)
        switch mirror.wait(handover, until: .after(Relay.waitingTimeout)) {
        case .busy(let limit): metrics.reached(limit)
        case .granted(let place): submit(ClientJob(connection: handover, place: place))
        case .absent, .full: submit(ClientJob(connection: handover, place: nil))
        }
    }

    /// How long a request waits for room in its mirror.
    private static let waitingTimeout = Duration.seconds(10)

    /// A mirror that an agent's key names, though none has connected yet.
    func namedMirror(_ id: MirrorID) -> Mirror? {
        keys.hasAgentKey(user: id.user, name: id.name, byName: true) ? registry.enter(id) : nil
    }

    /// Whether a mirror without an agent is still one: the configuration, or an agent's key, has it.
    func isKnown(_ mirror: Mirror, by snapshot: ConfigurationSnapshot) -> Bool {
        snapshot.configuredMirrors.contains(mirror.id)
            || keys.hasAgentKey(user: mirror.id.user, name: mirror.id.name, byName: false)
    }
}
