// What travels through a session's queue to its owner thread.

import Connections
import Wire

/// A message on its way out. The owner gives it its exchange's id and its frame.
struct OutgoingMessage: Sendable {
    enum Content: Sendable {
        /// A head, body bytes or trailers.
        case piece(Piece)
        case credit(Int)
        case reset(Reset)
    }
    let exchange: Exchange
    let type: MessageType
    /// Nothing follows from this side on this exchange (flag END, or a type that ends it).
    let endsDirection: Bool
    var content: Content

    /// What it counts against the queue's bound.
    var cost: Int {
        switch content {
        case .piece(let piece): piece.count + 64
        case .credit, .reset: 64
        }
    }
}

/// What arrives on an exchange, in order.
package enum Arriving: Sendable {
    /// A request's or response's head; 1xx heads may come before the final one.
    case head(Piece, ends: Bool)
    case body(Piece, ends: Bool)
    /// Field lines; the body has ended.
    case trailers(Piece)
    /// The exchange was cut: by the other side, or because the session is lost.
    case reset(Reset)
}
