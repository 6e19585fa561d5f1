// Where agents connect: key, name and upgrade are checked, then a thread of its own owns the
// connection.
//
// Called by: a worker, for a request to the agent path; then on the thread `agent-NAME`.
// Waits for: the agent taking the answer to its upgrade; then what Session waits for.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

/// An agent that has been let in, before its session begins.
struct AgentRegistration: Sendable {
    let mirror: Mirror
    let identity: KeyIdentity
    let client: String
    let version: ProtocolVersion
    let permit: SessionPermit
}

extension Relay {
    /// Checks an agent's request and answers it.
    func register(_ request: Asked, on connection: ClientConnection) -> ClientWorker.Step {
        guard let head = request.head else { return .close }
        var asked = request
        let refuse = { (asked: Asked, answer: Answer, reason: String) in
            self.answer(answer, on: connection, asked, reason: reason)
        }
        if !WebSocketUpgrade.isAsked(by: head) {
            return refuse(
                asked, Answer(status: 400, error: .httpRequestError, detail: "agents connect here"),
                "no upgrade")
        }
        if let problem = WebSocketUpgrade.problem(with: head) {
            return refuse(
                asked, Answer(status: 400, error: .httpRequestError, detail: problem), problem)
        }
        guard
            let credential = Credentials.find(
                in: head.fields, role: .agent, keys, &connection.credentials)
        else { return refuseKey(asked, on: connection, reason: "no valid agent key") }
        asked.key = credential.identity.id
        guard let given = PercentEncoding.queryValue("name", in: head.query ?? []),
            let name = MirrorName(bytes: given[...])
        else {
            return refuse(
                asked,
                Answer(
                    status: 403, error: .httpRequestDenied,
                    detail: "the parameter 'name' must be \(MirrorName.rule)"), "no valid name")
        }
        let id = MirrorID(user: credential.identity.user, name: name)
        asked.mirror = id
        if !credential.identity.covers(user: id.user, name: id.name) {
            return refuse(
                asked,
                Answer(
                    status: 403, error: .httpRequestDenied, detail: "the key is not for this name"),
                "name not covered by the key")
        }
        let version = WebSocketUpgrade.version(offeredBy: head)
        if isDraining { return turnAway(asked, .draining, reason: "draining", version, connection) }
        guard let mirror = registry.enter(id) else {
            return turnAway(
                asked,
                Answer(
                    status: 429, error: .connectionLimitReached,
                    detail: "this user has too many mirrors", retryAfter: 60, limit: .mirrors),
                reason: "too many mirrors", version, connection)
        }
        guard let permit = registry.admitSession(of: id.user) else {
            return turnAway(
                asked,
                Answer(
                    status: 429, error: .connectionLimitReached,
                    detail: "this user has too many agents connected", retryAfter: 60,
                    limit: .sessions),
                reason: "too many agents", version, connection)
        }
        do {
            try connection.stream.append(accepting(head))
            // In version 1 the session sends it, once it stands: nothing else tells the agent that
            // requests can reach it.
            if version == .v2 { try connection.stream.send(until: .after(seconds: 10)) }
        } catch {
            return .close
        }
        return .agent(
            AgentRegistration(
                mirror: mirror, identity: credential.identity,
                client: connection.clientAddress, version: version, permit: permit))
    }

    /// Tells an agent to come back later. To one of version 1 every answer but 101 is final, so it
    /// is let in, and sent away by a Close.
    private func turnAway(
        _ asked: Asked, _ answer: Answer, reason: String, _ version: ProtocolVersion,
        _ connection: ClientConnection
    ) -> ClientWorker.Step {
        guard version == .v1, let head = asked.head else {
            return self.answer(answer, on: connection, asked, reason: reason)
        }
        log(
            asked, connection, status: 101, bytesOut: 0, error: answer.error.proxyStatus,
            reason: reason)
        metrics.errors[Int(answer.error.rawValue)].add()
        if let limit = answer.limit { metrics.reached(limit) }
        do {
            try connection.stream.append(accepting(head))
            try sendAway(connection, reason: reason)
        } catch {
            return .close
        }
        return linger(connection)
    }

    /// The answer that lets an agent in, which has its hour too.
    private func accepting(_ head: RequestHead) -> [UInt8] {
        WebSocketUpgrade.response(to: head, date: WallClock.httpDate())
    }

    private func sendAway(
        _ connection: ClientConnection, reason: String
    ) throws(StreamError) {
        var close: [UInt8] = []
        ClosePayload(code: 1013, reason: "try again later: \(reason)").append(to: &close)
        var writer = WebSocketWriter(masks: false)
        writer.append(.close, close)
        try writer.flush(to: connection.stream)
        try connection.stream.send(until: .after(seconds: 10))
    }

