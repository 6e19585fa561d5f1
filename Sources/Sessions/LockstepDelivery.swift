// A whole body on its way to the worker of an exchange, in pieces and within its credit.
//
// Called by: the owner thread of a v1 session, at either end.
// Waits for: nothing; the worker's credit comes through the session's queue.

import Connections
import Wire

struct LockstepDelivery {
    let exchange: Exchange
    private let body: [UInt8]
    private var delivered = 0
    /// What the exchange takes before it has granted anything.
    private var credit = CreditBudget.initialWindow

    init(_ body: [UInt8], to exchange: Exchange) {
        self.body = body
        self.exchange = exchange
    }

    /// What is still held here.
    var left: Int { body.count - delivered }

    /// Delivers as much as the worker takes now, after adding `grant` to that.
    mutating func go(grant: Int = 0) {
        credit += grant
        while credit > 0, left > 0 {
            let end = delivered + min(credit, left, Piece.maximumCount)
            credit -= end - delivered
            let piece = Piece(body[delivered..<end])
            delivered = end
            exchange.deliverAndWake(.body(piece, ends: left == 0))
        }
    }
}

extension Exchange {
    /// For arrivals that come one by one.
    ///
    /// - Parameter isLoss: see `deliver`.
    func deliverAndWake(_ arrival: Arriving, isLoss: Bool = false) {
        if let wake = deliver(arrival, isLoss: isLoss) { self.wake(wake) }
    }
}
