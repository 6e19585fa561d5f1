// The field names that this project looks at, and sets of them.
//
// Called by: Fields (finds the name of each line once, while parsing), everybody who asks for a field.
// Hard: finding a name must cost a few nanoseconds: three words of eight bytes with their letter case
// folded, one look into a hash table.

/// A field name known here; all others are `other`.
package enum FieldName: UInt8, Sendable, CaseIterable {
    case other
    case accept, acceptEncoding, authorization, connection, contentLength, contentLocation
    case contentType, cookie, date
    case expect, forwarded, host, keepAlive, location, magicmirrorKey, proxyAuthenticate
    case proxyAuthorization, proxyConnection, proxyStatus, refresh, retryAfter, secWebSocketAccept
    case secWebSocketExtensions, secWebSocketKey, secWebSocketProtocol, secWebSocketVersion
    case server, setCookie, te, trailer, transferEncoding, upgrade, userAgent, via
    case xForwardedFor, xForwardedHost, xForwardedPort, xForwardedPrefix, xForwardedProto
    case xForwardedScheme, xForwardedServer, xForwardedSsl, xRealIp, xRequestId

    /// The name as it is written on the wire; empty for `other`.
    package var text: StaticString {
        switch self {
        case .other: ""
        case .accept: "Accept"
        case .acceptEncoding: "Accept-Encoding"
        case .authorization: "Authorization"
        case .connection: "Connection"
        case .contentLength: "Content-Length"
        case .contentLocation: "Content-Location"
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
        case .refresh: "Refresh"
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
        case .xForwardedPort: "X-Forwarded-Port"
        case .xForwardedPrefix: "X-Forwarded-Prefix"
        case .xForwardedProto: "X-Forwarded-Proto"
        case .xForwardedScheme: "X-Forwarded-Scheme"
        case .xForwardedServer: "X-Forwarded-Server"
        case .xForwardedSsl: "X-Forwarded-Ssl"
        case .xRealIp: "X-Real-Ip"
        case .xRequestId: "X-Request-Id"
        }
    }
}

/// The letters of a name folded to lower case, in three words, filled up with spaces.
///
/// Setting the bit 0x20 makes no byte a letter or a hyphen that was not one, but for control bytes.
/// The known names consist of letters and hyphens: so equal words mean equal names.
private struct FoldedName {
    static let maximumLength = 24

    let words: (UInt64, UInt64, UInt64)

    @inline(__always)
    init(_ bytes: Span<UInt8>, from start: Int, to end: Int) {
        let fold = UInt64.ones &* 0x20
        words.0 = bytes.word(at: start, end: end) | fold
        words.1 = end &- start > 8 ? bytes.word(at: start &+ 8, end: end) | fold : fold
        words.2 = end &- start > 16 ? bytes.word(at: start &+ 16, end: end) | fold : fold
    }
}

/// The known names in a hash table without collisions, found by trying multipliers.
struct FieldNameTable {
    private struct Slot {
        var name = (UInt64(0), UInt64(0), UInt64(0))
        var id = FieldName.other
    }

    /// Each access costs a few nanoseconds: fetch it once per head.
    static let known = FieldNameTable()

    private static let slotBits: UInt64 = 8
    private var multiplier: UInt64 = 1
    private var slots: [Slot] = []

    private init() {
        let names = FieldName.allCases.filter { $0 != .other }.map { id in
            let text = Array(id.text.description.utf8)
            return Slot(name: FoldedName(text.span, from: 0, to: text.count).words, id: id)
        }
        repeat {
            // The multiplier of Knuth's MMIX generator; some fifty steps are needed.
            multiplier = multiplier &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            slots = Array(repeating: Slot(), count: 1 << Int(Self.slotBits))
            for name in names where slots[index(of: name.name)].id == .other {
                slots[index(of: name.name)] = name
            }
        } while slots.filter { $0.id != .other }.count < names.count
    }

    @inline(__always)
    private func index(of words: (UInt64, UInt64, UInt64)) -> Int {
        let sum = words.0 &+ (words.1 &<< 7 | words.1 &>> 57) &+ (words.2 &<< 14 | words.2 &>> 50)
        return Int(truncatingIfNeeded: (sum &* multiplier) &>> (64 &- Self.slotBits))
    }

    /// The name in `bytes` from `start` to `end`, without control bytes; `other` if unknown.
    @inline(__always)
    func find(in bytes: Span<UInt8>, from start: Int, to end: Int) -> FieldName {
        guard end &- start <= FoldedName.maximumLength else { return .other }
        let name = FoldedName(bytes, from: start, to: end)
        let slot = slots[index(of: name.words)]
        return slot.name == name.words ? slot.id : .other
    }
}

/// A set of field names, one bit each.
package struct FieldSet: ExpressibleByArrayLiteral, Equatable, Sendable {
    private var bits: UInt64 = 0

    @inline(__always)
    package init() {}

    package init(arrayLiteral names: FieldName...) {
        for name in names { insert(name) }
    }

    @inline(__always)
    package func contains(_ name: FieldName) -> Bool { bits &>> UInt64(name.rawValue) & 1 == 1 }

    @inline(__always)
    package mutating func insert(_ name: FieldName) { bits |= 1 &<< UInt64(name.rawValue) }

    package func isDisjoint(with other: FieldSet) -> Bool { bits & other.bits == 0 }

    package func union(_ other: FieldSet) -> FieldSet {
        var union = self
        union.bits |= other.bits
        return union
    }
}
