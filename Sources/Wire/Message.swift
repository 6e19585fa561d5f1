// The messages of protocol v2, one per binary WebSocket message (magicmirror-protocol(7)).
//
// Called by: the owner of a session, for each message it reads or queues.
// Hard: nothing; every number is big-endian, every length is checked before it is used.

package enum MessageType: UInt8, Sendable, CaseIterable {
    case settings = 0
    case request = 1
    case response = 2
    case data = 3
    case trailers = 4
    case credit = 5
    case reset = 6
    case drain = 7
}

/// Why a message ends the session: the close reason of code 1002.
package enum MessageError: String, Error, Equatable, Sendable {
    case settings = "malformed settings"
    case credit = "malformed credit"
    case reset = "malformed reset"
}

/// Type, flags and exchange, which begin every message.
package struct MessageHeader: Sendable, Equatable {
    package static let length = 6
    package static let flagEnd: UInt8 = 1
    /// What a payload may have: with its header a WebSocket message of 64 KiB + 6 bytes.
    package static let maximumPayload = 64 * 1024

    /// A byte rather than a `MessageType`: unknown types are ignored.
    package let type: UInt8
    package let flags: UInt8
    package let exchange: UInt32

    package init(type: UInt8, flags: UInt8 = 0, exchange: UInt32) {
        self.type = type
        self.flags = flags
        self.exchange = exchange
    }

    package init(_ type: MessageType, isEnd: Bool = false, exchange: UInt32) {
        self.init(type: type.rawValue, flags: isEnd ? Self.flagEnd : 0, exchange: exchange)
    }

    package var isEnd: Bool { flags & Self.flagEnd != 0 }
    package var hasUnknownFlags: Bool { flags & ~Self.flagEnd != 0 }

    /// - Returns: nil where `range` is shorter than a header.
    package static func parse(_ buffer: [UInt8], _ range: Range<Int>) -> MessageHeader? {
        guard range.count >= length else { return nil }
        let start = range.lowerBound
        return MessageHeader(
            type: buffer[start], flags: buffer[start + 1],
            exchange: buffer.bigEndian32(at: start + 2))
    }

    package func append(to out: inout [UInt8]) {
        out.append(type)
        out.append(flags)
        out.appendBigEndian(exchange)
    }

    /// Overwrites the six bytes from `index`.
    package func write(at index: Int, in buffer: inout [UInt8]) {
        buffer[index] = type
        buffer[index + 1] = flags
        for place in 0..<4 {
            buffer[index + 2 + place] = UInt8(truncatingIfNeeded: exchange >> (24 - 8 * place))
        }
    }
}

/// The payload of CREDIT: so many more bytes may be sent.
package enum Credit {
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>
    ) throws(MessageError) -> UInt32 {
        guard range.count == 4 else { throw .credit }
        return buffer.bigEndian32(at: range.lowerBound)
    }

    package static func append(_ credit: UInt32, to out: inout [UInt8]) {
        out.appendBigEndian(credit)
    }
}

/// Why an exchange was reset; most are the errors of RFC 9209 §2.3.
package enum ResetCode: UInt16, CaseIterable, Sendable {
    /// The final answer is complete: stop uploading.
    case none = 0
    /// The client went away.
    case cancelled = 1
    case connectionRefused = 2
    case destinationIPUnroutable = 3
    case dnsError = 4
    case tlsCertificateError = 5
    case httpProtocolError = 6
    case httpResponseIncomplete = 7
    case connectionTerminated = 8
    case connectionTimeout = 9
    case httpResponseTimeout = 10
    case httpRequestDenied = 11
    case connectionLimitReached = 12
    case destinationUnavailable = 13
    case httpRequestError = 14
    case destinationNotFound = 15

    /// The word in Proxy-Status, log lines and metrics.
    package var proxyStatus: StaticString {
        switch self {
        case .none: "none"
        case .cancelled: "cancelled"
        case .connectionRefused: "connection_refused"
        case .destinationIPUnroutable: "destination_ip_unroutable"
        case .dnsError: "dns_error"
        case .tlsCertificateError: "tls_certificate_error"
        case .httpProtocolError: "http_protocol_error"
        case .httpResponseIncomplete: "http_response_incomplete"
        case .connectionTerminated: "connection_terminated"
        case .connectionTimeout: "connection_timeout"
        case .httpResponseTimeout: "http_response_timeout"
        case .httpRequestDenied: "http_request_denied"
        case .connectionLimitReached: "connection_limit_reached"
        case .destinationUnavailable: "destination_unavailable"
        case .httpRequestError: "http_request_error"
        case .destinationNotFound: "destination_not_found"
        }
    }
}

