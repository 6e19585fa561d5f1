// A relay spoken by hand, for what the real one never says to an agent.

import Foundation

extension Visit {
    /// Accepts an agent's WebSocket, and sends `messages` in one write with the answer.
    func acceptAgent(_ stage: Stage, _ messages: [[UInt8]]) throws {
        let head = try readHead()
        let key = (head["Sec-WebSocket-Key"] ?? "") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        try stage.write("websocket-key", key)
        let digest = try stage.run(
            "openssl", ["dgst", "-sha1", "-binary", stage.path("websocket-key")])
        let accept = Data(digest.outputBytes).base64EncodedString()
        let answer =
            "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n"
            + "Connection: Upgrade\r\nSec-WebSocket-Accept: \(accept)\r\n"
            + "Sec-WebSocket-Protocol: magicmirror.v2\r\n\r\n"
        try connection.write(Array(answer.utf8) + messages.flatMap { $0 })
    }
}

enum HandMessage {
    static let settings = framed(
        0, "version: test\nmaximum-exchanges: 8\ninitial-credit: 262144\n", exchange: 0)

    /// One binary frame with a message of `type`; at most 65535 bytes.
    static func framed(
        _ type: UInt8, _ payload: String, ends: Bool = false, exchange: UInt8
    ) -> [UInt8] {
        let message = [type, ends ? 1 : 0, 0, 0, 0, exchange] + Array(payload.utf8)
        let length = message.count
        return [0x82]
            + (length < 126 ? [UInt8(length)] : [126, UInt8(length >> 8), UInt8(length & 0xff)])
            + message
    }
}
