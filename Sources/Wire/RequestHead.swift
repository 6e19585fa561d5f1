// The head of a request, read strictly: what two servers could read in two ways is refused.
//
// Called by: the relay for its clients (RFC 9112 §3), the agent for what comes through a session.
// Hard: the rules that prevent request smuggling (RFC 9112 §11.2). They are stricter than the RFC
// asks of a server, since what passes here is passed on.

package struct RequestHead: Sendable {
    package let fields: Fields
    /// Offsets into `fields.bytes`, as all ranges here.
    package let method: Range<Int>
    package let target: Range<Int>
    package let form: TargetForm
    /// 0 or 1; a higher minor version is read as 1 (RFC 9110 §2.5).
    package let minorVersion: Int

    package var bytes: [UInt8] { fields.bytes }

    /// Whether the method is exactly `name`; methods are case-sensitive (RFC 9110 §9.1).
    package func methodIs(_ name: String) -> Bool {
        let text = name.utf8.span
        let span = fields.bytes.span
        guard method.count == text.count else { return false }
        for offset in text.indices where span[method.lowerBound &+ offset] != text[offset] {
            return false
        }
        return true
    }

    /// Whether doing it twice is doing it once (RFC 9110 §9.2.2).
    package var methodIsIdempotent: Bool {
        methodIs("GET") || methodIs("HEAD") || methodIs("PUT") || methodIs("DELETE")
            || methodIs("OPTIONS") || methodIs("TRACE")
    }

    /// The host that is asked: of an absolute target or of CONNECT, else of the Host field.
    package var authority: ArraySlice<UInt8>? {
        switch form {
        case .absolute(_, let authority, _, _), .authority(let authority): bytes[authority]
        case .origin, .asterisk: fields.value(.host)
        }
    }

    /// The path of the target, empty for an absolute target without one and where there is none.
    package var path: ArraySlice<UInt8> {
        switch form {
        case .origin(let path, _), .absolute(_, _, let path, _): bytes[path]
        case .authority, .asterisk: []
        }
    }

    /// The query behind the question mark, nil where there is no question mark.
    package var query: ArraySlice<UInt8>? {
        switch form {
        case .origin(_, let query), .absolute(_, _, _, let query): query.map { bytes[$0] }
        case .authority, .asterisk: nil
        }
    }

    /// The path; where wanted, with the query and its question mark.
    package func path(withQuery: Bool) -> ArraySlice<UInt8> {
        guard withQuery, let query else { return path }
        return bytes[path.startIndex..<query.endIndex]
    }

    /// Whether the connection ends with this exchange (RFC 9112 §9.3).
    package var wantsClose: Bool { fields.wantsClose(minorVersion: minorVersion) }

    /// Reads a whole head: `range` ends with its empty line. The bytes are copied once.
    ///
    /// Empty lines before the request line are skipped (RFC 9112 §2.2).
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>, limits: HeadLimits = HeadLimits()
    ) throws(HeadError) -> RequestHead {
        let head = buffer.span.skippingEmptyLines(range)
        guard head.count <= limits.maximumHeadBytes else { throw .headTooLarge }
        let bytes = Array(buffer[head])
        let line = try RequestLine(bytes.span, limits)
        let fields = try Fields(bytes, linesFrom: line.end, limits: limits)
        let request = RequestHead(
            fields: fields, method: line.method, target: line.target, form: line.form,
            minorVersion: line.minorVersion)
        try request.checkHost()
        try fields.checkConnectionOptions()
        return request
    }

    /// RFC 9112 §3.2: one Host field, and the same host as in the target where that names one.
    private func checkHost() throws(HeadError) {
        var host: Range<Int>?
        if fields.present.contains(.host) {
            for line in fields.lines where line.id == .host {
                guard host == nil else { throw .malformed(.repeatedHost) }
                host = line.value
            }
        }
        guard let host else {
            guard minorVersion == 0 else { throw .malformed(.missingHost) }
            return
        }
        let bytes = fields.bytes.span
        guard host.isEmpty || bytes.isAuthority(host) else { throw .malformed(.host) }
        switch form {
        case .absolute(_, let authority, _, _), .authority(let authority):
            guard bytes.equalsIgnoringCase(authority, bytes.extracting(host)) else {
                throw .malformed(.differentHost)
            }
        case .origin, .asterisk: break
        }
    }
}

/// Whether `bytes` are `host[:port]`, as strictly as a Host field is read.
package func isAuthority(_ bytes: ArraySlice<UInt8>) -> Bool {
    let bytes = Array(bytes)
    return bytes.span.isAuthority(0..<bytes.count)
}

/// The four forms of a request target (RFC 9112 §3.2); ranges are offsets into the head's bytes.
package enum TargetForm: Sendable, Equatable {
    /// `/path?query`
    case origin(path: Range<Int>, query: Range<Int>?)
    /// `http://authority/path?query`, `https:` alike
    case absolute(isSecure: Bool, authority: Range<Int>, path: Range<Int>, query: Range<Int>?)
    /// `host:port`, with CONNECT only
    case authority(Range<Int>)
    /// `*`, with OPTIONS only
    case asterisk
}

/// The first line of a request: `method SP target SP HTTP/1.x CRLF`, one space each.
private struct RequestLine {
    let method: Range<Int>
    let target: Range<Int>
    let form: TargetForm
    let minorVersion: Int
    /// The index behind the line.
    let end: Int

