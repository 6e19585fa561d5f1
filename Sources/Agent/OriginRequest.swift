// The head of a request as the origin gets it.
//
// Called by: OriginExchange, for each request.
// Waits for: nothing.

import Connections
import Wire

/// A request that came through a session, ready to be sent to its origin. It never changes.
final class OriginRequest: Sendable {
    let head: RequestHead
    /// The head to send.
    let bytes: [UInt8]
    /// The body is sent in chunks: its length is not known.
    let isChunked: Bool
    /// It may be sent again on another connection where the first was closed before it answered
    /// (RFC 9110 §9.2.2): the method is idempotent and there is no body.
    let isRepeatable: Bool
    let methodIsHead: Bool
    /// What the client asks to switch to, nil where nothing. Until the origin's 101 nothing follows
    /// such a head.
    let upgrade: UpgradeOffer?
    /// What Content-Length announces; 0 without a body, nil where it is sent in chunks.
    let length: Int?

    /// - Parameter ends: the request has no body.
    /// - Throws: also where the body cannot be as long as its head says: the origin would read what
    ///   follows as another request.
    init(_ head: RequestHead, ends: Bool, mirror: Mirror) throws(HeadError) {
        self.head = head
        let framing = try head.framing()
        // Raw bytes could not follow a request that ends.
        upgrade =
            ends ? nil : UpgradeOffer(head, hasBody: framing != .none && framing != .length(0))
        switch framing {
        case .length(let length):
            if ends, length > 0 { throw .ambiguousFraming(.malformedLength) }
            self.length = length
        case .none: length = ends || upgrade != nil ? 0 : nil
        case .chunked, .untilClose: throw .unsupportedTransferCoding
        }
        isChunked = length == nil
        methodIsHead = head.methodIs("HEAD")
        isRepeatable = (ends || upgrade != nil) && head.methodIsIdempotent
        var bytes: [UInt8] = []
        bytes.reserveCapacity(head.bytes.count + 128)
        let target =
            mirror.paths.prefix.isEmpty || head.form == .asterisk
            ? head.bytes[head.target] : (mirror.paths.prefix + head.bytes[head.target])[...]
        HeadWriter.requestLine(method: head.bytes[head.method], target: target, to: &bytes)
        // Trailers travel in chunks only (RFC 9110 §6.5).
        var dropped = FieldSet()
        if !isChunked { dropped.insert(.trailer) }
        if let host = mirror.paths.host {
            dropped.insert(.host)
            HeadWriter.field("Host", host, to: &bytes)
        }
        head.fields.appendEndToEnd(to: &bytes, dropping: dropped)
        // The relay says so where its client takes trailers.
        if upgrade == nil, head.fields.contains(.te, token: "trailers") {
            HeadWriter.text("TE: trailers\r\nConnection: TE\r\n", to: &bytes)
        }
        upgrade?.append(to: &bytes)
        if isChunked { HeadWriter.field("Transfer-Encoding", text: "chunked", to: &bytes) }
        HeadWriter.end(to: &bytes)
        self.bytes = bytes
    }
}

/// What the agent's workers need of a mirror. Thread-safe: all of it is set once.
final class Mirror: Sendable {
    let name: MirrorName
    let origin: Origin
    let paths: OriginPaths
    let policy: Policy
    /// Log lines have the query with the path.
    let logsQueries: Bool

    init(
        name: MirrorName, origin: Origin, paths: OriginPaths, policy: Policy, logsQueries: Bool
    ) {
        self.name = name
        self.origin = origin
        self.paths = paths
        self.policy = policy
        self.logsQueries = logsQueries
    }
}
