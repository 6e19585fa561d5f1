// A piece of a body, or a head, with room around it for the framing that it will travel in.
//
// The same array goes from the socket that it was read from to the socket that it is written to:
// a frame's header, or a chunk's size line, is put into the room in front, and nothing is copied.

import Wire

/// What ends a chunked body without trailers.
package let lastChunk = Array("0\r\n\r\n".utf8)

package struct Piece: Sendable {
    /// Room in front: a WebSocket header (14) and a message header (6), or a chunk's size line.
    package static let headroom = FrameHeader.maximumLength + MessageHeader.length

    /// Room behind: the end of a chunk.
    private static let tailroom = 2

    /// The most bytes that one piece carries: with the framing in front it fills four TLS records,
    /// where the most that a message may have would begin a fifth.
    package static let maximumCount = 64 * 1024 - headroom

    /// The headroom, then the payload.
    package var bytes: [UInt8]

    private static let front = [UInt8](repeating: 0, count: headroom)

    /// An empty piece with room for `capacity` bytes of payload.
    package init(capacity: Int) {
        bytes = []
        bytes.reserveCapacity(Piece.headroom + capacity + Piece.tailroom)
        bytes.append(contentsOf: Piece.front)
    }

    package init(_ payload: some Collection<UInt8>) {
        self.init(capacity: payload.count)
        bytes.append(contentsOf: payload)
    }

    /// Of bytes that have the headroom in front already.
    init(framed bytes: [UInt8]) { self.bytes = bytes }

    /// Payload bytes.
    package var count: Int { bytes.count - Piece.headroom }

    package var isEmpty: Bool { count == 0 }

    /// Where the payload stands in `bytes`.
    package var payload: Range<Int> { Piece.headroom..<bytes.count }

    /// Gives back capacity that the payload turned out not to need, so that what a queue counts is
    /// near to what it holds.
    package mutating func fit() {
        if bytes.capacity > 2 * bytes.count + 1024 {
            // Appended: an array made of the whole of another one would keep its storage.
            var fitting: [UInt8] = []
            fitting.reserveCapacity(bytes.count + Piece.tailroom)
            fitting.append(contentsOf: bytes)
            bytes = fitting
        }
    }

    /// Puts the framing of one chunk around the payload (RFC 9112 §7.1).
    ///
    /// - Returns: what to write: size line, payload and line end.
    package mutating func frameAsChunk() -> Range<Int> {
        var line: [UInt8] = []
        appendChunkHeader(size: count, to: &line)
        let start = Piece.headroom - line.count
        for (offset, byte) in line.enumerated() { bytes[start + offset] = byte }
        bytes.append(UInt8(ascii: "\r"))
        bytes.append(UInt8(ascii: "\n"))
        return start..<bytes.count
    }
}
