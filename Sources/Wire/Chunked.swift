// The chunked transfer coding (RFC 9112 §7.1), decoded as the bytes come.
//
// Called by: whoever reads a body, with its read buffer; data is not copied.
// Hard: the decoder takes every byte it is given and keeps what it needs, so that no buffer can be
// too small for it. Each number and each length meets its limit before it is used.

/// Why a chunked body is refused. The connection cannot be used any more.
package enum ChunkError: String, Error, Equatable, Sendable {
    case size = "malformed chunk size"
    case sizeTooLarge = "chunk size too large"
    case lineEnd = "chunk line not ended by carriage return and line feed"
    case extensionCharacter = "control byte in a chunk extension"
    case extensionsTooLong = "chunk extensions too long"
    case dataEnd = "chunk data longer than its size"
    case trailers = "malformed trailers"
    case trailersTooLarge = "trailers too large"
}

package struct ChunkedDecoder: Sendable {
    package enum Piece: Sendable {
        /// All bytes given were taken; give more.
        case needMore
        /// The next bytes of the body, at least one, as a range of the buffer.
        case data(Range<Int>)
        /// The body is complete; the range now begins behind it. Nil: an empty trailer section.
        case end(trailers: Fields?)
    }

    /// What all extensions of a body may have together (RFC 9112 §7.1.1 asks for a limit).
    private static let maximumExtensionBytes = 1024
    /// 15 hexadecimal digits are below 2^60: no overflow.
    private static let maximumSizeDigits = 15

    private enum State {
        case size, blank, extended, sizeEnd, data, dataEnd, dataLineFeed, trailers, ended
    }

    private var state = State.size
    private var digits = 0
    /// The size while it is read, then what is left of the chunk.
    private var left = 0
    private var extensionBytes = 0
    private var trailers: [UInt8] = []
    /// How long the current trailer line is so far.
    private var lineLength = 0
    private let limits: HeadLimits

    package init(maximumTrailerBytes: Int = 8 * 1024) {
        limits = HeadLimits(maximumHeadBytes: maximumTrailerBytes)
    }

    /// Reads the next piece from the start of `range`, and moves that start behind what was taken.
    package mutating func next(
        _ buffer: [UInt8], _ range: inout Range<Int>
    ) throws(ChunkError) -> Piece {
        if state == .data, !range.isEmpty { return takeData(&range) }
        if state == .ended { return .end(trailers: nil) }
        var at = range.lowerBound
        let end = range.upperBound
        defer { range = at..<end }
        while at < end {
            if state == .data {
                var rest = at..<end
                let piece = takeData(&rest)
                at = rest.lowerBound
                return piece
            }
            let byte = buffer[at]
            at += 1
            if state == .trailers {
                guard try takeTrailer(byte) else { continue }
                state = .ended
                return .end(trailers: try parsedTrailers())
            }
            try take(byte)
        }
        return .needMore
    }

    private mutating func takeData(_ range: inout Range<Int>) -> Piece {
        let count = min(left, range.count)
        let data = range.lowerBound..<(range.lowerBound + count)
        range = data.upperBound..<range.upperBound
        left -= count
        if left == 0 { state = .dataEnd }
        return .data(data)
    }

    /// One byte of a size line, or of the line end behind the data.
    private mutating func take(_ byte: UInt8) throws(ChunkError) {
        switch state {
        case .size:
            if let value = byte.hexadecimalValue {
                guard digits < Self.maximumSizeDigits else { throw .sizeTooLarge }
                digits += 1
                left = left << 4 | Int(value)
                return
            }
            guard digits > 0 else { throw .size }
            try takeBehindSize(byte)
        case .blank:
            // RFC 9112 §7.1.1 allows blanks before a semicolon, and nowhere else.
            guard byte.isBlank || byte == 0x3B else { throw .size }
            try takeBehindSize(byte)
        case .extended:
            // A line feed alone here is where servers disagreed about the end of the line.
            if byte == 0x0D {
                state = .sizeEnd
            } else {
                guard !byte.isControl else { throw .extensionCharacter }
                try countExtension()
            }
        case .sizeEnd:
            guard byte == 0x0A else { throw .lineEnd }
            state = left == 0 ? .trailers : .data
            digits = 0
        case .dataEnd:
            guard byte == 0x0D else { throw .dataEnd }
            state = .dataLineFeed
        case .dataLineFeed:
            guard byte == 0x0A else { throw .dataEnd }
            state = .size
        case .data, .trailers, .ended: break
        }
    }

    private mutating func takeBehindSize(_ byte: UInt8) throws(ChunkError) {
        switch byte {
        case 0x0D: state = .sizeEnd
        case 0x3B, 0x20, 0x09:
            state = byte == 0x3B ? .extended : .blank
            try countExtension()
        case 0x0A: throw .lineEnd
        default: throw .size
        }
    }

    private mutating func countExtension() throws(ChunkError) {
        extensionBytes += 1
        guard extensionBytes <= Self.maximumExtensionBytes else { throw .extensionsTooLong }
    }

    /// - Returns: whether the section is complete.
    private mutating func takeTrailer(_ byte: UInt8) throws(ChunkError) -> Bool {
        guard trailers.count < limits.maximumHeadBytes else { throw .trailersTooLarge }
        trailers.append(byte)
        lineLength += 1
        guard byte == 0x0A else { return false }
        defer { lineLength = 0 }
        return lineLength <= 2
    }

    private mutating func parsedTrailers() throws(ChunkError) -> Fields? {
        if trailers == [0x0D, 0x0A] { return nil }
        do {
            return try Fields.parse(trailers, trailers.indices, limits: limits)
        } catch {
            throw error == .headTooLarge || error == .tooManyFields ? .trailersTooLarge : .trailers
        }
    }
}

/// Appends the size line of a chunk; its data and a line end follow. Size 0 begins the last chunk.
package func appendChunkHeader(size: Int, to out: inout [UInt8]) {
    precondition(size >= 0)
    var shift = (Int.bitWidth - max(size, 1).leadingZeroBitCount - 1) & ~3
    while shift >= 0 {
        out.append(.hexadecimalDigit(UInt8(truncatingIfNeeded: size >> shift) & 0xF))
        shift -= 4
    }
    HeadWriter.end(to: &out)
}
