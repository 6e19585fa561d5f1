import Connections
import Testing
import Threads
import Wire

@testable import Sessions

/// What a peer can make this side hold with very small messages.
@Suite struct SmallPiecesTests {
    private func makeExchange() throws -> Exchange {
        Exchange(queue: try MessageQueue(), budget: CreditBudget(), credit: 1024)
    }

    @Test func `small pieces that wait become few, and no byte is lost or moved`() throws {
        let exchange = try makeExchange()
        var sent: [UInt8] = []
        for index in 0..<40_000 {
            let byte = UInt8(truncatingIfNeeded: index &* 31)
            sent.append(byte)
            #expect(exchange.deliver(.body(Piece([byte]), ends: index == 39_999)) != nil)
        }
        var received: [UInt8] = []
        var pieces = 0
        var hasEnded = false
        while let arrival = exchange.take() {
            guard case .body(let piece, let ends) = arrival else { continue }
            received += piece.bytes[piece.payload]
            pieces += 1
            hasEnded = ends
        }
        #expect(received == sent)
        #expect(hasEnded)
        #expect(pieces < 10)
    }

    @Test func `heads without end are refused`() throws {
        let exchange = try makeExchange()
        var delivered = 0
        while delivered < 1000, exchange.deliver(.head(Piece([]), ends: false)) != nil {
            delivered += 1
        }
        #expect(delivered == 16)
    }
}
