// What the workers do in these tests: send a body as fast as credit allows, take one and look at
// every byte, or both at once, with one thread for an exchange as in the programs.

import Connections
import Sessions
import Streams
import Threads
import Wire

enum Talk {
    enum Outcome: Equatable, Sendable {
        case complete
        case cut(ResetCode?)
        /// So many bytes have moved that it is enough.
        case impatient
        case wrong(String)
    }

    /// Sends a body, waiting for credit; ends it.
    ///
    /// - Returns: whether it went.
    static func send(_ body: Body, on exchange: Exchange) -> Bool {
        guard let doorbell = try? Doorbell() else { return false }
        var sent = 0
        while sent < body.count {
            let credit = exchange.takeCredit(upTo: min(65_536, body.count - sent))
            if credit == 0 {
                if exchange.cut != nil { return false }
                if exchange.willPoll(doorbell, wantsCredit: true, wantsArrivals: false) {
                    let ready = poll(-1, for: [], doorbell: doorbell, until: soon)
                    exchange.didPoll()
                    doorbell.clear()
                    if ready.isEmpty { return false }
                }
                continue
            }
            let piece = Piece(body.bytes(from: sent, count: credit))
            sent += credit
            if !exchange.send(body: piece, ends: false, until: soon) { return false }
        }
        return exchange.send(body: Piece(capacity: 0), ends: true, until: soon)
    }

    /// Takes a body to its end.
    static func take(_ body: Body, from exchange: Exchange) -> Outcome {
        var taken = 0
        while true {
            switch exchange.take(until: soon) {
            case .head: continue
            case .body(let piece, let ends):
                if !body.holds(piece.bytes[piece.payload], at: taken) {
                    return .wrong("bytes from \(taken)")
                }
                taken += piece.count
                if ends { return taken == body.count ? .complete : .wrong("\(taken) bytes") }
            case .trailers: return taken == body.count ? .complete : .wrong("\(taken) bytes")
            case .reset(let reset): return .cut(reset.code)
            case nil: return .wrong("nothing came")
            }
        }
    }

    /// Sends one body and takes another, both at once.
    ///
    /// - Parameters:
    ///   - sizes: of the pieces that are sent.
    ///   - endsByTrailers: the body that is sent ends by trailers.
    ///   - patience: how many bytes, both ways together, before it is given up.
    static func exchange(
        _ exchange: Exchange, sending out: Body, taking back: Body, sizes: ClosedRange<Int>,
        endsByTrailers: Bool, _ doorbell: Doorbell, until patience: Int = .max
    ) -> Outcome {
        var random = SeededGenerator(UInt64(truncatingIfNeeded: out.seed))
        var (sent, taken) = (0, 0)
        var (hasSent, hasTaken) = (false, false)
        while !hasSent || !hasTaken {
            let cut = exchange.cut
            if sent + taken > patience { return .impatient }
            while !hasTaken, let arrival = exchange.take() {
                switch arrival {
                case .head(_, let ends): hasTaken = ends
                case .body(let piece, let ends):
                    if !back.holds(piece.bytes[piece.payload], at: taken) {
                        return .wrong("bytes from \(taken)")
                    }
                    taken += piece.count
                    hasTaken = ends
                case .trailers: hasTaken = true
                case .reset(let reset): return .cut(reset.code)
                }
            }
            // A cut that found the other direction complete comes without an arrival.
            if let cut { return .cut(cut.code) }
            if !hasSent {
                let size = min(Int.random(in: sizes, using: &random), out.count - sent)
                let credit = exchange.takeCredit(upTo: size)
                if sent + credit == out.count, endsByTrailers, credit == 0 {
                    exchange.send(trailers: Piece([UInt8]("A: b\r\n\r\n")))
                    hasSent = true
                    continue
                }
                if credit > 0 || sent == out.count {
                    let ends = sent + credit == out.count && !endsByTrailers
                    let piece = Piece(out.bytes(from: sent, count: credit))
                    sent += credit
                    if !exchange.send(body: piece, ends: ends, until: soon) {
                        return .cut(exchange.cut?.code)
                    }
                    hasSent = ends
                    continue
                }
            }
            if hasSent, hasTaken { break }
            if exchange.willPoll(doorbell, wantsCredit: !hasSent, wantsArrivals: !hasTaken) {
                let ready = poll(-1, for: [], doorbell: doorbell, until: soon)
                exchange.didPoll()
                doorbell.clear()
                if ready.isEmpty { return .wrong("nothing moved") }
            }
        }
        return taken == back.count ? .complete : .wrong("\(taken) bytes")
    }
}
