// The sending half of a WebSocket: messages into frames, many frames into one write.
//
// Called by: a session's owner thread.
// Waits for: nothing; what it writes collects in the stream's output.
// Hard: small messages are collected so that they share a TLS record; large ones are framed and
// masked where they stand, and never copied.

import Streams
import Wire

package struct WebSocketWriter {
    private var stage: [UInt8] = []
    private var masks: MaskingKeys?

    /// A message up to this size is copied beside others; a larger one gets records of its own.
    private static let maximumStagedMessage = 4096

    /// - Parameter masks: this is the WebSocket's client (RFC 6455 §5.3).
    package init(masks: Bool) {
        self.masks = masks ? MaskingKeys() : nil
        stage.reserveCapacity(2 * WebSocketWriter.maximumStagedMessage)
    }

    /// Bytes that wait for `flush`.
    package var staged: Int { stage.count }

    /// Stages a control frame; its payload has at most 125 bytes.
    package mutating func append(_ opcode: Opcode, _ payload: [UInt8]) {
        let key = masks?.next()
        FrameHeader.append(
            opcode: opcode, payloadLength: payload.count, maskingKey: key, to: &stage)
        let start = stage.count
        stage.append(contentsOf: payload)
        if let key { applyMask(key, phase: 0, to: &stage, start..<stage.count) }
    }

    /// Frames a message of our protocol: its header, then the piece.
    package mutating func append(
        _ header: MessageHeader, _ piece: inout Piece, to stream: ByteStream
    ) throws(StreamError) {
        let key = masks?.next()
        let length = MessageHeader.length + piece.count
        if length <= WebSocketWriter.maximumStagedMessage {
            FrameHeader.append(
                opcode: .binary, payloadLength: length, maskingKey: key, to: &stage)
            let start = stage.count
            header.append(to: &stage)
            stage.append(contentsOf: piece.bytes[piece.payload])
            if let key { applyMask(key, phase: 0, to: &stage, start..<stage.count) }
            if stage.count > 3 * WebSocketWriter.maximumStagedMessage { try flush(to: stream) }
            return
        }
        try flush(to: stream)
        let start = Piece.headroom - MessageHeader.length
        header.write(at: start, in: &piece.bytes)
        if let key { applyMask(key, phase: 0, to: &piece.bytes, start..<piece.bytes.count) }
        let first = FrameHeader.write(
            opcode: .binary, payloadLength: length, maskingKey: key, endingAt: start,
            in: &piece.bytes)
        try stream.append(piece.bytes, first..<piece.bytes.count)
    }

    /// Stages the header of a text message whose payload follows from elsewhere, and masks that.
    package mutating func begin(text payload: inout [UInt8]) {
        let key = masks?.next()
        FrameHeader.append(
            opcode: .text, payloadLength: payload.count, maskingKey: key, to: &stage)
        if let key { applyMask(key, phase: 0, to: &payload, 0..<payload.count) }
    }

    /// Encrypts what is staged into the stream's output.
    package mutating func flush(to stream: ByteStream) throws(StreamError) {
        if stage.isEmpty { return }
        try stream.append(stage)
        stage.removeAll(keepingCapacity: true)
    }
}

/// Masking keys that nobody can foresee (RFC 6455 §10.3), drawn many at a time.
private struct MaskingKeys {
    private var random: [UInt8] = []

    mutating func next() -> UInt32 {
        if random.count < 4 { random = Cryptography.randomBytes(1024) }
        var key: UInt32 = 0
        for byte in random.suffix(4) { key = key << 8 | UInt32(byte) }
        random.removeLast(4)
        return key
    }
}
