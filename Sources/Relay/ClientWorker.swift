// Step 3, what a worker does with a connection: handshake, head, route, answer; then it lingers,
// parks or closes.
//
// Called by: the pool, each time a connection has become readable, has got its mirror's room, or
// has passed its deadline.
// Waits for: nothing before a whole head is there; then for the exchange (ClientExchange), and
// after it, briefly, for the next request while other workers are free.

import Connections
import Program
import Streams
import Threads
import Wire

/// A connection for a worker, and the place in a mirror that was found for its waiting request.
struct ClientJob: Sendable {
    let connection: Handover<ClientConnection>
    let place: MirrorPlace?
}

struct ClientWorker: Sendable {
    let relay: Relay

    /// What becomes of a connection after a step.
    enum Step {
        /// Go on with it.
        case next
        /// It waits for its client: park it.
        case park
        /// It waits for its turn, behind those that wait for a worker.
        case yield
        /// It stands in the line of this mirror until there is room.
        case wait(Mirror)
        /// It carries raw bytes from now on.
        case upgrade(ClientUpgrade)
        /// It is an agent now.
        case agent(AgentRegistration)
        case close
        /// End it so that the client sees that something broke.
        case cut
    }

    /// How long a worker waits for the next request of its connection. A busy client is back
    /// sooner, and saves the way through the parking lot.
    private static let lingerMilliseconds = 20
    /// What a connection that rested gets for its first bytes, which most heads fit. Large buffers
    /// that come and go for each byte of a slow head, between small things that stay, would leave
    /// the memory in pieces.
    private static let firstRead = 960
    /// What is thrown away of a lingering connection before other connections have their turn.
    private static let maximumDiscarded = 1024 * 1024

    func serve(_ job: ClientJob, _ doorbell: Doorbell) {
        let connection = job.connection.take()
        var place = job.place
        while true {
            let step: Step
            switch connection.phase {
            case .proxyHeader(let begun): step = readProxyHeader(connection, begun)
            case .greeting: step = readGreeting(connection)
            case .handshake: step = handshake(connection)
            case .head: step = readHead(connection, doorbell)
            case .lingering: step = discard(connection)
            case .waiting(let request):
                connection.phase = .head
                if let granted = place.take() {
                    step =
                        connection.stream.isHungUp
                        ? forget(request, connection, granted)
                        : run(request, connection, granted, doorbell)
                } else {
                    step = answerAbsent(request, connection)
                }
            }
            switch step {
            // Its exchange goes on.
            case .upgrade: break
            default: relay.exchangeEnds(on: connection)
            }
            switch step {
            case .next: continue
            case .yield: relay.submit(ClientJob(connection: Handover(connection), place: nil))
            case .park: relay.parkingLot.park(connection)
            case .wait(let mirror): relay.line(up: connection, for: mirror)
            case .upgrade(let upgrade): upgrade.start(on: connection)
            case .agent(let registration): relay.becomeAgent(connection, registration)
            case .close: connection.stream.end()
            case .cut: connection.stream.abort()
            }
            return
        }
    }

    // MARK: - Before a request

    /// Reads until a whole head is there, and serves it.
    private func readHead(_ connection: ClientConnection, _ doorbell: Doorbell) -> Step {
        connection.request = nil
        if let step = linger(connection) { return step }
        connection.renew(by: relay)
        let limits = connection.snapshot.headLimits
        while true {
            do {
                if let end = try connection.scanner.end(
                    in: connection.input.bytes, connection.input.range, limits: limits)
                {
                    let head = try RequestHead.parse(
                        connection.input.bytes, connection.input.range.lowerBound..<end,
                        limits: limits)
                    let framing = try head.framing()
                    connection.input.consume(to: end)
                    return serve(
                        ClientRequest(
                            head, framing,
                            from: ClientOrigin(
                                connection, head.fields,
                                connection.snapshot.configuration.trustedProxies)),
                        connection, doorbell)
                }
            } catch {
                return relay.answer(
                    Answer(error), on: connection, .unreadable,
                    reason: error.reason)
            }
            switch fill(connection, room: ClientWorker.room(in: connection.input)) {
            case .bytes: continue
            case .nothing: return waitForHead(connection)
            case .end: return .close
            }
        }
    }

