// One side of a session under test: the session on a thread of its own, and what it told.

import Connections
import Glibc
import Sessions
import Streams
import Threads
import Wire

/// A request as the agent's side gets it.
struct Arrived: Sendable {
    let exchange: Exchange
    let head: Piece
    let ends: Bool
}

final class Side: SessionObserver, Sendable {
    struct State: Sendable {
        var handle: SessionHandle?
        var requests = RingBuffer<Arrived>()
        /// Places taken by `takesPlace`, and exchanges that are over.
        var opened = 0
        var over = 0
        var upgraded = 0
        var peerDrains = 0
        var sessionEnds = 0
        var end: SessionEnd?
        /// What the session's thread has used.
        var cpuNanoseconds: Int?
    }
    let state = Monitor(State())

    /// Heartbeats that no test without them will see.
    static let calm = SessionLimits(
        heartbeatInterval: .seconds(3_600), heartbeatTimeout: .seconds(3_600))

    /// Starts the session.
    ///
    /// - Parameter input: bytes that came with the upgrade.
    convenience init(
        _ role: Session.Role, _ stream: Handover<ByteStream>, input: [UInt8] = [],
        settings: Settings = Settings(), limits: SessionLimits = Side.calm, lastID: UInt32 = 0
    ) throws {
        try self.init(stream) { stream, side in
            try Session(
                stream, InputBuffer(input), role: role, settings: settings, limits: limits,
                observer: side, lastID: lastID
            ).run()
        }
    }

    /// Starts a session that `run` makes and runs, on a thread of its own.
    init(
        _ stream: Handover<ByteStream>,
        run: @escaping @Sendable (sending ByteStream, Side) throws -> SessionEnd
    ) throws {
        try Threads.Thread.start(name: "session") { [self] in
            let end: SessionEnd
            do {
                let stream = stream.take()
                try stream.handshake(until: soon)
                end = try run(stream, self)
            } catch {
                end = .lost("did not begin: \(error)")
            }
            var time = timespec()
            clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
            let used = time.tv_sec * 1_000_000_000 + time.tv_nsec
            change {
                $0.cpuNanoseconds = used
                $0.end = end
            }
        }
    }

    private func change(_ body: (inout State) -> Void) {
        state.withLock(body)
        state.broadcast()
    }

    // MARK: - What the test waits for

    /// Once the peer's SETTINGS have come; nil where they do not.
    func handle() -> SessionHandle? { state.wait(until: soon) { $0.handle } }

    /// The next request that has come.
    func request() -> Arrived? { state.wait(until: soon) { $0.requests.popFirst() } }

    /// How the session ended; nil where it does not.
    func end() -> SessionEnd? { state.wait(until: soon) { $0.end } }

    /// Whether so many exchanges come to be over.
    func isOver(_ count: Int) -> Bool {
        state.wait(until: soon) { $0.over >= count ? $0.over == count : nil } ?? false
    }

    /// Whether so many exchanges come to be upgraded.
    func isUpgraded(_ count: Int) -> Bool {
        state.wait(until: soon) { $0.upgraded >= count ? $0.upgraded == count : nil } ?? false
    }

    /// Waits until fewer than `maximum` of the exchanges opened with a place are not yet over, and
    /// takes a place, as a mirror does for its requests.
    func takesPlace(of maximum: Int) -> Bool {
        state.wait(until: soon) { state -> Bool? in
            if state.opened - state.over >= maximum { return nil }
            state.opened += 1
            return true
        } ?? false
    }

    /// How many exchanges are over now.
    var over: Int { state.withLock { $0.over } }

    /// Whether the peer's DRAIN comes.
    func peerHasDrained() -> Bool {
        state.wait(until: soon) { $0.peerDrains > 0 ? true : nil } ?? false
    }

    var hasEnded: Bool { state.withLock { $0.end != nil } }

    // MARK: - SessionObserver

    func sessionStands(_ handle: SessionHandle) { change { $0.handle = handle } }

    func requestArrived(_ exchange: Exchange, head: Piece, ends: Bool) {
        change { $0.requests.append(Arrived(exchange: exchange, head: head, ends: ends)) }
    }

    func exchangeIsOver() { change { $0.over += 1 } }

    func exchangeIsUpgraded() { change { $0.upgraded += 1 } }

    func peerDrains() { change { $0.peerDrains += 1 } }

    func sessionEnds(_ end: SessionEnd) { change { $0.sessionEnds += 1 } }
}

/// Two sessions that talk to each other.
struct TwoSides {
    let relay: Side
    let agent: Side

    init(
        _ transport: Transport = .pair, relay relaySettings: Settings = Settings(),
        agent agentSettings: Settings = Settings(instance: "test"),
        limits: SessionLimits = Side.calm
    ) throws {
        let connected = try Connected(transport)
        relay = try Side(.relay, connected.relay, settings: relaySettings, limits: limits)
        agent = try Side(.agent, connected.agent, settings: agentSettings, limits: limits)
    }

    /// Ends both, at the end of a test.
    func close() {
        relay.handle()?.close(.stopped)
        _ = relay.end()
        _ = agent.end()
    }
}
