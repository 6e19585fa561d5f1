import Testing

@testable import Wire

@Suite struct BodyFramingTests {
    /// What a table expects: a framing or the error instead of it.
    enum Expected: Sendable, Equatable {
        case framing(BodyFraming)
        case error(HeadError)
    }

    private static let none = Expected.framing(.none)
    private static func length(_ length: Int) -> Expected { .framing(.length(length)) }
    private static func doubt(_ doubt: AmbiguousFraming) -> Expected {
        .error(.ambiguousFraming(doubt))
    }

    /// RFC 9112 §6.3 for requests, and what request smuggling is made of.
    static let declarations: [(String, Expected)] = [
        ("Content-Length: 0", length(0)),
        ("Content-Length: 5", length(5)),
        ("content-length:5 ", length(5)),
        ("Content-Length: 9223372036854775807", length(Int.max)),
        ("Transfer-Encoding: chunked", .framing(.chunked)),
        ("transfer-encoding:\tCHUNKED ", .framing(.chunked)),
        ("Content-Length: 5\r\nTransfer-Encoding: chunked", doubt(.both)),
        ("Transfer-Encoding: chunked\r\nContent-Length: 5", doubt(.both)),
        ("Transfer-Encoding: identity\r\nContent-Length: 5", doubt(.both)),
        ("Transfer-Encoding:\r\nContent-Length: 5", doubt(.both)),
        ("Content-Length: 5\r\nContent-Length: 5", doubt(.repeatedLength)),
        ("Content-Length: 5\r\nContent-Length: 6", doubt(.repeatedLength)),
        ("Content-Length: 5\r\nX: y\r\ncontent-length: 5", doubt(.repeatedLength)),
        ("Content-Length:", doubt(.malformedLength)),
        ("Content-Length: 5, 5", doubt(.malformedLength)),
        ("Content-Length: 5,6", doubt(.malformedLength)),
        ("Content-Length: +5", doubt(.malformedLength)),
        ("Content-Length: -5", doubt(.malformedLength)),
        ("Content-Length: 5 6", doubt(.malformedLength)),
        ("Content-Length: 0x5", doubt(.malformedLength)),
        ("Content-Length: 5.0", doubt(.malformedLength)),
        ("Content-Length: 05", doubt(.malformedLength)),
        ("Content-Length: \"5\"", doubt(.malformedLength)),
        ("Content-Length: five", doubt(.malformedLength)),
        ("Content-Length: 9223372036854775808", doubt(.malformedLength)),
        ("Content-Length: 18446744073709551621", doubt(.malformedLength)),
        ("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", doubt(.repeatedCoding)),
        ("Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked", doubt(.repeatedCoding)),
        ("Transfer-Encoding: gzip, chunked", .error(.unsupportedTransferCoding)),
        ("Transfer-Encoding: chunked, identity", .error(.ambiguousFraming(.notChunked))),
        ("Transfer-Encoding: chunked, chunked", .error(.unsupportedTransferCoding)),
        ("Transfer-Encoding: chunked,", .error(.unsupportedTransferCoding)),
        ("Transfer-Encoding: chunked;q=1", .error(.ambiguousFraming(.notChunked))),
        ("Transfer-Encoding: \"chunked\"", .error(.ambiguousFraming(.notChunked))),
        ("Transfer-Encoding: xchunked", .error(.ambiguousFraming(.notChunked))),
        ("Transfer-Encoding: identity", .error(.ambiguousFraming(.notChunked))),
        ("Transfer-Encoding:", .error(.ambiguousFraming(.notChunked))),
    ]

    private func outcome(_ framing: () throws -> BodyFraming) -> Expected? {
        do {
            return .framing(try framing())
        } catch {
            return (error as? HeadError).map { .error($0) }
        }
    }

    private func request(_ version: String, _ fields: String) throws -> RequestHead {
        let bytes = [UInt8]("POST / \(version)\r\nHost: a\r\n\(fields)\r\n\r\n")
        return try RequestHead.parse(bytes, bytes.indices)
    }

    private func response(_ version: String, _ status: Int, _ fields: String) throws
        -> ResponseHead
    {
        let bytes = [UInt8](
            "\(version) \(status) x\r\n\(fields.isEmpty ? "" : fields + "\r\n")\r\n")
        return try ResponseHead.parse(bytes, bytes.indices)
    }

    @Test(arguments: declarations)
    func `the end of a request body is certain or the request refused`(
        fields: String, expected: Expected
    ) throws {
        let head = try request("HTTP/1.1", fields)
        #expect(outcome { try head.framing() } == expected)
    }

    @Test(arguments: declarations)
    func `the end of a response body is certain or the response refused`(
        fields: String, expected: Expected
    ) throws {
        let head = try response("HTTP/1.1", 200, fields)
        #expect(outcome { try head.framing(requestMethodIsHead: false) } == expected)
    }

    @Test func `without either field a request has no body and a response goes on to the close`()
        throws
    {
        #expect(try request("HTTP/1.1", "A: b").framing() == .none)
        #expect(
            try response("HTTP/1.1", 200, "").framing(requestMethodIsHead: false) == .untilClose)
    }

    @Test func `a transfer coding in HTTP 1.0 is refused`() throws {
        let fields = "Transfer-Encoding: chunked"
        #expect(throws: HeadError.ambiguousFraming(.codingInVersion10)) {
            try request("HTTP/1.0", fields).framing()
        }
        #expect(throws: HeadError.ambiguousFraming(.codingInVersion10)) {
            try response("HTTP/1.0", 200, fields).framing(requestMethodIsHead: false)
        }
        #expect(try request("HTTP/1.0", "Content-Length: 5").framing() == .length(5))
    }

    @Test(arguments: [
        (200, true, "Content-Length: 5", none),
        (200, true, "Transfer-Encoding: chunked", none),
        (200, true, "", none),
        (304, false, "Content-Length: 5", none),
        (304, false, "Transfer-Encoding: chunked", none),
        (304, false, "", none),
        (204, false, "", none),
        (204, false, "Content-Length: 0", none),
        (204, false, "Content-Length: 5", doubt(.bodyForbidden)),
        (204, false, "Transfer-Encoding: chunked", doubt(.bodyForbidden)),
        (204, true, "Content-Length: 5", doubt(.bodyForbidden)),
        (100, false, "", none),
        (101, false, "Content-Length: 0", none),
        (103, false, "Content-Length: 5", doubt(.bodyForbidden)),
        (101, false, "Transfer-Encoding: chunked", doubt(.bodyForbidden)),
        (200, true, "Content-Length: 5\r\nTransfer-Encoding: chunked", doubt(.both)),
        (304, false, "Content-Length: x", doubt(.malformedLength)),
        (205, false, "Content-Length: 0", length(0)),
        (404, false, "Content-Length: 5", length(5)),
    ])
    func `some responses have no body by their kind`(
        status: Int, isHead: Bool, fields: String, expected: Expected
    ) throws {
        let head = try response("HTTP/1.1", status, fields)
        #expect(outcome { try head.framing(requestMethodIsHead: isHead) } == expected)
    }

    @Test func `an accepted CONNECT has no body, a refused one has`() throws {
        let accepted = try response("HTTP/1.1", 200, "Content-Length: 5")
        #expect(
            try accepted.framing(requestMethodIsHead: false, requestMethodIsConnect: true) == .none)
        let refused = try response("HTTP/1.1", 407, "Content-Length: 5")
        #expect(
            try refused.framing(requestMethodIsHead: false, requestMethodIsConnect: true)
                == .length(5))
    }
}
