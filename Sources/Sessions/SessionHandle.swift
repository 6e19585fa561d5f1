// What other threads hold of a session: they open exchanges on it and give it orders.

import Connections
import Threads
import Wire

/// Why a session ended, or is to end.
package enum SessionEnd: Error, Equatable {
    /// This side stops: everything that ran has finished.
    case stopped
    /// The peer stops: everything that ran has finished.
    case drained
    /// The peer closed it, with a close code and its reason.
    case closedByPeer(code: UInt16, reason: String)
    /// The connection broke.
    case lost(String)
    /// The peer answered no heartbeat.
    case silent
    /// The peer broke the protocol: how.
    case protocolError(String)
    /// A newer session of the same instance took its place.
    case replaced
    /// The agent's key is no longer good.
    case revoked
    /// An operator disconnected it.
    case disconnected
    /// Version 1: one more failed request, and the agent would give up.
    case recycled
    /// Version 1: no answer in time, and a late one could not be told from the next.
    case unanswered
}

extension SessionEnd {
    /// The peer's Close. 1005: it gave no code (RFC 6455 §7.1.5).
    init(_ payload: ClosePayload) {
        self = .closedByPeer(code: payload.code ?? 1005, reason: payload.reason)
    }

    /// What a failed read or write makes of the session.
    init(_ error: any Error) {
        switch error {
        case let end as SessionEnd: self = end
        case WebSocketError.protocolError(let reason): self = .protocolError(reason)
        case WebSocketError.stream(let error): self = .lost(error.description)
        default: self = .lost("\(error)")
        }
    }

    /// What the Close frame says; nil where the connection is beyond saying anything.
    var closePayload: ClosePayload? {
        switch self {
        case .stopped: ClosePayload(code: 1001, reason: "the relay stops")
        case .drained: ClosePayload(code: 1000, reason: "drained")
        case .closedByPeer: ClosePayload(code: 1000)
        case .lost: nil
        case .silent: ClosePayload(code: 1001, reason: "no answer to a heartbeat")
        case .protocolError(let reason): ClosePayload(code: 1002, reason: reason)
        case .replaced: ClosePayload(code: 1012, reason: "replaced by a newer session")
        case .revoked: ClosePayload(code: 1008, reason: "the key was revoked or has expired")
        case .disconnected: ClosePayload(code: 1012, reason: "disconnected by the operator")
        case .recycled: ClosePayload(code: 1012, reason: "many requests failed, please come back")
        case .unanswered: ClosePayload(code: 1012, reason: "no answer in time")
        }
    }
}

/// A session that stands. Thread-safe: its queue is a monitor, the rest is set once.
package final class SessionHandle: Sendable {
    /// What the peer said of itself.
    package let peer: Settings
    /// The most bytes of a body, where bodies travel whole (version 1); nil where they are streamed.
    package let maximumBodyBytes: Int?
    let queue: MessageQueue
    private let budget: CreditBudget

    init(
        peer: Settings, queue: MessageQueue, budget: CreditBudget, maximumBodyBytes: Int? = nil
    ) {
        self.peer = peer
        self.maximumBodyBytes = maximumBodyBytes
        self.queue = queue
        self.budget = budget
    }

    package var version: ProtocolVersion { maximumBodyBytes == nil ? .v2 : .v1 }

    /// Sends a request's head; `ends` where it has no body. Does not block.
    ///
    /// The caller keeps the number of exchanges within `peer.maximumExchanges`.
    ///
    /// - Parameter permit: where the request asks for an upgrade; such a request does not end.
    /// - Returns: nil where the session has ended, or takes no new exchanges.
    package func open(
        request head: Piece, ends: Bool, permit: UpgradePermit? = nil
    ) -> Exchange? {
        let exchange = Exchange(queue: queue, budget: budget, credit: peer.initialCredit)
        if let permit { exchange.permitUpgrade(permit) }
        return exchange.send(head: head, ends: ends, as: .request) ? exchange : nil
    }

    /// No new exchanges from now on; the running ones finish.
    package func drain() { queue.drain() }

    package func close(_ end: SessionEnd) { queue.close(end) }

    /// How many turns the owner's loop has made.
    package var turns: Int { queue.turns }

    /// Makes the owner's loop take a turn, if it still moves.
    package func nudge() { queue.doorbell.ring() }
}