    init(_ bytes: Span<UInt8>, _ limits: HeadLimits) throws(HeadError) {
        var at = 0
        while at < bytes.count, bytes[at].isTokenCharacter { at &+= 1 }
        guard at < bytes.count, bytes[at] == 0x20, at > 0 else {
            throw .malformed(at == 0 ? .notARequest : .method)
        }
        method = 0..<at

        let start = at &+ 1
        at = bytes.indexOfTargetEnd(from: start, to: bytes.count)
        target = start..<at
        guard at < bytes.count, bytes[at] == 0x20, !target.isEmpty else {
            throw .malformed(target.isEmpty ? .requestLine : .target)
        }
        guard target.count <= limits.maximumTargetBytes else { throw .targetTooLong }
        minorVersion = try bytes.minorVersion(at: at &+ 1, failing: .requestLine)
        try bytes.requireLineEnd(at: at &+ 9)
        end = at &+ 11
        form = try Self.form(of: target, method: method, in: bytes)
    }

    private static func form(
        of target: Range<Int>, method: Range<Int>, in bytes: Span<UInt8>
    ) throws(HeadError) -> TargetForm {
        if method.count == 7, bytes.equals(method, "CONNECT") {
            guard bytes.isAuthority(target) else { throw .malformed(.targetForm) }
            return .authority(target)
        }
        let pathEnd = bytes.indexOfQuestionMark(from: target.lowerBound, to: target.upperBound)
        let query = pathEnd < target.upperBound ? pathEnd &+ 1..<target.upperBound : nil
        if bytes[target.lowerBound] == 0x2F {
            return .origin(path: target.lowerBound..<pathEnd, query: query)
        }
        if target.count == 1, bytes[target.lowerBound] == 0x2A {
            guard bytes.equals(method, "OPTIONS") else { throw .malformed(.targetForm) }
            return .asterisk
        }
        let isSecure = bytes.hasPrefixIgnoringCase(target, "https://")
        guard isSecure || bytes.hasPrefixIgnoringCase(target, "http://") else {
            throw .malformed(.target)
        }
        let start = target.lowerBound + (isSecure ? 8 : 7)
        guard start <= pathEnd else { throw .malformed(.target) }
        var slash = start
        while slash < pathEnd, bytes[slash] != 0x2F { slash += 1 }
        guard bytes.isAuthority(start..<slash) else { throw .malformed(.target) }
        return .absolute(
            isSecure: isSecure, authority: start..<slash, path: slash..<pathEnd, query: query)
    }
}

extension Span<UInt8> {
    /// The minor version of `HTTP/1.x` at `index`.
    @inline(__always)
    func minorVersion(
        at index: Int, failing malformation: Malformation
    ) throws(HeadError) -> Int {
        // "HTTP/1.", the first byte lowest, and one digit.
        guard index &+ 8 <= count else { throw .malformed(malformation) }
        let word = word(at: index)
        guard word & 0x00FF_FFFF_FFFF_FFFF == 0x002E_312F_5054_5448, self[index &+ 7].isDigit else {
            throw versionError(at: index, failing: malformation)
        }
        return self[index &+ 7] == 0x30 ? 0 : 1
    }

    private func versionError(at index: Int, failing malformation: Malformation) -> HeadError {
        let major = self[index + 5]
        let isOther = equals(index..<(index + 5), "HTTP/") && major.isDigit && major != 0x31
        return isOther ? .unsupportedVersion : .malformed(malformation)
    }

    /// The index of the first byte that may not stand in a target, or `end`.
    ///
    /// 0x21...0x7E but '#': RFC 3986 allows fewer, yet clients send `{` and `"` in queries.
    @inline(__always)
    fileprivate func indexOfTargetEnd(from index: Int, to end: Int) -> Int {
        firstIndex(from: index, to: end) {
            $0.below(0x21) | $0.equal(0x23) | $0.equal(0x7F) | $0 & .tops
        }
    }

    @inline(__always)
    fileprivate func indexOfQuestionMark(from index: Int, to end: Int) -> Int {
        firstIndex(from: index, to: end) { $0.equal(0x3F) }
    }

    func skippingEmptyLines(_ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        while start + 1 < range.upperBound, self[start] == 0x0D, self[start + 1] == 0x0A {
            start += 2
        }
        return start..<range.upperBound
    }

    @inline(__always)
    func equals(_ range: Range<Int>, _ text: String) -> Bool {
        let text = text.utf8.span
        guard range.count == text.count else { return false }
        for offset in text.indices where self[range.lowerBound &+ offset] != text[offset] {
            return false
        }
        return true
    }

    func hasPrefixIgnoringCase(_ range: Range<Int>, _ text: String) -> Bool {
        let text = text.utf8.span
        guard range.count >= text.count else { return false }
        return equalsIgnoringCase(range.lowerBound..<(range.lowerBound + text.count), text)
    }

    /// Whether `range` is `host[:port]`, the host a name, an IPv4 or a bracketed IPv6 address.
    ///
    /// Narrower than RFC 3986: no user information, no `%`, none of `!$&'()*+,;=`; and no longer
    /// than a name can be (RFC 3986 §3.2.2), since it is repeated in several fields.
    func isAuthority(_ range: Range<Int>) -> Bool {
        guard range.count <= 255 + 6 else { return false }
        var at = range.lowerBound
        let end = range.upperBound
        if at < end, self[at] == 0x5B {
            at &+= 1
            let start = at
            while at < end, self[at].hexadecimalValue != nil || self[at] == 0x3A || self[at] == 0x2E
            {
                at &+= 1
            }
            guard at < end, at > start, self[at] == 0x5D else { return false }
            at &+= 1
        } else {
            while at < end, self[at].isHostCharacter { at &+= 1 }
            guard at > range.lowerBound else { return false }
        }
        guard at < end else { return true }
        guard self[at] == 0x3A, end &- at <= 6 else { return false }
        at &+= 1
        while at < end, self[at].isDigit { at &+= 1 }
        return at == end
    }
}
