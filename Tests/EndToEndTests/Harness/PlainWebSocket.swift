// One end of a WebSocket as a plain library speaks it, frame by frame (RFC 6455).
//
// Written apart from the frames of the programs. Owned by one thread at a time.

import Foundation

final class PlainWebSocket {
    enum Event: Equatable {
        case message(opcode: UInt8, [UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(code: Int, reason: String)
        /// The connection has ended without a Close.
        case end
    }

    let connection: Connection
    private let masks: Bool
    private var message: (opcode: UInt8, bytes: [UInt8])?

    private init(_ connection: Connection, masks: Bool) {
        self.connection = connection
        self.masks = masks
    }

    // MARK: the handshake

    /// Asks for a WebSocket.
    ///
    /// - Returns: nil for the WebSocket where the answer is not 101.
    static func connect(
        port: Int, _ target: String, _ fields: [String]
    ) throws -> (head: Head, socket: PlainWebSocket?) {
        let connection = try Connection.to(port: port)
        let lines = [
            "GET \(target) HTTP/1.1", "Host: relay.test", "Connection: Upgrade",
            "Upgrade: websocket", "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ]
        try connection.write((lines + fields).joined(separator: "\r\n") + "\r\n\r\n")
        guard let head = try connection.readHead() else {
            throw Failure("no answer to a handshake")
        }
        guard head.startLine.hasPrefix("HTTP/1.1 101 ") else { return (head, nil) }
        guard head["Sec-WebSocket-Accept"] == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" else {
            throw Failure("the answer is not to this handshake")
        }
        return (head, PlainWebSocket(connection, masks: true))
    }

    /// Accepts a WebSocket, and selects no subprotocol.
    static func accept(_ connection: Connection) throws -> (head: Head, socket: PlainWebSocket) {
        guard let head = try connection.readHead(), let key = head["Sec-WebSocket-Key"] else {
            throw Failure("not a handshake")
        }
        let sum = sha1(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11")
        try connection.write(
            "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
                + "Sec-WebSocket-Accept: \(Data(sum).base64EncodedString())\r\n\r\n")
        return (head, PlainWebSocket(connection, masks: false))
    }

    // MARK: sending

    /// Sends a message, in frames of at most `fragment` bytes.
    func send(opcode: UInt8 = 1, _ bytes: [UInt8], fragment: Int = .max) throws {
        var frames: [UInt8] = []
        var rest = bytes[...]
        var next = opcode
        repeat {
            let piece = rest.prefix(fragment)
            rest = rest.dropFirst(piece.count)
            frames += frame(next | (rest.isEmpty ? 0x80 : 0), Array(piece))
            next = 0
        } while !rest.isEmpty
        try connection.write(frames, .long)
    }

    func ping(_ text: String) throws { try connection.write(frame(0x89, Array(text.utf8))) }

    func close(code: Int, _ reason: String = "") throws {
        try connection.write(
            frame(0x88, [UInt8(code >> 8), UInt8(code & 0xFF)] + Array(reason.utf8)))
    }

    private func frame(_ first: UInt8, _ payload: [UInt8]) -> [UInt8] {
        let mask: UInt8 = masks ? 0x80 : 0
        var frame = [first]
        switch payload.count {
        case ..<126: frame.append(UInt8(payload.count) | mask)
        case ..<65_536:
            frame += [126 | mask, UInt8(payload.count >> 8), UInt8(payload.count & 255)]
        default:
            frame.append(127 | mask)
            frame += (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        guard masks else { return frame + payload }
        let key: [UInt8] = [0x37, 0xFA, 0x21, 0x3D]
        return frame + key + turned(payload, key)
    }

    private func turned(_ payload: [UInt8], _ key: [UInt8]) -> [UInt8] {
        var turned = payload
        turned.withUnsafeMutableBytes { bytes in
            for index in 0..<bytes.count { bytes[index] ^= key[index & 3] }
        }
        return turned
    }

    // MARK: receiving

    func next(_ deadline: Deadline = .patient) throws -> Event {
        while true {
            guard let first = try connection.read(exactly: 2, deadline) else { return .end }
            var length = Int(first[1] & 0x7F)
            if length >= 126 {
                guard let more = try connection.read(exactly: length == 126 ? 2 : 8, deadline)
                else { return .end }
                length = more.reduce(0) { $0 << 8 | Int($1) }
            }
            guard (first[1] & 0x80 != 0) != masks else { throw Failure("masked by the wrong side") }
            guard let key = masks ? [0, 0, 0, 0] : try connection.read(exactly: 4, deadline),
                let bytes = try connection.read(exactly: length, deadline)
            else { return .end }
            let payload = masks ? bytes : turned(bytes, key)
            switch first[0] & 0x0F {
            case 8:
                let code = payload.prefix(2).reduce(0) { $0 << 8 | Int($1) }
                return .close(
                    code: code, reason: String(decoding: payload.dropFirst(2), as: UTF8.self))
            case 9: return .ping(payload)
            case 10: return .pong(payload)
            case 0: message?.bytes += payload
            case let opcode: message = (opcode, payload)
            }
            if first[0] & 0x80 != 0, let whole = message {
                message = nil
                return .message(opcode: whole.opcode, whole.bytes)
            }
        }
    }
}

/// SHA-1 (FIPS 180-4), for the handshake alone.
private func sha1(_ text: String) -> [UInt8] {
    var message = Array(text.utf8)
    let bits = UInt64(message.count) * 8
    message.append(0x80)
    while message.count % 64 != 56 { message.append(0) }
    message += (0..<8).map { UInt8(truncatingIfNeeded: bits >> (56 - 8 * $0)) }
    var state: [UInt32] = [0x6745_2301, 0xEFCD_AB89, 0x98BA_DCFE, 0x1032_5476, 0xC3D2_E1F0]
    func turn(_ word: UInt32, _ count: UInt32) -> UInt32 { word << count | word >> (32 - count) }
    for block in stride(from: 0, to: message.count, by: 64) {
        var words = (0..<16).map { index in
            message[(block + 4 * index)..<(block + 4 * index + 4)].reduce(UInt32(0)) {
                $0 << 8 | UInt32($1)
            }
        }
        for index in 16..<80 {
            words.append(
                turn(words[index - 3] ^ words[index - 8] ^ words[index - 14] ^ words[index - 16], 1)
            )
        }
        var (a, b, c, d, e) = (state[0], state[1], state[2], state[3], state[4])
        for (index, word) in words.enumerated() {
            let (mixed, constant): (UInt32, UInt32) =
                switch index {
                case ..<20: ((b & c) | (~b & d), 0x5A82_7999)
                case ..<40: (b ^ c ^ d, 0x6ED9_EBA1)
                case ..<60: ((b & c) | (b & d) | (c & d), 0x8F1B_BCDC)
                default: (b ^ c ^ d, 0xCA62_C1D6)
                }
            let next = turn(a, 5) &+ mixed &+ e &+ constant &+ word
            (e, d, c, b, a) = (d, c, turn(b, 30), a, next)
        }
        for (index, word) in [a, b, c, d, e].enumerated() { state[index] = state[index] &+ word }
    }
    return state.flatMap { word in (0..<4).map { UInt8(truncatingIfNeeded: word >> (24 - 8 * $0)) }
    }
}
