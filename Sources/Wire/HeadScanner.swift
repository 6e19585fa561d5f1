// Finds the end of a head in a buffer that fills up piece by piece.
//
// Called by: whoever reads heads from a socket, each time bytes have come.
// Hard: no byte is looked at twice, so that a client that sends single bytes costs no more.

/// Looks for the empty line that ends a head, and remembers how far it has looked.
///
/// One scanner serves one head: make a new one for the next.
package struct HeadScanner: Sendable {
    /// How far the scan came, counted from the start of the range.
    private var scanned = 0
    /// Where the current line began, counted from the start of the range.
    private var lineStart = 0
    /// Whether a line with content was seen; before that, empty lines are skipped.
    private var isInside = false

    package init() {}

    /// Looks on in `range`, which begins at the same byte of the stream as before and may be longer.
    ///
    /// Empty lines before the head are skipped (RFC 9112 §2.2) and count against its limit;
    /// `RequestHead.parse` skips them too.
    ///
    /// - Returns: the index behind the head's empty line, or nil: more bytes are needed.
    /// - Throws: `.headTooLarge` as soon as it is certain, `.malformed` for a bare line feed and
    ///   for a head that begins with a byte no method or version can begin with.
    package mutating func end(
        in buffer: [UInt8], _ range: Range<Int>, limits: HeadLimits = HeadLimits()
    ) throws(HeadError) -> Int? {
        let bytes = buffer.span.extracting(range)
        let limit = min(bytes.count, limits.maximumHeadBytes)
        while scanned < limit {
            let feed = bytes.indexOfLineFeed(from: scanned, to: limit)
            if !isInside, lineStart < limit { try checkFirst(bytes[lineStart]) }
            guard feed < limit else {
                scanned = limit
                break
            }
            guard feed > 0, bytes[feed - 1] == 0x0D else { throw .malformed(.bareLineFeed) }
            let isEmpty = feed - 1 == lineStart
            lineStart = feed + 1
            scanned = feed + 1
            if isEmpty, isInside { return range.lowerBound + feed + 1 }
            if !isEmpty { isInside = true }
        }
        if limit < bytes.count || limit == limits.maximumHeadBytes { throw .headTooLarge }
        return nil
    }

    /// A TLS greeting sent to a plaintext port, for one, has no line feed for a long time.
    private func checkFirst(_ byte: UInt8) throws(HeadError) {
        guard byte.isTokenCharacter || byte == 0x0D else { throw .malformed(.notARequest) }
    }
}
