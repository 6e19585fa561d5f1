// The field names that this project looks at, and sets of them.
//
// Called by: Fields (finds the name of each line once, while parsing), everybody who asks for a field.
// Hard: finding a name must cost a few nanoseconds. The candidates of equal length are compared as
// three words of eight bytes, letter case folded.

/// A field name known here; all others are `other`.
package enum FieldName: UInt8, Sendable, CaseIterable {
    case other
    case accept, acceptEncoding, authorization, connection, contentLength, contentType, cookie, date
    case expect, forwarded, host, keepAlive, location, magicmirrorKey, proxyAuthenticate
    case proxyAuthorization, proxyConnection, proxyStatus, retryAfter, secWebSocketAccept
    case secWebSocketExtensions, secWebSocketKey, secWebSocketProtocol, secWebSocketVersion
    case server, setCookie, te, trailer, transferEncoding, upgrade, userAgent, via
    case xForwardedFor, xForwardedHost, xForwardedPrefix, xForwardedProto, xRequestId

    /// The name as it is written on the wire; empty for `other`.
    package var text: StaticString {
        switch self {
        case .other: ""
        case .accept: "Accept"
        case .acceptEncoding: "Accept-Encoding"
        case .authorization: "Authorization"
        case .connection: "Connection"
        case .contentLength: "Content-Length"
        case .contentType: "Content-Type"
        case .cookie: "Cookie"
        case .date: "Date"
        case .expect: "Expect"
        case .forwarded: "Forwarded"
        case .host: "Host"
        case .keepAlive: "Keep-Alive"
        case .location: "Location"
        case .magicmirrorKey: "X-Magicmirror-Key"
        case .proxyAuthenticate: "Proxy-Authenticate"
        case .proxyAuthorization: "Proxy-Authorization"
        case .proxyConnection: "Proxy-Connection"
        case .proxyStatus: "Proxy-Status"
        case .retryAfter: "Retry-After"
        case .secWebSocketAccept: "Sec-WebSocket-Accept"
        case .secWebSocketExtensions: "Sec-WebSocket-Extensions"
        case .secWebSocketKey: "Sec-WebSocket-Key"
        case .secWebSocketProtocol: "Sec-WebSocket-Protocol"
        case .secWebSocketVersion: "Sec-WebSocket-Version"
        case .server: "Server"
        case .setCookie: "Set-Cookie"
        case .te: "TE"
        case .trailer: "Trailer"
        case .transferEncoding: "Transfer-Encoding"
        case .upgrade: "Upgrade"
        case .userAgent: "User-Agent"
        case .via: "Via"
        case .xForwardedFor: "X-Forwarded-For"
        case .xForwardedHost: "X-Forwarded-Host"
        case .xForwardedPrefix: "X-Forwarded-Prefix"
        case .xForwardedProto: "X-Forwarded-Proto"
        case .xRequestId: "X-Request-Id"
        }
    }

    /// The name in `range` of `bytes`, which are token characters.
    static func find(in bytes: Span<UInt8>, _ range: Range<Int>) -> FieldName {
        guard range.count <= FoldedName.maximumLength else { return .other }
        let name = FoldedName(bytes, range)
        let table = FoldedName.known
        var index = table.first[range.count]
        let end = table.first[range.count + 1]
        while index < end {
            if table.names[index] == name { return table.ids[index] }
            index += 1
        }
        return .other
    }
}

/// The letters of a name folded to lower case, in three words.
///
/// Setting the bit 0x20 maps no other token character to a letter, a digit or the hyphen, and the
/// known names consist of letters and hyphens: so equal words mean equal names.
private struct FoldedName: Equatable {
    static let maximumLength = 24

    let words: (UInt64, UInt64, UInt64)

    @inline(__always)
    init(_ bytes: Span<UInt8>, _ range: Range<Int>) {
        let start = range.lowerBound
        let end = range.upperBound
        let fold = UInt64.ones &* 0x20
        words.0 = bytes.word(at: start, end: end) | fold
        words.1 = range.count > 8 ? bytes.word(at: start &+ 8, end: end) | fold : 0
        words.2 = range.count > 16 ? bytes.word(at: start &+ 16, end: end) | fold : 0
    }

    @inline(__always)
    static func == (left: FoldedName, right: FoldedName) -> Bool {
        left.words == right.words
    }

    /// The known names sorted by length; `first[n]` is the index of the first one of length n.
    struct Table {
        var names: [FoldedName] = []
        var ids: [FieldName] = []
        var first: [Int] = []
    }

    static let known: Table = {
        var table = Table()
        for length in 0...maximumLength {
            table.first.append(table.names.count)
            for id in FieldName.allCases where id != .other {
                let text = Array(id.text.description.utf8)
                guard text.count == length else { continue }
                table.names.append(FoldedName(text.span, 0..<length))
                table.ids.append(id)
            }
        }
        table.first.append(table.names.count)
        return table
    }()
}

/// A set of field names, one bit each.
package struct FieldSet: ExpressibleByArrayLiteral, Equatable, Sendable {
    private var bits: UInt64 = 0

    package init(arrayLiteral names: FieldName...) {
        for name in names { insert(name) }
    }

    @inline(__always)
    package func contains(_ name: FieldName) -> Bool { bits >> UInt64(name.rawValue) & 1 == 1 }

    @inline(__always)
    package mutating func insert(_ name: FieldName) { bits |= 1 << UInt64(name.rawValue) }

    package func union(_ other: FieldSet) -> FieldSet {
        var union = self
        union.bits |= other.bits
        return union
    }
}
