// One request and its response on a session, where a worker and the session's owner meet.
//
// Called by: one worker, which sends its direction and takes what arrives; the owner thread, which
// delivers. Both roles are alike: on the relay the worker sends the request, on the agent the
// response.
// Waits for: the worker waits for arrivals and credit on the exchange's condition, or in poll(2) on
// a socket of its own beside the exchange's doorbell. The owner waits for nothing here.
// Hard: credit. What arrives is bounded by what this side has granted, so the owner never waits
// for a slow worker; what is sent is bounded by what the peer has granted, so the worker does.
// And what all exchanges of a session have granted together is bounded by its CreditBudget.

import Connections
import Synchronization
import Threads
import Wire

/// An exchange. Thread-safe: all state is in one monitor; the id is atomic.
package final class Exchange: Sendable {
    fileprivate struct State: Sendable {
        var arrived = RingBuffer<Arriving>()
        /// How many of them are heads.
        var heads = 0
        /// Nothing more arrives: the peer has ended its direction, or the exchange was cut.
        var peerEnded = false
        /// What the peer may still send.
        var receiveCredit: Int
        /// That, and what has arrived and not been passed on: what this exchange may cost in memory.
        var promised: Int
        /// The last piece that was taken, until the next one is asked for.
        var taken = 0
        var sendCredit: Int
        /// This side's direction has ended.
        var ended = false
        var resetSent = false
        var cut: Reset?
        /// It was cut because the session ended.
        var isLost = false
        /// Where the worker waits.
        var waiter = Waiter.none
        /// It may be upgraded.
        var permit: UpgradePermit?
    }

    fileprivate enum Waiter: Sendable {
        case none, condition
        case doorbell(Doorbell)
    }

    private let state: Monitor<State>
    private let queue: MessageQueue
    private let budget: CreditBudget
    private let identifier = Atomic<UInt32>(0)

    /// - Parameters:
    ///   - budget: of the session; it says what this side lets the peer send ahead of the worker.
    ///   - credit: bytes that the peer lets this side send ahead of its worker.
    init(queue: MessageQueue, budget: CreditBudget, credit: Int) {
        self.queue = queue
        self.budget = budget
        let window = CreditBudget.initialWindow
        budget.promise(window)
        state = Monitor(
            State(receiveCredit: window, promised: window, sendCredit: credit))
    }

    deinit { budget.release(state.withLock { $0.promised }) }

    /// The id in the session; 0 until the owner has sent the request.
    package var id: UInt32 { identifier.load(ordering: .relaxed) }

    /// Lets the other side answer by an upgrade; the exchange holds the permit as long as it lives.
    ///
    /// Before the request is sent, or answered.
    package func permitUpgrade(_ permit: UpgradePermit) {
        state.withLock { $0.permit = permit }
    }

    var mayBeUpgraded: Bool { state.withLock { $0.permit != nil } }

    /// By the owner only.
    func setID(_ id: UInt32) { identifier.store(id, ordering: .relaxed) }

    /// Heads that may wait: all that one request may get. They cost no credit.
    private static let maximumHeads = ResponseHead.maximumInterim + 1
    /// A piece up to this size joins the one before it, up to that size.
    fileprivate static let smallPiece = 1024
    fileprivate static let joinedPiece = 16 * 1024

    // MARK: - Sending (the worker)

    /// Sends a head; `ends` where no body follows. Does not block.
    ///
    /// - Returns: false where the exchange or its session has ended.
    @discardableResult
    package func send(head: Piece, ends: Bool, as type: MessageType) -> Bool {
        if !mayProceed(ends: ends) { return false }
        return queue.putUrgent(
            OutgoingMessage(
                exchange: self, type: type, endsDirection: ends, content: .piece(head)))
    }

    /// How many body bytes may be sent now, up to `limit`, taken from the credit.
    package func takeCredit(upTo limit: Int) -> Int {
        state.withLock { state in
            if state.cut != nil || state.ended { return 0 }
            let granted = min(limit, state.sendCredit)
            state.sendCredit -= granted
            return granted
        }
    }

    /// Gives credit back that was taken and not used.
    package func returnCredit(_ count: Int) {
        if count > 0 { state.withLock { $0.sendCredit += count } }
    }

    /// Sends body bytes for which credit was taken. Blocks while the session's queue is full.
    ///
    /// - Returns: false where the session did not move until `deadline`, or where the exchange or its
    ///   session has ended.
    package func send(body piece: Piece, ends: Bool, until deadline: Deadline) -> Bool {
        if !mayProceed(ends: ends) { return false }
        // An empty message that ends nothing would break the protocol.
        if piece.isEmpty, !ends { return true }
        return queue.put(
            OutgoingMessage(
                exchange: self, type: .data, endsDirection: ends, content: .piece(piece)),
            until: deadline)
    }

    /// Sends trailers, which end this side's direction. Does not block.
    package func send(trailers: Piece) {
        if !mayProceed(ends: true) { return }
        queue.putUrgent(
            OutgoingMessage(
                exchange: self, type: .trailers, endsDirection: true, content: .piece(trailers)))
    }

    /// Cuts the exchange in both directions: nothing more is sent, nothing more is taken.
    ///
    /// A second call does nothing.
    package func reset(_ code: ResetCode, _ reason: String = "") {
        let send = state.withLock { state in
            let isFirst = !state.resetSent && !(state.ended && state.peerEnded)
            state.resetSent = true
            state.ended = true
            state.arrived.removeAll()
            state.heads = 0
            return isFirst
        }
        if send {
            queue.putUrgent(
                OutgoingMessage(
                    exchange: self, type: .reset, endsDirection: true,
                    content: .reset(Reset(code, reason: reason))))
        }
    }

    /// Ends this side's direction in any case; the worker's last word. Where it has not ended
    /// already, the peer is told to stop (`none`: the answer is complete, or the peer cut it).
    package func finish() {
        let isOpen = state.withLock { !$0.ended || !$0.peerEnded }
        if isOpen { reset(.none) }
    }

    /// - Returns: whether this side's direction was still open; `ends` closes it.
    private func mayProceed(ends: Bool) -> Bool {
        state.withLock { state in
            if state.ended { return false }
            state.ended = ends
            return true
        }
    }

    // MARK: - Taking (the worker)

    /// The next arrival, if there is one now. Body bytes are granted to the peer anew once the next
    /// arrival is asked for: by then they have been passed on.
    package func take() -> Arriving? {
        let (arrival, grant) = state.withLock { $0.take(budget) }
        grantCredit(grant)
        return arrival
    }

    /// Blocks until something arrives, or `deadline` passes.
    ///
    /// - Returns: nil at the deadline, and at once where the exchange was cut and nothing is left.
    package func take(until deadline: Deadline) -> Arriving? {
        while true {
            let found = state.wait(until: deadline) { state -> (arrival: Arriving?, grant: Int)? in
                let (arrival, grant) = state.take(budget)
                // The peer may be waiting for the credit of what was passed on.
                if arrival == nil, grant == 0, state.cut == nil {
                    state.waiter = .condition
                    return nil
                }
                state.waiter = .none
                return (arrival, grant)
            }
            guard let found else { return nil }
            grantCredit(found.grant)
            if found.grant == 0 || found.arrival != nil { return found.arrival }
        }
    }

    /// How the exchange was cut by the other side or with its session, if it was; what arrived
    /// before may still be there to take.
    package var cut: Reset? { state.withLock { $0.cut } }

    /// The same, once everything that arrived before has been taken.
    package var cutAndTaken: Reset? { state.withLock { $0.hasArrival ? nil : $0.cut } }

    /// Whether it was cut because the session ended, not by a word of the other side about it.
    package var isLost: Bool { state.withLock { $0.isLost } }

    /// Whether body bytes may be sent now.
    package var hasCredit: Bool { state.withLock { $0.sendCredit > 0 } }

    /// Makes arrivals and credit ring `doorbell`, for a worker that is about to poll.
    ///
    /// - Returns: false where what is wanted is there already, or the exchange was cut.
    package func willPoll(
        _ doorbell: Doorbell, wantsCredit: Bool, wantsArrivals: Bool
    ) -> Bool {
        state.withLock { state in
            if state.cut != nil || (wantsArrivals && state.hasArrival)
                || (wantsCredit && state.sendCredit > 0)
            {
                return false
            }
            state.waiter = .doorbell(doorbell)
            return true
        }
    }

    /// The worker has left poll.
    package func didPoll() { state.withLock { $0.waiter = .none } }

    private func grantCredit(_ grant: Int) {
        if grant > 0 {
            queue.putUrgent(
                OutgoingMessage(
                    exchange: self, type: .credit, endsDirection: false, content: .credit(grant)))
        }
    }

    // MARK: - Delivering (the owner)

    /// What the owner does after a delivery, once it has read all that was there.
    enum Wake: Sendable {
        case nobody, waiting
        case doorbell(Doorbell)
    }

    /// Puts an arrival at the end of what waits.
    ///
    /// - Parameter isLoss: a reset that this side made because the session is over.
    /// - Returns: nil where the peer has sent more body bytes than it was granted, or more heads than
    ///   may wait.
    func deliver(_ arrival: Arriving, isLoss: Bool = false) -> Wake? {
        state.withLock { state -> Wake? in
            switch arrival {
            case .body(let piece, let ends):
                if piece.count > state.receiveCredit { return nil }
                state.receiveCredit -= piece.count
                if ends { state.peerEnded = true }
            case .head(_, let ends):
                if state.heads == Exchange.maximumHeads { return nil }
                if ends { state.peerEnded = true }
            case .trailers: state.peerEnded = true
            case .reset(let reset):
                if state.cut == nil { state.isLost = isLoss }
                state.cut = reset
                // A complete answer is there already: the reset only stops this side's sending.
                if state.peerEnded { return state.wake() }
                state.peerEnded = true
            }
            // After our own reset the peer's rest has no taker.
            if state.resetSent { return .nobody }
            state.append(arrival)
            return state.wake()
        }
    }

    /// Adds to what may be sent.
    ///
    /// - Returns: nil where the sum goes beyond what the protocol allows.
    func addCredit(_ credit: Int) -> Wake? {
        state.withLock { state -> Wake? in
            if credit > Int(Int32.max) - state.sendCredit { return nil }
            state.sendCredit += credit
            return state.wake()
        }
    }

    /// The request had no body: nothing more arrives, except a reset.
    func peerSendsNothing() { state.withLock { $0.peerEnded = true } }

    func wake(_ wake: Wake) {
        switch wake {
        case .nobody: break
        case .waiting: state.signal()
        case .doorbell(let doorbell): doorbell.ring()
        }
    }
}

