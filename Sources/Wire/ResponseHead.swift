// The head of a response, as an origin or an agent sends it.
//
// Called by: the agent for its origin, the relay for what comes through a session.
// Hard: a broken origin must become an error, never a response with another body.

package struct ResponseHead: Sendable {
    package let fields: Fields
    /// 100...599
    package let status: Int
    /// Offsets into `fields.bytes`; may be empty.
    package let reason: Range<Int>
    /// 0 or 1; a higher minor version is read as 1 (RFC 9110 §2.5).
    package let minorVersion: Int

    package var bytes: [UInt8] { fields.bytes }

    /// Interim heads that one request may get: more than origins have to say, and an end for one
    /// that never comes to its answer.
    package static let maximumInterim = 15

    /// Whether another head follows for the same request: 1xx but 101 (RFC 9110 §15.2).
    package var isInterim: Bool { status < 200 && status != 101 }

    /// Whether the connection ends with this exchange (RFC 9112 §9.3).
    package var wantsClose: Bool { fields.wantsClose(minorVersion: minorVersion) }

    /// Reads a whole head: `range` ends with its empty line. The bytes are copied once.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>, limits: HeadLimits = HeadLimits()
    ) throws(HeadError) -> ResponseHead {
        guard range.count <= limits.maximumHeadBytes else { throw .headTooLarge }
        let bytes = Array(buffer[range])
        let line = try StatusLine(bytes.span)
        let fields = try Fields(bytes, linesFrom: line.end, limits: limits)
        try fields.checkConnectionOptions()
        return ResponseHead(
            fields: fields, status: line.status, reason: line.reason,
            minorVersion: line.minorVersion)
    }
}

/// `HTTP/1.x SP 3DIGIT SP reason CRLF`; the space before an empty reason may be missing.
private struct StatusLine {
    let status: Int
    let reason: Range<Int>
    let minorVersion: Int
    /// The index behind the line.
    let end: Int

    init(_ bytes: Span<UInt8>) throws(HeadError) {
        minorVersion = try bytes.minorVersion(at: 0, failing: .statusLine)
        guard bytes.count >= 14, bytes[8] == 0x20, let status = bytes.decimal(9..<12),
            100...599 ~= status
        else { throw .malformed(.statusLine) }
        self.status = status
        var at = 12
        if bytes[at] == 0x20 {
            at = bytes.indexOfControl(from: 13, to: bytes.count)
            reason = 13..<at
        } else {
            guard bytes[at] == 0x0D || bytes[at] == 0x0A else { throw .malformed(.statusLine) }
            reason = 12..<12
        }
        try bytes.requireLineEnd(at: at)
        end = at &+ 2
    }
}
