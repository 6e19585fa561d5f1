// Pieces, and the framing in the room around them.

import Connections
import Testing
import Wire

@Suite struct PieceTests {
    @Test(arguments: [1, 9, 10, 15, 16, 255, 256, 4_095, 4_096, 65_535, 65_536])
    func `a piece is framed as a chunk where it stands`(count: Int) throws {
        let body = Body(seed: 1, count: count).bytes(from: 0, count: count)
        var piece = Piece(body)
        #expect(piece.count == count)
        let framed = piece.frameAsChunk()
        let expected = [UInt8](String(count, radix: 16) + "\r\n") + body + [13, 10]
        #expect(Array(piece.bytes[framed]) == expected)
    }

    @Test func `a piece with room does not move when it is framed`() {
        var piece = Piece(capacity: 1_000)
        piece.bytes.append(contentsOf: [UInt8](repeating: 1, count: 1_000))
        let capacity = piece.bytes.capacity
        let framed = piece.frameAsChunk()
        #expect(piece.bytes.capacity == capacity)
        #expect(framed.upperBound == piece.bytes.count)
    }

    @Test(arguments: [0, 1, 1_000, 60_000])
    func `a piece that fits gives memory back, and nothing else`(count: Int) {
        var piece = Piece(capacity: Piece.maximumCount)
        let body = Body(seed: 1, count: count).bytes(from: 0, count: count)
        piece.bytes += body
        piece.fit()
        #expect(Array(piece.bytes[piece.payload]) == body)
        #expect(piece.bytes.capacity <= 2 * piece.bytes.count + 1_024)
    }

    @Test func `an empty piece has its room and no more`() {
        let piece = Piece(capacity: 10)
        #expect(piece.isEmpty)
        #expect(piece.count == 0)
        #expect(piece.payload == Piece.headroom..<Piece.headroom)
        #expect(Piece.headroom >= FrameHeader.maximumLength + MessageHeader.length)
    }
}
