// Where the body of a message ends (RFC 9112 §6.3), and whether its connection does.
//
// Called by: whoever has parsed a head and is about to read the body.
// Hard: RFC 9112 §6.3 lets a server process some doubtful messages and close. We refuse them all:
// the next server on the way may believe the other field.

/// How the end of a body is found.
package enum BodyFraming: Sendable, Equatable {
    /// No body, and no field that speaks of one; or a response that has none by its kind.
    case none
    /// `Content-Length`, also where it is 0.
    case length(Int)
    case chunked
    /// Responses only: up to the end of the connection, so that a cut cannot be told from the end.
    case untilClose
}

extension RequestHead {
    package func framing() throws(HeadError) -> BodyFraming {
        try fields.declaredFraming(minorVersion: minorVersion) ?? .none
    }
}

extension ResponseHead {
    /// - Parameters:
    ///   - requestMethodIsHead: the response to HEAD has no body whatever its fields say.
    ///   - requestMethodIsConnect: a 2xx response to CONNECT turns the connection into a tunnel.
    package func framing(
        requestMethodIsHead: Bool, requestMethodIsConnect: Bool = false
    ) throws(HeadError) -> BodyFraming {
        if requestMethodIsConnect, 200...299 ~= status { return .none }
        let declared = try fields.declaredFraming(minorVersion: minorVersion)
        if status < 200 || status == 204 {
            // RFC 9110 §8.6, RFC 9112 §6.1: neither field may stand here. A length of 0 does no
            // harm and is met in the field; anything else means a body the next reader would
            // take for a response.
            guard declared == nil || declared == .length(0) else {
                throw .ambiguousFraming(.bodyForbidden)
            }
            return .none
        }
        if requestMethodIsHead || status == 304 { return .none }
        return declared ?? .untilClose
    }
}

extension Fields {
    /// What Content-Length and Transfer-Encoding say together, or nil where neither is there.
    func declaredFraming(minorVersion: Int) throws(HeadError) -> BodyFraming? {
        let hasLength = present.contains(.contentLength)
        if present.contains(.transferEncoding) {
            guard !hasLength else { throw .ambiguousFraming(.both) }
            guard minorVersion > 0 else { throw .ambiguousFraming(.codingInVersion10) }
            guard count(.transferEncoding) == 1 else { throw .ambiguousFraming(.repeatedCoding) }
            let coding = range(.transferEncoding)
            guard bytes.span.equalsIgnoringCase(coding, "chunked".utf8.span) else {
                // RFC 9112 §6.3: without chunked at its end nobody knows where the body ends.
                var codings = ListElements(of: coding)
                var last = 0..<0
                while let next = codings.next(in: bytes.span) { last = next }
                guard bytes.span.equalsIgnoringCase(last, "chunked".utf8.span) else {
                    throw .ambiguousFraming(.notChunked)
                }
                throw .unsupportedTransferCoding
            }
            return .chunked
        }
        guard hasLength else { return nil }
        // RFC 9110 §8.6 lets a recipient accept identical repeats. Whoever sends them has lost
        // track of its fields.
        guard count(.contentLength) == 1 else { throw .ambiguousFraming(.repeatedLength) }
        guard let length = bytes.span.decimal(range(.contentLength)) else {
            throw .ambiguousFraming(.malformedLength)
        }
        return .length(length)
    }

    func wantsClose(minorVersion: Int) -> Bool {
        if contains(.connection, token: "close") { return true }
        return minorVersion == 0 && !contains(.connection, token: "keep-alive")
    }

    private func range(_ id: FieldName) -> Range<Int> {
        lines.first { $0.id == id }?.value ?? 0..<0
    }
}
