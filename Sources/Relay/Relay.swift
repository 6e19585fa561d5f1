// The relay as a whole: what its threads share, from the start to the stop.
//
// Called by: the program `magicmirrord`, once; then by every thread of it.
// Threads: `accept-N` for each listener, `parking`, a fixed pool `worker-N`, `agent-NAME` for each
// session, `upgrade-NAME` for each upgraded connection, `housekeeping`, the journal's, the signals'.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

/// The running relay. Thread-safe: what changes is in monitors, the rest is set once.
package final class Relay: Sendable {
    private struct State: Sendable {
        var isDraining = false
        var isStopping = false
        var isAborting = false
        /// Sessions whose threads run.
        var sessions = 0
    }

    let configuration: RelayConfiguration
    let limits: RelayLimits
    let headLimits: HeadLimits
    let agentPath: [UInt8]
    /// Mirrors by host name, in lower case.
    let hosts: [String: MirrorID]
    let journal: Journal
    let metrics = RelayMetrics()
    let keys: KeyStore
    let registry: MirrorRegistry
    private let listeners: [Listener]
    private let administration: Listener?
    private let controlListener: Listener?
    /// Seconds since 1970.
    let startTime = WallClock.secondsSince1970
    private let tls: TLSContext?
    private let state = Monitor(State())
    let parkingLot: ParkingLot
    let upgrades: UpgradeLimit
    private let pool: WorkerPool<ClientJob>

    /// Reads certificate and keys, binds every address. Serves nothing yet.
    package init(_ configuration: RelayConfiguration, _ journal: Journal) throws {
        self.configuration = configuration
        self.journal = journal
        limits = configuration.limits
        headLimits = configuration.limits.head
        agentPath = Array(configuration.agentPath.utf8)
        var hosts: [String: MirrorID] = [:]
        for mirror in configuration.mirrors {
            for host in mirror.hosts {
                hosts[host] = MirrorID(user: mirror.user, name: mirror.name)
            }
        }
        self.hosts = hosts
        (tls, keys, registry) = try Relay.read(configuration)
        listeners = try RelayListeners.open(configuration)
        administration = try RelayListeners.openAdministration(configuration)
        controlListener = try RelayListeners.openControl(configuration)
        parkingLot = try ParkingLot()
        upgrades = UpgradeLimit(limits.maximumUpgrades)
        // A connection stands in this queue once at most, so that it is never full.
        pool = WorkerPool(capacity: limits.maximumConnections + Acceptor.operatorsReserve)
    }

    private static func read(
        _ configuration: RelayConfiguration
    ) throws(StartError) -> (TLSContext?, KeyStore, MirrorRegistry) {
        let written = configuration.written
        var tls: TLSContext?
        if let certificate = configuration.certificate {
            do throws(TLSConfigurationError) {
                tls = try TLSContext(
                    certificate: certificate.chainFile, privateKey: certificate.privateKeyFile)
            } catch {
                throw written.unusable(
                    error.subject == .privateKey ? "private-key" : "certificate", error.message)
            }
        }
        let keys: KeyStore
        do throws(StartError) {
            keys = try KeyStore(path: configuration.keysFile)
        } catch {
            // A fault inside the file has a place of its own.
            guard case .configuration(nil, let message) = error else { throw error }
            throw written.unusable("keys", message)
        }
        return (tls, keys, try MirrorRegistry(configuration))
    }

    /// What the operator should know though nothing is wrong.
    package var warnings: [String] { configuration.warnings + keys.warnings }

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
        StandardOutput.ready(addresses.map { ("address", $0) })
        journal.info("ready") { line in
            for address in addresses { line.field("ADDRESS", address) }
            line.field("KEYS", keys.keyCount)
        }
        _ = state.wait(until: .distantFuture) { $0.isStopping ? true : nil }
        drain()
        for listener in listeners + [administration, controlListener].compactMap({ $0 }) {
            listener.removeFile()
        }
        journal.info("stopped")
    }

    private func start() throws {
        let worker = ClientWorker(relay: self)
        try pool.start(name: "worker", workers: limits.workers) { job, doorbell in
            worker.serve(job, doorbell)
        }
        try Thread.start(name: "parking") { [self] in
            parkingLot.watch { submit(ClientJob(connection: $0, place: nil)) }
        }
        try Thread.start(name: "housekeeping") { [self] in keepHouse() }
        for (index, listener) in listeners.enumerated() {
            let acceptor = Acceptor(listener: listener, tls: tls, service: .mirrors, relay: self)
            try Thread.start(name: "accept-\(index + 1)") { acceptor.run() }
        }
        if let administration {
            let acceptor = Acceptor(
                listener: administration, tls: nil, service: .administration, relay: self)
            try Thread.start(name: "accept-admin") { acceptor.run() }
        }
        if let controlListener {
            let acceptor = Acceptor(
                listener: controlListener, tls: nil, service: .control, relay: self)
            try Thread.start(name: "accept-control") { acceptor.run() }
        }
    }

    // MARK: - Stopping

    /// Lets the running exchanges finish, then stops; called a second time, stops at once.
    package func stop() {
        state.withLock { state in
            if state.isStopping { state.isAborting = true }
            state.isStopping = true
            state.isDraining = true
        }
        state.broadcast()
    }

    /// Lets the running exchanges finish, then stops; changes nothing where that is on its way.
    func beginDrain() {
        state.withLock { state in
            state.isStopping = true
            state.isDraining = true
        }
        state.broadcast()
    }

    var isDraining: Bool { state.withLock { $0.isDraining } }

    /// Blocks until `deadline`, or until the relay is to stop at once.
    func pause(until deadline: Deadline) {
        _ = state.wait(until: deadline) { $0.isAborting ? true : nil }
    }

    /// Tells every agent, and waits until their exchanges, and so their sessions, have ended.
    private func drain() {
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
        while metrics.exchangesInFlight.current > 0, !deadline.hasPassed,
            !state.withLock({ $0.isAborting })
        {
            pause(until: .after(milliseconds: 20))
        }
    }

    func sessionStarts() { state.withLock { $0.sessions += 1 } }

    func sessionEnded() {
        state.withLock { $0.sessions -= 1 }
        state.broadcast()
    }

    // MARK: - Each second, and half of one

    private func keepHouse() {
        while true {
            pause(until: .after(milliseconds: 500))
            refreshKeys()
            for mirror in registry.all {
                for job in mirror.expired() { submit(job) }
            }
        }
    }

    private func refreshKeys() {
        switch keys.refresh() {
        case .unchanged: return
        case .failed(let error): logFailure(error)
        case .changed(let count):
            journal.info("keys changed") { $0.field("KEYS", count) }
            closeRevoked()
        }
    }

    /// Reads the keys anew, whether or not their file seems to have changed. Blocks on the disk.
    ///
    /// - Returns: how many are valid; or why they cannot be read: then those from before stay.
    @discardableResult
    package func reload() -> Result<Int, StartError> {
        if case .failed(let error) = keys.refresh(always: true) {
            logFailure(error)
            return .failure(error)
        }
        let count = keys.keyCount
        journal.info("reloaded") { $0.field("KEYS", count) }
        closeRevoked()
        return .success(count)
    }

    private func logFailure(_ error: StartError) {
        journal.error("cannot read the keys; those from before stay") {
            $0.field("REASON", error.line(program: "magicmirrord"))
        }
    }

    private func closeRevoked() {
        for mirror in registry.all {
            for (session, key) in mirror.sessions where !keys.isValid(key) {
                session.close(.revoked)
            }
        }
    }

    // MARK: - For the workers

    var idleWorkers: Int { pool.idleWorkers }

    func submit(_ job: ClientJob?) {
        if let job, !pool.submit(job) { _ = job.connection.take() }
    }

    /// Puts a connection into its mirror's line; its worker is free.
    func line(up connection: sending ClientConnection, for mirror: Mirror) {
        connection.rest()
        let handover = Handover(connection)
        switch mirror.wait(handover, until: .after(Relay.waitingTimeout)) {
        case .busy: return
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
    func isKnown(_ mirror: Mirror) -> Bool {
        registry.isConfigured(mirror.id)
            || keys.hasAgentKey(user: mirror.id.user, name: mirror.id.name, byName: false)
    }
}
