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
    private struct State: Sendable {
        var sessions: [Int: SessionHandle] = [:]
        var wasReady: Set<Int> = []
        var running = 0
        var refused = 0
        var isStopping = false
        var isAborting = false
    }

    private let state = Monitor(State())
    private let configuration: AgentConfiguration
    private let mirrors: [Mirror]
    private let contexts: [TLSContext]
    private let pool: WorkerPool<OriginJob>
    private let metricsListener: Listener?
    let metrics = AgentMetrics()
    let journal: Journal
    let limits: AgentLimits
    /// Of this process. With the number of mirror and relay behind it, it names an instance: a
    /// session replaces the one before of the same instance.
    let instance: String

    /// Reads trust files, binds the address of the metrics. Serves nothing yet.
    package init(_ configuration: AgentConfiguration, _ journal: Journal) throws {
        self.configuration = configuration
        self.journal = journal
        limits = configuration.limits
        instance = Cryptography.randomBytes(12).map { hexadecimal($0) }.joined()
        mirrors = try configuration.mirrors.map { mirror throws(StartError) in
            try Mirror(mirror, limits: configuration.limits)
        }
        contexts = try configuration.mirrors.map { mirror throws(StartError) in
            try mirror.relayContext()
        }
        if let address = configuration.metricsListening, let value = configuration.metricsWritten {
            metricsListener = try value.listen(address, manual: "magicmirror(1)")
        } else {
            metricsListener = nil
        }
        pool = WorkerPool(
            capacity: configuration.mirrors.reduce(0) { $0 + $1.remotes.count } * limits.workers)
    }

    /// Reads everything that `run` would, and stops there.
    package static func check(_ configuration: AgentConfiguration) throws(StartError) {
        for mirror in configuration.mirrors {
            _ = try Mirror(mirror, limits: configuration.limits)
            _ = try mirror.relayContext()
        }
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
        let worker = OriginWorker(
            journal: journal, limits: limits, metrics: metrics,
            upgrades: UpgradeLimit(limits.maximumUpgrades))
        try pool.start(name: "origin", workers: limits.workers * mirrors.count) { job, doorbell in
            worker.serve(job, doorbell)
        }
        try Thread.start(name: "housekeeping") { [self] in
            while true {
                waitForStop(until: .after(seconds: 1), evenWhileStopping: true)
                for mirror in mirrors { mirror.origin.closeOld() }
            }
        }
        var number = 0
        for (index, mirror) in configuration.mirrors.enumerated() {
            for remote in mirror.remotes {
                let dialer = RelayDialer(
                    remote: remote, name: mirror.name, key: mirror.key,
                    tls: remote.url.isSecure ? contexts[index] : nil,
                    timeout: limits.connectTimeout)
                let session = RelaySession(
                    dialer: dialer, mirror: mirrors[index], program: self, number: number)
                number += 1
                state.withLock { $0.running += 1 }
                try Thread.start(name: "relay-\(mirror.name)") { [self] in
                    let wasRefused = !session.run()
                    state.withLock { state in
                        state.running -= 1
                        if wasRefused { state.refused += 1 }
                    }
                    state.broadcast()
                }
            }
        }
        defer { metricsListener?.removeFile() }
        return waitForEnd()
    }

    private func waitForEnd() -> ExitCode {
        let isStopped = state.wait(until: .distantFuture) { state -> Bool? in
            state.isStopping || state.running == 0 ? state.isStopping : nil
        }
        if isStopped == false { return .refused }
        let deadline = Deadline.after(limits.drainTimeout)
        _ = state.wait(until: deadline) { state in
            state.running == 0 || state.isAborting ? true : nil
        }
        // The last bytes for the origins are with their threads.
        while metrics.exchangesInFlight.current > 0, !deadline.hasPassed,
            !state.withLock({ $0.isAborting })
        {
            waitForStop(until: .after(milliseconds: 20), evenWhileStopping: true)
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

    var isStopping: Bool { state.withLock { $0.isStopping } }

    /// Blocks until the agent is to stop, or `deadline` passes.
    func waitForStop(until deadline: Deadline, evenWhileStopping: Bool = false) {
        _ = state.wait(until: deadline) { $0.isStopping && !evenWhileStopping ? true : nil }
    }

    func submit(_ job: OriginJob) -> Bool { pool.submit(job) }

    func sessionStands(
        _ number: Int, _ handle: SessionHandle, _ name: MirrorName, _ remote: RemoteURL
    ) {
        let (isFirst, drains) = state.withLock { state in
            state.sessions[number] = handle
            return (state.wasReady.insert(number).inserted, state.isStopping)
        }
        metrics.sessions.add()
        if !isFirst { metrics.reconnects.add() }
        if isFirst {
            StandardOutput.ready([("mirror", name.text), ("remote", remote.description)])
        }
        // The order to stop came while this session was being made.
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
            paths: OriginPaths(mirror.local, host: host), policy: mirror.policy)
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