extension ResetCode {
    /// The status of the answer to a client whose exchange ended so before its answer began.
    package var status: Int {
        switch self {
        case .httpRequestDenied: 403
        case .httpRequestError: 400
        case .destinationNotFound: 404
        case .connectionLimitReached, .destinationUnavailable: 503
        case .connectionTimeout, .httpResponseTimeout: 504
        default: 502
        }
    }

    /// What that client is told. What the agent says in detail is for the logs: it may name private
    /// hosts.
    package var detail: String {
        switch self {
        case .connectionRefused: "the origin refused the connection"
        case .destinationIPUnroutable: "the origin is unreachable"
        case .dnsError: "the origin's name is unknown to the agent"
        case .tlsCertificateError: "the origin's certificate was refused by the agent"
        case .httpProtocolError: "the origin broke the protocol"
        case .httpResponseIncomplete: "the origin closed before its answer was complete"
        case .connectionTimeout: "the origin did not accept the connection in time"
        case .httpResponseTimeout: "the origin did not answer in time"
        case .httpRequestDenied: "the agent's policy refuses this request"
        case .connectionLimitReached: "the agent is full"
        case .destinationUnavailable: "the agent cannot reach the origin now"
        case .httpRequestError: "the agent refused the request as malformed"
        case .destinationNotFound: "the agent does not serve this mirror"
        case .none, .cancelled, .connectionTerminated:
            "the connection to the agent or its origin was lost"
        }
    }
}

/// The payload of RESET: a code and a reason for people.
package struct Reset: Sendable, Equatable {
    package static let maximumReasonBytes = 512

    /// As it came; `code` knows the known ones.
    package let rawCode: UInt16
    package let reason: String

    package init(_ code: ResetCode, reason: String = "") {
        self.init(rawCode: code.rawValue, reason: reason)
    }

    private init(rawCode: UInt16, reason: String) {
        self.rawCode = rawCode
        self.reason = reason
    }

    /// Nil for a code of a later version.
    package var code: ResetCode? { ResetCode(rawValue: rawCode) }

    /// Invalid UTF-8 in the reason is repaired.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>
    ) throws(MessageError) -> Reset {
        guard 2...(2 + maximumReasonBytes) ~= range.count else { throw .reset }
        let start = range.lowerBound
        let code = UInt16(buffer[start]) << 8 | UInt16(buffer[start + 1])
        let reason = String(decoding: buffer[(start + 2)..<range.upperBound], as: UTF8.self)
        return Reset(rawCode: code, reason: reason)
    }

    /// Appends code and reason, which is cut at a character where it is too long.
    package func append(to out: inout [UInt8]) {
        out.append(UInt8(truncatingIfNeeded: rawCode >> 8))
        out.append(UInt8(truncatingIfNeeded: rawCode))
        out.append(contentsOf: reason.prefixByBytes(Self.maximumReasonBytes).utf8)
    }
}

extension [UInt8] {
    fileprivate func bigEndian32(at index: Int) -> UInt32 {
        UInt32(self[index]) << 24 | UInt32(self[index + 1]) << 16 | UInt32(self[index + 2]) << 8
            | UInt32(self[index + 3])
    }

    fileprivate mutating func appendBigEndian(_ number: UInt32) {
        for shift in [24, 16, 8, 0] { append(UInt8(truncatingIfNeeded: number >> shift)) }
    }
}
