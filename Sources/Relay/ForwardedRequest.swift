// The head of a request as the agent and its origin get it.
//
// Called by: ClientExchange, for each request.
// Waits for: nothing.
// Hard: fields that say who the client is are believed by origins. So all of them are written anew
// from what ClientOrigin believes, and what came under those names is dropped.

import Connections
import Program
import Streams
import Threads
import Wire

/// The fields about its client that a connection sent last. Most clients ask the same host again.
struct ClientFields {
    private var host: [UInt8]?
    private var prefix: [UInt8] = []
    fileprivate var lines: [UInt8] = []

    init() {}

    fileprivate init(_ host: ArraySlice<UInt8>?, _ prefix: ArraySlice<UInt8>) {
        self.host = host.map { Array($0) }
        self.prefix = Array(prefix)
    }

    fileprivate func isOf(_ host: ArraySlice<UInt8>?, _ prefix: ArraySlice<UInt8>) -> Bool {
        guard let host, let own = self.host else { return false }
        return own.span.isEqual(to: host.span) && self.prefix.span.isEqual(to: prefix.span)
    }
}

/// What a worker knows of a request for a mirror. It never changes, so many can hold it.
final class MirrorRequest: Sendable {
    let received: ClientRequest
    let mirror: Mirror
    /// What the origin sees.
    let target: ArraySlice<UInt8>
    /// What stood before it.
    let prefix: ArraySlice<UInt8>
    /// Nil: the mirror is public.
    let credential: Credential?
    /// The origin does not get Authorization: it shows a key of this relay.
    let hidesAuthorization: Bool
    /// It was sent to an agent whose session was lost, and is not sent to a third.
    let isRepeated: Bool
    /// What the client asks to switch to, nil where nothing.
    let upgrade: UpgradeOffer?

    init(
        _ received: ClientRequest, for mirror: Mirror, target: ArraySlice<UInt8>,
        prefix: ArraySlice<UInt8>, credential: Credential?, hidesAuthorization: Bool,
        isRepeated: Bool = false
    ) {
        self.received = received
        self.mirror = mirror
        self.target = target
        self.prefix = prefix
        self.credential = credential
        self.hidesAuthorization = hidesAuthorization
        self.isRepeated = isRepeated
        upgrade = UpgradeOffer(received.head, hasBody: received.hasBody)
    }

    /// The same, for a second agent.
    func repeated() -> MirrorRequest {
        MirrorRequest(
            received, for: mirror, target: target, prefix: prefix, credential: credential,
            hidesAuthorization: hidesAuthorization, isRepeated: true)
    }

    var head: RequestHead { received.head }

    var framing: BodyFraming { received.framing }

    var hasBody: Bool { received.hasBody }

    /// Who asks.
    var client: ClientOrigin { received.client }

    var id: [UInt8] { received.id }

    /// The host that the client asked, if it named one.
    var publicHost: ArraySlice<UInt8>? { client.host ?? head.authority }

    /// What stands before the origin's paths where the client sees them.
    var publicPrefix: [UInt8] { Array(client.prefix) + prefix }

    private static let replaced: FieldSet = [
        .forwarded, .xForwardedFor, .xForwardedHost, .xForwardedPrefix, .xForwardedProto,
        .xRequestId, .magicmirrorKey,
    ]
    /// What else origins take for the word of a proxy.
    private static let claims: FieldSet = [
        .via, .xForwardedPort, .xForwardedScheme, .xForwardedServer, .xForwardedSsl, .xRealIp,
    ]

    /// The head for the agent: one message.
    ///
    /// - Parameter connection: the client's.
    func forwarded(by connection: ClientConnection) -> Piece {
        let head = head
        var piece = Piece(capacity: head.bytes.count + target.count + 640)
        HeadWriter.requestLine(
            method: head.bytes[head.method], target: target, to: &piece.bytes)
        var dropped = MirrorRequest.replaced
        if !client.isTrusted { dropped = dropped.union(MirrorRequest.claims) }
        if hidesAuthorization { dropped.insert(.authorization) }
        // RFC 9110 §10.1.1: such a client does not wait, and knows no 100.
        if head.minorVersion == 0 { dropped.insert(.expect) }
        let fields = head.fields
        // HTTP/1.0 does without; the origin gets HTTP/1.1, which does not. The target may name one.
        if !fields.present.contains(.host) {
            HeadWriter.field(
                "Host",
                head.authority ?? Array(connection.stream.localAddress.description.utf8)[...],
                to: &piece.bytes)
        }
        fields.appendEndToEnd(to: &piece.bytes, dropping: dropped)
        // RFC 9110 §10.1.4: said by this hop for itself, and true if the client takes them.
        if head.minorVersion > 0, fields.contains(.te, token: "trailers") {
            HeadWriter.field("TE", text: "trailers", to: &piece.bytes)
        }
        if client.isTrusted {
            appendClient(to: &piece.bytes)
        } else {
            // The client is the peer: what is said of it is the same for each request.
            if !connection.clientFields.isOf(publicHost, prefix) {
                connection.clientFields = ClientFields(publicHost, prefix)
                appendClient(to: &connection.clientFields.lines)
            }
            piece.bytes.append(contentsOf: connection.clientFields.lines)
        }
        HeadWriter.field(
            "Via", text: head.minorVersion == 0 ? "1.0 magicmirrord" : "1.1 magicmirrord",
            to: &piece.bytes)
        HeadWriter.field("X-Request-Id", id, to: &piece.bytes)
        upgrade?.append(to: &piece.bytes)
        HeadWriter.end(to: &piece.bytes)
        return piece
    }

    /// The fields that say who asks, and what.
    private func appendClient(to out: inout [UInt8]) {
        let hops = client.hops
        HeadWriter.text("X-Forwarded-For: ", to: &out)
        for (index, hop) in hops.enumerated() {
            if index > 0 { HeadWriter.text(", ", to: &out) }
            out.append(contentsOf: hop.utf8)
        }
        HeadWriter.end(to: &out)
        let scheme: StaticString = client.isSecure ? "https" : "http"
        HeadWriter.field("X-Forwarded-Proto", text: scheme, to: &out)
        if let publicHost { HeadWriter.field("X-Forwarded-Host", publicHost, to: &out) }
        let publicPrefix = publicPrefix
        if !publicPrefix.isEmpty {
            HeadWriter.field("X-Forwarded-Prefix", publicPrefix, to: &out)
        }
        // RFC 7239 §4: an element for each hop, the client's first; only there we know the rest.
        HeadWriter.text("Forwarded: ", to: &out)
        for (index, hop) in hops.enumerated() {
            if index > 0 { HeadWriter.text(", ", to: &out) }
            let isIPv6 = hop.utf8.contains(0x3A)
            HeadWriter.text(isIPv6 ? "for=\"[" : "for=", to: &out)
            out.append(contentsOf: hop.utf8)
            if isIPv6 { HeadWriter.text("]\"", to: &out) }
            if index > 0 { continue }
            HeadWriter.text(";proto=", to: &out)
            HeadWriter.text(scheme, to: &out)
            // The parser lets nothing into a host that would end a quoted string.
            if let publicHost {
                HeadWriter.text(";host=\"", to: &out)
                HeadWriter.value(publicHost, to: &out)
                HeadWriter.text("\"", to: &out)
            }
        }
        HeadWriter.end(to: &out)
    }
}