    /// How much to read of a head. It grows with what has come, never with the memory that was
    /// taken for it, or a client that sends single bytes could double that each time.
    private static func room(in input: InputBuffer) -> Int {
        min(max(firstRead, input.isEmpty ? input.capacity : input.count), 8 * 1024)
    }

    private func fill(_ connection: ClientConnection, room: Int) -> Arrival {
        // A connection that breaks between requests is as good as closed.
        let arrival = try? connection.input.fill(from: connection.stream, room: room)
        if case .bytes = arrival, !connection.headHasBegun {
            connection.headHasBegun = true
            connection.deadline = .after(connection.snapshot.limits.headTimeout)
        }
        return arrival ?? .end
    }

    private func waitForHead(_ connection: ClientConnection) -> Step {
        let hasPassed = connection.deadline.hasPassed
        // What the client sends at this very moment must not be met by a reset.
        if !hasPassed, relay.isParting, connection.input.isEmpty { return relay.linger(connection) }
        if !hasPassed { return .park }
        // Nothing has come: nothing is owed.
        if connection.input.isEmpty {
            relay.metrics.reached(connection.headHasBegun ? .headTimeout : .idleTimeout)
            return .close
        }
        return relay.answer(
            .headTooSlow, on: connection, .unreadable, reason: "head too slow")
    }

    /// After an exchange: waits briefly for the next request, while a quarter of the workers is free.
    ///
    /// - Returns: where other connections wait for a worker: what lets them have their turn, however
    ///   fast this client's requests follow each other.
    private func linger(_ connection: ClientConnection) -> Step? {
        if !connection.mayLinger { return nil }
        connection.mayLinger = false
        let idle = relay.idleWorkers
        let hasBytes = !connection.input.isEmpty || connection.stream.hasBuffered
        if idle < 0 { return hasBytes ? .yield : .park }
        if !hasBytes, idle > connection.snapshot.limits.workers / 4 {
            _ = connection.stream.wait(
                for: .readable, until: .after(milliseconds: ClientWorker.lingerMilliseconds))
        }
        return nil
    }

    /// Throws away what a client sends behind the last answer, until it has closed, too, or its
    /// time is over.
    private func discard(_ connection: ClientConnection) -> Step {
        var discarded = 0
        while discarded < ClientWorker.maximumDiscarded, !connection.deadline.hasPassed {
            switch fill(connection, room: 8 * 1024) {
            case .bytes(let count):
                discarded += count
                connection.input.consume(to: connection.input.range.upperBound)
            case .nothing: return .park
            case .end: return .close
            }
        }
        return connection.deadline.hasPassed ? .close : .park
    }

    // MARK: - A request

    private func serve(
        _ request: ClientRequest, _ connection: ClientConnection, _ doorbell: Doorbell
    ) -> Step {
        connection.scanner = HeadScanner()
        connection.request = request
        let snapshot = connection.snapshot
        var asked = Asked(request)
        if request.head.methodIs("CONNECT") {
            // What follows may be meant for the tunnel: it must not be read as a request.
            asked.bodyIsUnread = true
            return relay.answer(
                Answer(status: 501, error: .httpRequestError, detail: "CONNECT is not served"),
                on: connection, asked, reason: "CONNECT")
        }
        switch connection.service {
        case .administration: return relay.administer(asked, on: connection)
        case .control: return relay.control(asked, on: connection)
        case .mirrors: break
        }
        switch Route(
            request.head, agentPath: snapshot.agentPath, domain: snapshot.configuration.domain,
            hosts: snapshot.hosts)
        {
        case .mirror(let id, let target, let prefix):
            return serve(request, id, target, prefix, &asked, connection, doorbell)
        case .agent: return relay.register(asked, on: connection)
        case .healthy: return relay.page("ok\n", on: connection, asked)
        case .ready:
            return relay.isLeaving
                ? relay.answer(.draining, on: connection, asked, reason: "draining")
                : relay.page("ready\n", on: connection, asked)
        case .mirrorList: return relay.listMirrors(asked, on: connection)
        case .unknown:
            return relay.answer(.noSuchPage, on: connection, asked, reason: "no such address")
        }
    }

