// What can be wrong with a head, and the limits it must keep.

/// The limits of a head; of trailers too.
package struct HeadLimits: Sendable {
    package var maximumHeadBytes: Int
    package var maximumFields: Int
    package var maximumTargetBytes: Int

    package init(
        maximumHeadBytes: Int = 32 * 1024, maximumFields: Int = 128,
        maximumTargetBytes: Int = 16 * 1024
    ) {
        self.maximumHeadBytes = maximumHeadBytes
        self.maximumFields = maximumFields
        self.maximumTargetBytes = maximumTargetBytes
    }
}

/// Why a head is refused. Each case leads to another answer; the reasons inside are for people.
package enum HeadError: Error, Equatable, Sendable {
    /// 400
    case malformed(Malformation)
    /// 400: two servers could see the end of the body in two places (RFC 9112 §6.3).
    case ambiguousFraming(AmbiguousFraming)
    /// 431
    case headTooLarge
    /// 431
    case tooManyFields
    /// 414
    case targetTooLong
    /// 505
    case unsupportedVersion
    /// 501: a transfer coding other than chunked alone.
    case unsupportedTransferCoding

    /// The reason in words, constant text without bytes from the network.
    package var reason: String {
        switch self {
        case .malformed(let malformation): malformation.rawValue
        case .ambiguousFraming(let ambiguity): ambiguity.rawValue
        case .headTooLarge: "head too large"
        case .tooManyFields: "too many fields"
        case .targetTooLong: "request target too long"
        case .unsupportedVersion: "HTTP version not supported"
        case .unsupportedTransferCoding: "transfer coding not supported"
        }
    }
}

/// A breach of the grammar.
package enum Malformation: String, Sendable {
    case unfinished = "head without its end"
    case bytesAfterEnd = "bytes after the end of the head"
    case bareLineFeed = "line feed without a carriage return"
    case bareCarriageReturn = "carriage return without a line feed"
    case controlByte = "control byte"
    case notARequest = "not an HTTP request"
    case requestLine = "malformed request line"
    case statusLine = "malformed status line"
    case method = "malformed method"
    case target = "malformed request target"
    case targetForm = "request target of the wrong form for the method"
    case emptyFieldName = "empty field name"
    case fieldName = "malformed field name"
    case blankBeforeColon = "blank before the colon of a field"
    case foldedLine = "folded field line"
    case missingColon = "field line without a colon"
    case missingHost = "Host field missing"
    case repeatedHost = "Host field repeated"
    case host = "malformed Host field"
    case differentHost = "Host field differs from the request target"
    case connection = "too many connection options"

    /// What is wrong with the field name `range`, which a character ended that is no part of it.
    static func fieldName(_ bytes: Span<UInt8>, _ range: Range<Int>) -> Malformation {
        let end = range.upperBound
        guard end < bytes.count else { return .unfinished }
        switch bytes[end] {
        case 0x3A: return .emptyFieldName
        case 0x20, 0x09:
            if range.isEmpty { return .foldedLine }
            var next = end
            while next < bytes.count, bytes[next].isBlank { next += 1 }
            return next < bytes.count && bytes[next] == 0x3A ? .blankBeforeColon : .fieldName
        case 0x0A: return .bareLineFeed
        case 0x0D:
            guard end + 1 < bytes.count, bytes[end + 1] == 0x0A else { return .bareCarriageReturn }
            return .missingColon
        default: return .fieldName
        }
    }

    /// What is wrong where a line should end at `index`.
    static func lineEnd(_ bytes: Span<UInt8>, _ index: Int) -> Malformation {
        guard index < bytes.count else { return .unfinished }
        switch bytes[index] {
        case 0x0A: return .bareLineFeed
        case 0x0D: return index + 1 < bytes.count ? .bareCarriageReturn : .unfinished
        default: return .controlByte
        }
    }
}

/// Why the end of the body is not certain.
package enum AmbiguousFraming: String, Sendable {
    case both = "Content-Length beside Transfer-Encoding"
    case repeatedLength = "Content-Length repeated"
    case malformedLength = "malformed Content-Length"
    case repeatedCoding = "Transfer-Encoding repeated"
    case notChunked = "Transfer-Encoding without chunked at its end"
    case codingInVersion10 = "Transfer-Encoding in HTTP/1.0"
    case bodyForbidden = "body where the status allows none"
}
