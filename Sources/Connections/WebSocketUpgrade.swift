// The handshake that turns an HTTP/1.1 connection into a WebSocket (RFC 6455 §4), at both ends.
//
// Called by: the agent's RelayDialer, the relay's AgentEndpoint.
// Waits for: nothing; heads are built and checked here, and travel elsewhere.

import Streams
import Wire

/// What relay and agent speak once the WebSocket stands (magicmirror-protocol(7)).
package enum ProtocolVersion: String, Sendable {
    /// The original one: whole messages in text, one exchange at a time.
    case v1
    /// Many exchanges at once, streamed.
    case v2
}

package enum WebSocketUpgrade {
    /// The name of version 2. Version 1 has none.
    package static let subprotocol = "magicmirror.v2"

    // MARK: - The client

    /// A key that the server must answer to: 16 random bytes, base64.
    package static func makeKey() -> [UInt8] { Cryptography.base64(Cryptography.randomBytes(16)) }

    /// The request's head.
    ///
    /// - Parameters:
    ///   - target: path and query.
    ///   - host: as in the Host field.
    ///   - credential: the agent's key.
    package static func request(
        target: [UInt8], host: String, key: [UInt8], credential: [UInt8], userAgent: String
    ) -> [UInt8] {
        var head: [UInt8] = []
        HeadWriter.requestLine(method: "GET", target: target[...], to: &head)
        HeadWriter.field("Host", host, to: &head)
        HeadWriter.field("Connection", text: "Upgrade", to: &head)
        HeadWriter.field("Upgrade", text: "websocket", to: &head)
        HeadWriter.field("Sec-WebSocket-Version", text: "13", to: &head)
        HeadWriter.field("Sec-WebSocket-Key", key, to: &head)
        HeadWriter.field("Sec-WebSocket-Protocol", subprotocol, to: &head)
        HeadWriter.field("Authorization", Array("Bearer ".utf8) + credential, to: &head)
        HeadWriter.field("User-Agent", userAgent, to: &head)
        HeadWriter.end(to: &head)
        return head
    }

    /// Why a 101 response is not the answer to our request; nil where it is.
    package static func problem(with head: ResponseHead, key: [UInt8]) -> String? {
        if !head.fields.contains(.upgrade, token: "websocket")
            || !head.fields.contains(.connection, token: "upgrade")
        {
            return "the answer upgrades to something else"
        }
        guard let accept = head.fields.value(.secWebSocketAccept),
            Array(accept) == acceptance(of: key)
        else { return "the answer is not to this request (Sec-WebSocket-Accept)" }
        if head.fields.present.contains(.secWebSocketExtensions) {
            return "the answer uses an extension that was not offered"
        }
        if let chosen = head.fields.value(.secWebSocketProtocol),
            !chosen.elementsEqual(subprotocol.utf8)
        {
            return "the relay chose a protocol that was not offered"
        }
        return nil
    }

    /// What the relay has chosen: a plain WebSocket library selects nothing, and speaks version 1.
    package static func version(chosenBy head: ResponseHead) -> ProtocolVersion {
        head.fields.present.contains(.secWebSocketProtocol) ? .v2 : .v1
    }

    // MARK: - The server

    /// Whether a request asks for a WebSocket at all.
    package static func isAsked(by head: RequestHead) -> Bool {
        head.fields.contains(.upgrade, token: "websocket")
            && head.fields.contains(.connection, token: "upgrade")
    }

    /// What is wrong with a request that asks for a WebSocket (RFC 6455 §4.2.1); nil: nothing.
    package static func problem(with head: RequestHead) -> String? {
        if !head.methodIs("GET") || head.minorVersion == 0 {
            return "an upgrade needs GET and HTTP/1.1"
        }
        guard let version = head.fields.value(.secWebSocketVersion), Array(version) == [0x31, 0x33]
        else { return "Sec-WebSocket-Version must be 13" }
        guard head.fields.count(.secWebSocketKey) == 1,
            let key = head.fields.value(.secWebSocketKey),
            Cryptography.decodeBase64(key)?.count == 16
        else { return "Sec-WebSocket-Key must be 16 bytes in base64" }
        return nil
    }

    /// What is spoken with a client: version 1 where it does not offer the other by its name.
    package static func version(offeredBy head: RequestHead) -> ProtocolVersion {
        head.fields.contains(.secWebSocketProtocol, token: subprotocol) ? .v2 : .v1
    }

    /// The head of the answer that accepts.
    ///
    /// - Parameter date: the time now, by which an agent can tell whether its own clock is right.
    package static func response(to head: RequestHead, date: String) -> [UInt8] {
        let key = Array(head.fields.value(.secWebSocketKey) ?? [])
        var response: [UInt8] = []
        HeadWriter.statusLine(101, reason: "Switching Protocols", to: &response)
        HeadWriter.field("Connection", text: "Upgrade", to: &response)
        HeadWriter.field("Upgrade", text: "websocket", to: &response)
        HeadWriter.field("Sec-WebSocket-Accept", acceptance(of: key), to: &response)
        if version(offeredBy: head) == .v2 {
            HeadWriter.field("Sec-WebSocket-Protocol", subprotocol, to: &response)
        }
        HeadWriter.field("Date", date, to: &response)
        HeadWriter.end(to: &response)
        return response
    }

    /// RFC 6455 §4.2.2, step 5.
    private static func acceptance(of key: [UInt8]) -> [UInt8] {
        Cryptography.base64(
            Cryptography.sha1(key + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)))
    }
}