extension Exchange.State {
    fileprivate var hasArrival: Bool { !arrived.isEmpty }

    /// - Returns: the first arrival, and how much credit to grant the peer now.
    fileprivate mutating func take(_ budget: CreditBudget) -> (Arriving?, Int) {
        let grant = passedOn(budget)
        guard let arrival = arrived.popFirst() else { return (nil, grant) }
        switch arrival {
        case .head: heads -= 1
        case .body(let piece, _): taken = piece.count
        case .trailers, .reset: break
        }
        return (arrival, grant)
    }

    /// Whoever asks for the next piece has passed the last one on: only now it costs nothing more.
    ///
    /// - Returns: how much credit to grant the peer now.
    private mutating func passedOn(_ budget: CreditBudget) -> Int {
        if taken == 0 { return 0 }
        promised -= taken
        budget.release(taken)
        taken = 0
        // In halves of the window, so that credit costs one small message for many large ones;
        // none once the peer has ended.
        let window = budget.window
        if peerEnded || promised > window / 2 { return 0 }
        let grant = window - promised
        promised = window
        receiveCredit += grant
        budget.promise(grant)
        return grant
    }

    /// Puts an arrival at the end. Small pieces that nobody has taken yet become one: each of them
    /// would cost far more memory than the credit that bounds it.
    fileprivate mutating func append(_ arrival: Arriving) {
        if case .head = arrival { heads += 1 }
        guard case .body(let piece, let ends) = arrival, piece.count <= Exchange.smallPiece,
            let last = arrived.popLast()
        else { return arrived.append(arrival) }
        switch consume last {
        case .body(var joined, false) where joined.count + piece.count <= Exchange.joinedPiece:
            joined.bytes.append(contentsOf: piece.bytes[piece.payload])
            arrived.append(.body(joined, ends: ends))
        case let other:
            arrived.append(other)
            arrived.append(arrival)
        }
    }

    /// Who is to be woken. Once: the waiter says anew when it waits again.
    fileprivate mutating func wake() -> Exchange.Wake {
        defer { waiter = .none }
        switch waiter {
        case .none: return .nobody
        case .condition: return .waiting
        case .doorbell(let doorbell): return .doorbell(doorbell)
        }
    }
}
