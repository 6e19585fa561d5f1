// Keeps one mirror connected to one relay: dial, session, wait, again.
//
// Called by: AgentProgram, which gives each its thread `relay-NAME`.
// Waits for: the relay (RelayDialer, Session), and between two attempts for the backoff or the stop.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

/// A request on its way from a session's owner to a worker.
struct OriginJob: Sendable {
    let exchange: Exchange
    let head: Piece
    let ends: Bool
    let mirror: Mirror
}

struct RelaySession: Sendable {
    let dialer: RelayDialer
    let mirror: Mirror
    let program: AgentProgram
    let number: Int

    /// Runs until the agent stops, another takes this one's place, or the relay refuses it for good.
    /// Blocks that long.
    func run() {
        let limits = program.limits
        var backoff = Backoff(first: limits.reconnectDelay, last: limits.maximumReconnectDelay)
        while !program.isOver(number) {
            do throws(DialError) {
                let (stream, input, version) = try dial()
                let start = Deadline.now
                let end = serve(stream, input, version)
                log(end)
                if nanosecondsSince(start) > limits.connectTimeout.nanoseconds { backoff.reset() }
            } catch {
                program.metrics.failedConnects.add()
                switch error {
                case .refused(let status):
                    program.journal.error("the relay refuses this agent; check key and name") {
                        describe(&$0)
                        $0.field("STATUS", status)
                    }
                    return
                case .failed(let reason):
                    program.journal.warning("cannot connect to the relay") {
                        describe(&$0)
                        $0.field("REASON", reason)
                    }
                }
            }
            program.waitForEnd(of: number, until: .after(backoff.next()))
        }
    }

    private func dial() throws(DialError) -> sending (ByteStream, InputBuffer, ProtocolVersion) {
        program.setDialing(number, true)
        defer { program.setDialing(number, false) }
        var steps: [DialStep] = []
        return try dialer.dial(&steps)
    }

    private func serve(
        _ stream: sending ByteStream, _ input: InputBuffer, _ version: ProtocolVersion
    ) -> SessionEnd {
        let limits = program.limits
        let sessionLimits = SessionLimits(
            heartbeatInterval: limits.heartbeatInterval,
            heartbeatTimeout: limits.heartbeatTimeout)
        do {
            switch version {
            case .v2:
                return try Session(
                    stream, input, role: .agent,
                    settings: Settings(
                        program: "magicmirror \(Version.number)", maximumExchanges: limits.workers,
                        // Two names may lead to one relay: those two sessions are not one another's.
                        instance: "\(program.instance)-\(number)"),
                    limits: sessionLimits, observer: self
                ).run()
            case .v1:
                return try LockstepAgentSession(
                    stream, input, host: mirror.paths.host ?? mirror.origin.hostField,
                    limits: LockstepLimits(
                        session: sessionLimits, responseTimeout: limits.responseTimeout,
                        maximumBodyBytes: limits.maximumLegacyBodyBytes),
                    observer: self
                ).run()
            }
        } catch {
            return .lost("no descriptor for the session's doorbell")
        }
    }

    private func log(_ end: SessionEnd) {
        let reason: String
        switch end {
        case .closedByPeer(let code, let text): reason = "closed by the relay: \(code) \(text)"
        case .lost(let text): reason = text
        case .silent:
            program.metrics.reached(.heartbeatTimeout)
            reason = "no answer to a heartbeat"
        case .protocolError(let text): reason = "protocol error: \(text)"
        default: reason = "stopped"
        }
        if program.isOver(number) {
            program.journal.info("session ended") {
                describe(&$0)
                $0.field("REASON", reason)
            }
        } else {
            program.journal.warning("session ended, connecting again") {
                describe(&$0)
                $0.field("REASON", reason)
            }
        }
    }

    fileprivate func describe(_ line: inout JournalLine) {
        line.field("MIRROR", mirror.name.text)
        line.field("REMOTE", dialer.remote.url.description)
    }
}

extension RelaySession: SessionObserver {
    func sessionStands(_ handle: SessionHandle) {
        program.journal.info("connected") {
            describe(&$0)
            $0.field("PROTOCOL", handle.version.rawValue)
            if handle.version == .v2 { $0.field("RELAY_VERSION", handle.peer.program) }
        }
        program.sessionStands(number, handle, mirror.name, dialer.remote.url)
    }

    func requestArrived(_ exchange: Exchange, head: Piece, ends: Bool) {
        let job = OriginJob(exchange: exchange, head: head, ends: ends, mirror: mirror)
        if !program.submit(job) {
            program.metrics.count(.connectionLimitReached)
            program.metrics.reached(.workers)
            exchange.reset(.connectionLimitReached, "the agent is full")
        }
    }

    func exchangeIsOver() {}

    func exchangeIsUpgraded() {}

    func sessionEnds(_ end: SessionEnd) { program.sessionEnded(number) }

    func peerDrains() {
        program.journal.info("the relay takes no new requests") { describe(&$0) }
    }
}
