// Which fields pass from one connection to the next (RFC 9110 §7.6.1).
//
// Called by: relay and agent, once per head that they pass on.
// Hard: one pass, and runs of lines that are already in canonical form are copied as one piece.

extension FieldSet {
    /// The fields that belong to one connection, whatever Connection lists.
    package static let hopByHop: FieldSet = [
        .connection, .keepAlive, .proxyAuthenticate, .proxyAuthorization, .proxyConnection, .te,
        .transferEncoding, .upgrade,
    ]

    /// The fields that may not stand in trailers since they frame, route, authenticate or describe
    /// the message (RFC 9110 §6.5.1).
    package static let forbiddenInTrailers: FieldSet = FieldSet.hopByHop.union([
        .authorization, .contentLength, .contentLocation, .contentType, .cookie, .date, .expect,
        .forwarded, .host, .location, .magicmirrorKey, .proxyStatus, .refresh, .retryAfter,
        .setCookie, .trailer, .via,
        .xForwardedFor, .xForwardedHost, .xForwardedPort, .xForwardedPrefix, .xForwardedProto,
        .xForwardedScheme, .xForwardedServer, .xForwardedSsl, .xRealIp, .xRequestId,
    ])
}

extension Fields {
    /// More options than any real message has; the product of options and fields bounds the work.
    private static let maximumConnectionOptions = 32

    /// Appends every line but the hop-by-hop ones, those that Connection lists and `dropping`.
    ///
    /// Connection can only take away fields unknown to `FieldName`: otherwise a client could strip
    /// what a server on the way added or needs, `Content-Length` for one, by listing it.
    package func appendEndToEnd(to out: inout [UInt8], dropping: FieldSet = []) {
        let dropped = FieldSet.hopByHop.union(dropping)
        let listed = listedOptionLengths()
        let span = bytes.span
        var run = 0..<0
        for line in lines {
            if dropped.contains(line.id) { continue }
            if listed != 0, line.id == .other, isListed(line.name, lengths: listed) { continue }
            let name = line.name
            let value = line.value
            // "Name: value", so that the next line begins two bytes behind the value.
            let next = value.upperBound &+ 2
            let isCanonical =
                value.lowerBound == name.upperBound &+ 2 && span[name.upperBound &+ 1] == 0x20
                && span[value.upperBound] == 0x0D
            if isCanonical, run.upperBound == name.lowerBound {
                run = run.lowerBound..<next
                continue
            }
            out.append(contentsOf: bytes[run])
            if isCanonical {
                run = name.lowerBound..<next
            } else {
                run = 0..<0
                HeadWriter.copy(line, from: self, to: &out)
            }
        }
        out.append(contentsOf: bytes[run])
    }

    /// Throws where Connection lists more options than any real message does.
    func checkConnectionOptions() throws(HeadError) {
        guard present.contains(.connection) else { return }
        var count = 0
        let span = bytes.span
        for line in lines where line.id == .connection {
            var list = ListElements(of: line.value)
            while list.next(in: span) != nil { count += 1 }
        }
        guard count <= Self.maximumConnectionOptions else { throw .malformed(.connection) }
    }

    /// One bit for each length of an option that Connection lists, but `close` and `keep-alive`.
    private func listedOptionLengths() -> UInt64 {
        guard present.contains(.connection) else { return 0 }
        var lengths: UInt64 = 0
        let span = bytes.span
        for line in lines where line.id == .connection {
            var list = ListElements(of: line.value)
            while let option = list.next(in: span) {
                if span.equalsIgnoringCase(option, "close".utf8.span) { continue }
                if span.equalsIgnoringCase(option, "keep-alive".utf8.span) { continue }
                lengths |= 1 << UInt64(min(option.count, 63))
            }
        }
        return lengths
    }

    private func isListed(_ name: Range<Int>, lengths: UInt64) -> Bool {
        guard lengths >> UInt64(min(name.count, 63)) & 1 == 1 else { return false }
        let span = bytes.span
        let text = span.extracting(name)
        for line in lines where line.id == .connection {
            var list = ListElements(of: line.value)
            while let option = list.next(in: span) {
                if span.equalsIgnoringCase(option, text) { return true }
            }
        }
        return false
    }
}