    private func serve(
        _ received: ClientRequest, _ id: MirrorID, _ target: ArraySlice<UInt8>,
        _ prefix: ArraySlice<UInt8>,
        _ asked: inout Asked, _ connection: ClientConnection, _ doorbell: Doorbell
    ) -> Step {
        asked.mirror = id
        var credential: Credential?
        // Until a key is found to be good, nothing depends on whether there is such a mirror.
        if !connection.snapshot.publicMirrors.contains(id) {
            credential = Credentials.find(
                in: received.head.fields, role: .client, relay.keys, &connection.credentials)
            guard let credential else {
                return relay.refuseKey(asked, on: connection, reason: "no valid key")
            }
            asked.key = credential.identity.id
            if !credential.identity.covers(user: id.user, name: id.name) {
                return relay.answer(
                    .noSuchMirror, on: connection, asked, reason: "not this key's mirror")
            }
        }
        guard let mirror = relay.registry.find(id) ?? relay.namedMirror(id) else {
            return relay.answer(.noSuchMirror, on: connection, asked, reason: "unknown mirror")
        }
        let request = MirrorRequest(
            received, for: mirror, target: target, prefix: prefix, credential: credential,
            hidesAuthorization: Credentials.standInAuthorization(
                of: received.head.fields, used: credential, relay.keys))
        if relay.isDraining {
            return relay.answer(.draining, on: connection, asked, reason: "draining")
        }
        switch mirror.admit() {
        case .granted(let place): return run(request, connection, place, doorbell)
        case .absent, .full: return answerAbsent(request, connection)
        case .busy:
            if mirror.speaksOnlyVersion1,
                let refusal = request.refusal(
                    byVersion1: connection.snapshot.limits.maximumLegacyBodyBytes)
            {
                return relay.answer(refusal, on: connection, asked, reason: refusal.detail)
            }
            connection.phase = .waiting(request)
            return .wait(mirror)
        }
    }

    /// Carries a request that has got a place, unless its client has so many of them that others'
    /// requests are more urgent.
    private func run(
        _ request: MirrorRequest, _ connection: ClientConnection, _ place: MirrorPlace,
        _ doorbell: Doorbell
    ) -> Step {
        let maximum = connection.snapshot.limits.maximumExchangesPerAddress
        if !relay.addressLimits.exchangeBegins(request.client.network, atMost: maximum) {
            relay.submit(request.mirror.release(place))
            return relay.answer(
                .tooManyExchanges, on: connection, Asked(request),
                reason: "too many requests from this address at once")
        }
        connection.exchanging = request.client.network
        return ClientExchange.run(relay, connection, request, place, doorbell)
    }

    /// For a request that has got a place when its client had gone: nobody wants it done now.
    private func forget(
        _ request: MirrorRequest, _ connection: ClientConnection, _ place: MirrorPlace
    ) -> Step {
        relay.submit(request.mirror.release(place))
        relay.log(
            Asked(request), connection, status: 499, bytesOut: 0, error: "client_gone",
            reason: "the client closed the connection while it waited")
        return .cut
    }

    /// For a request that has found, or got, no place.
    private func answerAbsent(_ request: MirrorRequest, _ connection: ClientConnection) -> Step {
        let mirror = request.mirror
        if mirror.hasAgent {
            return relay.answer(
                .mirrorIsFull, on: connection, Asked(request), reason: "no place in time")
        }
        if !relay.isKnown(mirror, by: connection.snapshot) {
            return relay.answer(
                .noSuchMirror, on: connection, Asked(request), reason: "no agent has a key for it")
        }
        return relay.answer(.noAgent, on: connection, Asked(request), reason: "no agent")
    }
}
