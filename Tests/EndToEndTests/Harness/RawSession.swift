// One end of a session spoken by hand, so that it can say what no program of ours would: protocol
// version 2 in WebSocket frames, one frame a message. Written apart from the programs' own code.

import Foundation

final class RawSession {
    struct Message {
        let type: UInt8
        let flags: UInt8
        let exchange: UInt32
        let payload: [UInt8]

        var text: String { String(decoding: payload, as: UTF8.self) }
    }

    static let request: UInt8 = 1
    static let response: UInt8 = 2
    static let data: UInt8 = 3
    static let trailers: UInt8 = 4
    static let reset: UInt8 = 6
    static let end: UInt8 = 1

    private let connection: Connection
    private let masks: Bool

    /// Connects to a relay as an agent; SETTINGS have gone both ways.
    init(agentOf relay: Relay, key: Relay.Key, name: String = "prom") throws {
        connection = try Connection.to(port: relay.port)
        masks = true
        try connection.write(
            "GET /mirror?name=\(name) HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\n"
                + "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                + "Sec-WebSocket-Protocol: magicmirror.v2\r\n\(bearer(key))\r\n\r\n")
        guard try connection.readHead()?.startLine.hasPrefix("HTTP/1.1 101 ") == true else {
            throw Failure("the relay did not let the agent in")
        }
        try send(0, exchange: 0, Array("version: raw\ninstance: raw\n".utf8))
        _ = try next(0)
    }

    /// Takes an agent's connection as its relay; SETTINGS have gone both ways.
    ///
    /// - Parameter accept: gives what Sec-WebSocket-Accept is for a key.
    init(relayOf accepted: Connection, accept: (String) throws -> String) throws {
        connection = accepted
        masks = false
        guard let head = try connection.readHead(), let key = head["Sec-WebSocket-Key"] else {
            throw Failure("no agent's request")
        }
        try connection.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: \(try accept(key))\r\n"
                + "Sec-WebSocket-Protocol: magicmirror.v2\r\n\r\n")
        _ = try next(0)
        try send(0, exchange: 0, Array("version: raw\n".utf8))
    }

    func send(
        _ type: UInt8, flags: UInt8 = 0, exchange: UInt32, _ payload: [UInt8]
    ) throws {
        let id = (0..<4).map { UInt8(truncatingIfNeeded: exchange >> UInt32(24 - 8 * $0)) }
        let message = [type, flags] + id + payload
        var frame: [UInt8] = [0x82]
        let mask: UInt8 = masks ? 0x80 : 0
        if message.count < 126 {
            frame.append(UInt8(message.count) | mask)
        } else {
            frame += [126 | mask, UInt8(message.count >> 8), UInt8(message.count & 0xFF)]
        }
        // A key of zeros changes nothing, and is a key.
        if masks { frame += [0, 0, 0, 0] }
        try connection.write(frame + message)
    }

    /// Waits for the next message of that type; others are passed over.
    func next(_ type: UInt8, _ deadline: Deadline = .patient) throws -> Message {
        while true {
            let message = try nextMessage(deadline)
            if message.type == type { return message }
        }
    }

    private func nextMessage(_ deadline: Deadline) throws -> Message {
        while true {
            guard let start = try connection.read(exactly: 2, deadline) else {
                throw Failure("the session ended")
            }
            var length = Int(start[1] & 0x7F)
            if length >= 126 {
                let extra = try connection.read(exactly: length == 126 ? 2 : 8, deadline) ?? []
                length = extra.reduce(0) { $0 << 8 | Int($1) }
            }
            let key = start[1] & 0x80 == 0 ? [0, 0, 0, 0] : try connection.read(exactly: 4) ?? []
            guard var payload = try connection.read(exactly: length, deadline) else {
                throw Failure("the session ended inside a frame")
            }
            for index in payload.indices { payload[index] ^= key[index & 3] }
            if start[0] & 0x0F == 8 {
                throw Failure(
                    "the session was closed: \(String(decoding: payload.dropFirst(2), as: UTF8.self))"
                )
            }
            guard start[0] & 0x0F == 2 else { continue }
            return Message(
                type: payload[0], flags: payload[1],
                exchange: payload[2..<6].reduce(0) { $0 << 8 | UInt32($1) },
                payload: Array(payload[6...]))
        }
    }
}

extension Stage {
    /// Starts an agent, and is its relay.
    ///
    /// - Parameter program: the agent, or one that becomes it.
    func relayByHand(_ origin: Origin, agent program: String = Built.agent) throws -> RawSession {
        let listener = try Listener()
        _ = try start(
            program,
            [
                "--remote", "ws://127.0.0.1:\(listener.port)/mirror", "--apikey-file",
                try write("agent.key", "mma_that_no_relay_has_checked\n"), "--name", "prom",
                "--local", origin.url,
            ])
        guard let accepted = listener.accept(.patient) else { throw Failure("no agent came") }
        return try RawSession(relayOf: accepted) { key in
            let joined = try write("key", key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
            return try run(
                "sh", ["-c", "openssl dgst -sha1 -binary \(joined) | openssl base64"]
            ).output.trimmingCharacters(in: .whitespacesAndNewlines)
        }
    }
}
