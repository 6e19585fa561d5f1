// The head of a request as the agent and its origin get it.
//
// Called by: ClientExchange, for each request.
// Waits for: nothing.
// Hard: fields that say who the client is are believed by origins. What a client sends under those
// names is dropped, unless it is one of the configured proxies.

import Connections
import Program
import Threads
import Wire

/// Who asks, as far as the relay knows it itself.
struct ClientOrigin {
    /// The peer's address in figures.
    let address: String
    let isEncrypted: Bool
    /// The peer is one of the configured proxies.
    let isTrusted: Bool
    /// The address that it reached, for a request that names no host.
    let ownHost: [UInt8]
}

/// What a worker knows of a request for a mirror.
struct MirrorRequest: Sendable {
    let mirror: Mirror
    let head: RequestHead
    let framing: BodyFraming
    /// What the origin sees.
    let target: [UInt8]
    /// What stood before it.
    let prefix: [UInt8]
    /// Nil: the mirror is public.
    let credential: Credential?
    let id: [UInt8]
    let start: Deadline

    var hasBody: Bool { framing != .none && framing != .length(0) }

    private static let replaced: FieldSet = [
        .forwarded, .xForwardedFor, .xForwardedHost, .xForwardedPrefix, .xForwardedProto,
        .xRequestId, .magicmirrorKey,
    ]

    /// The head for the agent: one message.
    func forwarded(from client: ClientOrigin) -> Piece {
        var piece = Piece(capacity: head.bytes.count + 512)
        HeadWriter.requestLine(
            method: head.bytes[head.method], target: target[...], to: &piece.bytes)
        var dropped = MirrorRequest.replaced
        if let credential { dropped.insert(credential.field) }
        let fields = head.fields
        // HTTP/1.0 does without; the origin gets HTTP/1.1, which does not. The target may name one.
        if !fields.present.contains(.host) {
            HeadWriter.field("Host", head.authority ?? client.ownHost[...], to: &piece.bytes)
        }
        fields.appendEndToEnd(to: &piece.bytes, dropping: dropped)
        appendForwarded(client, to: &piece.bytes)
        HeadWriter.field(
            "Via", text: head.minorVersion == 0 ? "1.0 magicmirrord" : "1.1 magicmirrord",
            to: &piece.bytes)
        HeadWriter.field("X-Request-Id", id, to: &piece.bytes)
        HeadWriter.end(to: &piece.bytes)
        return piece
    }

    private func appendForwarded(_ client: ClientOrigin, to out: inout [UInt8]) {
        let fields = head.fields
        let host = head.authority
        let given: (FieldName) -> ArraySlice<UInt8>? = { name in
            client.isTrusted ? fields.value(name) : nil
        }
        let address = Array(client.address.utf8)
        if let before = given(.xForwardedFor) {
            HeadWriter.field("X-Forwarded-For", before + [0x2C, 0x20] + address, to: &out)
        } else {
            HeadWriter.field("X-Forwarded-For", address, to: &out)
        }
        let scheme: StaticString = client.isEncrypted ? "https" : "http"
        if let before = given(.xForwardedProto) {
            HeadWriter.field("X-Forwarded-Proto", before, to: &out)
        } else {
            HeadWriter.field("X-Forwarded-Proto", text: scheme, to: &out)
        }
        if let value = given(.xForwardedHost) ?? host {
            HeadWriter.field("X-Forwarded-Host", value, to: &out)
        }
        let prefixBefore = given(.xForwardedPrefix) ?? []
        if !prefix.isEmpty || !prefixBefore.isEmpty {
            HeadWriter.field("X-Forwarded-Prefix", prefixBefore + prefix, to: &out)
        }
        appendElement(client, scheme, host, given(.forwarded), to: &out)
    }

    /// Forwarded (RFC 7239): an IPv6 address stands in brackets and quotes.
    private func appendElement(
        _ client: ClientOrigin, _ scheme: StaticString, _ host: ArraySlice<UInt8>?,
        _ before: ArraySlice<UInt8>?, to out: inout [UInt8]
    ) {
        HeadWriter.text("Forwarded: ", to: &out)
        if let before {
            HeadWriter.value(before, to: &out)
            HeadWriter.text(", ", to: &out)
        }
        let isIPv6 = client.address.utf8.contains(0x3A)
        HeadWriter.text(isIPv6 ? "for=\"[" : "for=", to: &out)
        out.append(contentsOf: client.address.utf8)
        HeadWriter.text(isIPv6 ? "]\";proto=" : ";proto=", to: &out)
        HeadWriter.text(scheme, to: &out)
        // The parser lets nothing into a host that would end a quoted string.
        if let host {
            HeadWriter.text(";host=\"", to: &out)
            HeadWriter.value(host, to: &out)
            HeadWriter.text("\"", to: &out)
        }
        HeadWriter.end(to: &out)
    }
}