    /// Gives the connection to a thread of its own, which runs the session.
    func becomeAgent(_ connection: sending ClientConnection, _ registration: AgentRegistration) {
        let handover = Handover(connection)
        sessionStarts()
        do {
            try Thread.start(name: "agent-\(registration.mirror.id.name)") { [self] in
                AgentEndpoint(relay: self, registration: registration).run(handover.take())
            }
        } catch {
            journal.error("cannot start a thread for an agent") {
                $0.field("MIRROR", registration.mirror.id.text)
            }
            sessionEnded()
            let connection = handover.take()
            if registration.version == .v1 {
                try? sendAway(connection, reason: "the relay is full")
                connection.stream.end()
            }
        }
    }
}

/// One agent's session at the relay. Lives on the session's owner thread.
private final class AgentEndpoint: SessionObserver {
    private let relay: Relay
    private let registration: AgentRegistration
    /// In the mirror, once the agent's SETTINGS have come.
    private var number: Int?

    init(relay: Relay, registration: AgentRegistration) {
        self.relay = relay
        self.registration = registration
    }

    func run(_ connection: sending ClientConnection) {
        // Counted as a connection as long as the session lives.
        let permit = connection.permit
        let limits = connection.snapshot.limits
        let end: SessionEnd
        do {
            let sessionLimits = SessionLimits(
                heartbeatInterval: limits.heartbeatInterval,
                heartbeatTimeout: limits.heartbeatTimeout)
            switch registration.version {
            case .v2:
                end = try Session(
                    connection.stream, connection.input, role: .relay,
                    settings: Settings(
                        program: "magicmirrord \(Version.number)",
                        maximumExchanges: limits.maximumExchanges),
                    limits: sessionLimits, observer: self
                ).run()
            case .v1:
                end = try LockstepRelaySession(
                    connection.stream, connection.input,
                    limits: LockstepLimits(
                        session: sessionLimits, responseTimeout: limits.responseTimeout,
                        maximumBodyBytes: limits.maximumLegacyBodyBytes),
                    observer: self
                ).run()
            }
        } catch {
            end = .lost("no descriptor for the session's doorbell")
        }
        if let number {
            relay.metrics.sessions.subtract()
            for job in registration.mirror.leave(number) { relay.submit(job) }
        }
        relay.sessionEnded()
        switch end {
        case .silent: relay.metrics.reached(.heartbeatTimeout)
        case .unanswered: relay.metrics.reached(.responseTimeout)
        default: break
        }
        log(end)
        _ = permit
    }

    private func log(_ end: SessionEnd) {
        let (reason, level): (String, Journal.Level) =
            switch end {
            case .stopped: ("the relay stops", .info)
            case .drained: ("the agent stops", .info)
            case .closedByPeer(let code, let text): ("closed by the agent: \(code) \(text)", .info)
            case .lost(let text): (text, .warning)
            case .silent: ("no answer to a heartbeat", .warning)
            case .protocolError(let text): ("protocol error: \(text)", .warning)
            case .replaced: ("replaced by a newer session of the same agent", .info)
            case .revoked: ("the key was revoked or has expired", .warning)
            case .disconnected: ("disconnected by the operator", .info)
            case .recycled: ("closed before one more failed request would end the agent", .info)
            case .unanswered: ("no answer to a request in time", .warning)
            }
        relay.journal.write(level, "agent disconnected") {
            describe(&$0)
            $0.field("REASON", reason)
        }
    }

    private func describe(_ line: inout JournalLine) {
        line.field("MIRROR", registration.mirror.id.text)
        line.field("CLIENT", registration.client)
        line.field("KEY_ID", registration.identity.id)
    }

    // MARK: - SessionObserver

    func sessionStands(_ handle: SessionHandle) {
        let (number, displaced, jobs) = registration.mirror.join(
            handle, key: registration.identity, now: WallClock.secondsSince1970)
        self.number = number
        for session in displaced { session.close(.replaced) }
        for job in jobs { relay.submit(job) }
        relay.metrics.sessions.add()
        relay.journal.info("agent connected") {
            describe(&$0)
            $0.field("PROTOCOL", handle.version.rawValue)
            if handle.version == .v1 { return }
            $0.field("AGENT_VERSION", handle.peer.program)
            $0.field("INSTANCE", handle.peer.instance)
        }
        // What was ordered for all sessions while this one was being made.
        if relay.isDraining { handle.drain() }
        if !relay.keys.isValid(registration.identity) { handle.close(.revoked) }
    }

    func requestArrived(_ exchange: Exchange, head: Piece, ends: Bool) {
        // Only agents get requests; the session has seen to it.
    }

    func exchangeIsOver() {
        if let number, let job = registration.mirror.release(number) { relay.submit(job) }
    }

    func exchangeIsUpgraded() { exchangeIsOver() }

    func sessionEnds(_ end: SessionEnd) {
        if let number { registration.mirror.drain(number, comesBack: end == .recycled) }
    }

    func peerDrains() {
        if let number { registration.mirror.drain(number) }
        relay.journal.info("agent takes no new requests") { describe(&$0) }
    }
}
