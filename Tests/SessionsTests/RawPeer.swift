// A peer that speaks WebSocket frames by hand, so that it can say what no session of ours would.

import Sessions
import Streams
import Testing
import Threads
import Wire

final class RawPeer {
    /// A message of protocol v2.
    struct Message: Equatable, CustomStringConvertible {
        let type: UInt8
        let flags: UInt8
        let exchange: UInt32
        let payload: [UInt8]

        var description: String {
            "type \(type) flags \(flags) exchange \(exchange) (\(payload.count) bytes)"
        }
    }

    enum Event: Equatable {
        case message(Message)
        /// A message of protocol v1.
        case text([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(code: Int?, reason: String)
        /// The connection has ended, in order or not.
        case end
    }

    private let stream: ByteStream
    private let masks: Bool
    private var input: [UInt8] = []

    /// - Parameter role: what the raw peer plays; the agent is the WebSocket's client and masks.
    init(_ role: PeerRole, _ stream: Handover<ByteStream>) throws {
        self.stream = stream.take()
        masks = role == .agent
        try self.stream.handshake(until: soon)
    }

    enum PeerRole: Sendable { case relay, agent }

    // MARK: - Sending

    /// A frame as RFC 6455 §5.2 draws it.
    static func frame(
        _ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true, reserved: UInt8 = 0,
        masked: Bool
    ) -> [UInt8] {
        var frame = [opcode | (isFinal ? 0x80 : 0) | reserved]
        let mask: UInt8 = masked ? 0x80 : 0
        switch payload.count {
        case ..<126: frame.append(UInt8(payload.count) | mask)
        case ..<65_536:
            frame.append(126 | mask)
            frame += [UInt8(payload.count >> 8), UInt8(payload.count & 0xFF)]
        default:
            frame.append(127 | mask)
            frame += (0..<8).map { UInt8(truncatingIfNeeded: payload.count >> (56 - 8 * $0)) }
        }
        if masked {
            frame += [0x37, 0xFA, 0x21, 0x3D]
            frame += payload
            turn(&frame, from: frame.count - payload.count)
        } else {
            frame += payload
        }
        return frame
    }

    /// Masks, or unmasks, what stands behind its key (RFC 6455 §5.3).
    private static func turn(_ bytes: inout [UInt8], from start: Int) {
        bytes.withUnsafeMutableBytes { bytes in
            var index = start
            while index < bytes.count {
                bytes[index] ^= bytes[start - 4 + (index - start) & 3]
                index += 1
            }
        }
    }

    func frame(_ opcode: UInt8, _ payload: [UInt8], isFinal: Bool = true) -> [UInt8] {
        RawPeer.frame(opcode, payload, isFinal: isFinal, masked: masks)
    }

    func send(bytes: [UInt8]) throws {
        try stream.append(bytes)
        try stream.send(until: soon)
    }

    static func message(
        _ type: UInt8, flags: UInt8 = 0, exchange: UInt32 = 0, _ payload: [UInt8] = []
    ) -> [UInt8] {
        let id = (0..<4).map { UInt8(truncatingIfNeeded: exchange >> (24 - 8 * $0)) }
        return [type, flags] + id + payload
    }

    func send(
        _ type: MessageType, flags: UInt8 = 0, exchange: UInt32 = 0, _ payload: [UInt8] = []
    ) throws {
        try send(raw: type.rawValue, flags: flags, exchange: exchange, payload)
    }

    func send(
        raw type: UInt8, flags: UInt8 = 0, exchange: UInt32 = 0, _ payload: [UInt8] = []
    ) throws {
        let message = RawPeer.message(type, flags: flags, exchange: exchange, payload)
        try send(bytes: frame(2, message))
    }

    func sendSettings(_ text: String = "maximum-exchanges: 128\ninitial-credit: 262144\n") throws {
        try send(.settings, [UInt8](text))
    }

    func sendCredit(_ credit: UInt32, exchange: UInt32) throws {
        let bytes = (0..<4).map { UInt8(truncatingIfNeeded: credit >> (24 - 8 * $0)) }
        try send(.credit, exchange: exchange, bytes)
    }

    func sendReset(_ code: UInt8, exchange: UInt32) throws {
        try send(.reset, exchange: exchange, [0, code])
    }

    func sendClose(code: Int, _ reason: String = "") throws {
        try send(bytes: frame(8, [UInt8(code >> 8), UInt8(code & 0xFF)] + [UInt8](reason)))
    }

    /// Ends this direction of the connection.
    func end() { stream.end() }

    // MARK: - Receiving

    /// The next frame; nil where none comes until the deadline.
    func next(until deadline: Deadline = soon) -> Event? {
        while true {
            if let event = parse() { return event }
            do {
                let arrival = try stream.read(
                    appendingTo: &input, room: 100_000, until: deadline)
                if arrival == .end { return .end }
            } catch {
                return error == .timedOut ? nil : .end
            }
        }
    }

    /// The next message, pings apart.
    func nextMessage(until deadline: Deadline = soon) -> Message? {
        while let event = next(until: deadline) {
            switch event {
            case .message(let message): return message
            case .text, .ping, .pong: continue
            case .close, .end: return nil
            }
        }
        return nil
    }

    /// The close frame at the end of what still comes.
    func close() -> Event? {
        while let event = next() {
            switch event {
            case .close, .end: return event
            case .message, .text, .ping, .pong: continue
            }
        }
        return nil
    }

    /// Everything that the session was given to say up to now.
    ///
    /// It answers a ping in its turn; the first may overtake what was queued just before it.
    func messagesSoFar() throws -> [Message] {
        try messagesUntilPong() + messagesUntilPong()
    }

    private func messagesUntilPong() throws -> [Message] {
        try send(bytes: frame(9, [UInt8]("so far")))
        var messages: [Message] = []
        while let event = next() {
            switch event {
            case .message(let message): messages.append(message)
            case .pong(let payload) where payload == [UInt8]("so far"): return messages
            case .pong, .ping, .text: continue
            case .close, .end:
                Issue.record("the session closed: \(event)")
                return messages
            }
        }
        Issue.record("no pong")
        return messages
    }

    private func parse() -> Event? {
        guard input.count >= 2 else { return nil }
        // Sessions of ours never fragment, and set nothing that is reserved.
        #expect(input[0] & 0xF0 == 0x80)
        #expect((input[1] & 0x80 != 0) != masks)
        var length = Int(input[1] & 0x7F)
        var at = 2
        if length >= 126 {
            let extra = length == 126 ? 2 : 8
            guard input.count >= at + extra else { return nil }
            length = input[at..<(at + extra)].reduce(0) { $0 << 8 | Int($1) }
            at += extra
        }
        if !masks { at += 4 }
        guard input.count >= at + length else { return nil }
        let opcode = input[0] & 0x0F
        var frame = Array(input[..<(at + length)])
        if !masks { RawPeer.turn(&frame, from: at) }
        let payload = Array(frame[at...])
        input.removeSubrange(..<(at + length))
        switch opcode {
        case 1: return .text(payload)
        case 2:
            let exchange = payload[2..<6].reduce(UInt32(0)) { $0 << 8 | UInt32($1) }
            return .message(
                Message(
                    type: payload[0], flags: payload[1], exchange: exchange,
                    payload: Array(payload[6...])))
        case 8:
            if payload.isEmpty { return .close(code: nil, reason: "") }
            // As RFC 6455 §5.5.1 wants it: nothing of this side follows.
            stream.end()
            return .close(
                code: Int(payload[0]) << 8 | Int(payload[1]), reason: payload[2...].text)
        case 9: return .ping(payload)
        case 10: return .pong(payload)
        default:
            Issue.record("opcode \(opcode)")
            return nil
        }
    }
}

/// A session that talks to a raw peer. Their SETTINGS have gone both ways.
struct Confronted {
    let side: Side
    let peer: RawPeer

    /// - Parameter role: of the session; the raw peer plays the other.
    init(
        _ role: Session.Role, settings: Settings = Settings(),
        peerSettings: String = "maximum-exchanges: 128\ninitial-credit: 262144\n",
        limits: SessionLimits = Side.calm, greets: Bool = true, transport: Transport = .pair
    ) throws {
        let connected = try Connected(transport)
        let (own, other) =
            role == .relay ? (connected.relay, connected.agent) : (connected.agent, connected.relay)
        side = try Side(role, own, settings: settings, limits: limits)
        peer = try RawPeer(role == .relay ? .agent : .relay, other)
        // The agent's SETTINGS come first; the relay's are its answer to them.
        if role == .agent { #expect(peer.nextMessage()?.type == 0) }
        if greets {
            try peer.sendSettings(peerSettings)
            #expect(side.handle() != nil)
            if role == .relay { #expect(peer.nextMessage()?.type == 0) }
        }
    }
}
