// The receiving half of a WebSocket: frames out of bytes, messages out of frames (RFC 6455 §5).
//
// Called by: a session's owner thread.
// Waits for: nothing.

import Streams
import Wire

package enum WebSocketError: Error {
    case stream(StreamError)
    /// The peer broke RFC 6455: how.
    case protocolError(String)
}

package enum WebSocketEvent {
    /// A whole message; its payload stands in the piece from `WebSocketReader.payloadStart` on.
    case message(Piece)
    case ping([UInt8])
    case pong([UInt8])
    /// The code is nil where the peer gave none.
    case close(ClosePayload)
}

package struct WebSocketReader {
    private var input: InputBuffer
    private let expectsMask: Bool
    private let maximumPayload: Int
    private let version: ProtocolVersion
    /// The data frame whose payload is still coming, and how much of it.
    private var current: (header: FrameHeader, left: Int)?
    /// The payload so far of the message that is coming, in one frame or more.
    private var message: Piece?

    /// A message's first bytes are our message header. It is put at the end of the piece's
    /// headroom, so that the piece is just what the message carries.
    package static let payloadStart = Piece.headroom - MessageHeader.length

    private static let front = [UInt8](repeating: 0, count: payloadStart)

    /// What one read brings at most, but for payloads that are read where they belong.
    private static let readBytes = 16 * 1024

    /// - Parameters:
    ///   - input: bytes that came with the upgrade.
    ///   - expectsMask: the peer is the WebSocket's client (RFC 6455 §5.1).
    ///   - version: in version 1 messages are text or binary, and have no header.
    package init(
        _ input: InputBuffer, expectsMask: Bool, maximumPayload: Int,
        version: ProtocolVersion = .v2
    ) {
        self.version = version
        self.input = input
        self.expectsMask = expectsMask
        self.maximumPayload = maximumPayload
    }

    /// Reads what is there now. The rest of a payload goes straight to its place.
    package mutating func fill(from stream: ByteStream) throws(WebSocketError) -> Arrival {
        do {
            guard let (header, left) = current, input.isEmpty, var piece = message.take() else {
                return try input.fill(from: stream, room: WebSocketReader.readBytes)
            }
            defer { message = piece }
            let start = piece.bytes.count
            let arrival = try stream.read(appendingTo: &piece.bytes, room: left)
            if case .bytes(let count) = arrival {
                unmask(&piece, from: start, header, phase: header.payloadLength - left)
                current = (header, left - count)
            }
            return arrival
        } catch {
            throw .stream(error)
        }
    }

    /// The next event out of what has been read, nil where more must come first.
    package mutating func next() throws(WebSocketError) -> WebSocketEvent? {
        while true {
            if let (header, _) = current {
                takePayload()
                guard let (_, left) = current, left == 0 else { return nil }
                current = nil
                if header.isFinal, let message = message.take() {
                    if message.bytes.count < Piece.headroom, version == .v2 {
                        throw .protocolError("message shorter than its header")
                    }
                    return .message(message)
                }
            }
            let header: FrameHeader?
            do {
                header = try FrameHeader.parse(
                    input.bytes, input.range, maximumPayload: maximumPayload)
            } catch {
                throw .protocolError(error.rawValue)
            }
            guard let header else { return nil }
            if (header.maskingKey != nil) != expectsMask {
                throw .protocolError("frame masked by the wrong side")
            }
            let start = input.range.lowerBound + header.headerLength
            if header.opcode.isControl {
                // At most 125 bytes: it is awaited whole.
                let end = start + header.payloadLength
                if input.range.upperBound < end { return nil }
                var payload = Array(input.bytes[start..<end])
                if let key = header.maskingKey {
                    applyMask(key, phase: 0, to: &payload, 0..<payload.count)
                }
                input.consume(to: end)
                return try control(header.opcode, payload)
            }
            try begin(header)
            input.consume(to: start)
        }
    }

    /// Makes room for a data frame's payload: the first of a message, or a further fragment.
    private mutating func begin(_ header: FrameHeader) throws(WebSocketError) {
        if header.opcode == .text, version == .v2 {
            throw .protocolError("text message where binary ones are spoken")
        }
        if (header.opcode == .continuation) != (message != nil) {
            throw .protocolError("frame out of order")
        }
        if let message {
            let size = message.bytes.count - WebSocketReader.payloadStart + header.payloadLength
            if size > maximumPayload { throw .protocolError("message too large") }
        } else {
            var bytes: [UInt8] = []
            // Two more: a piece of a body may be written on as a chunk.
            bytes.reserveCapacity(WebSocketReader.payloadStart + header.payloadLength + 2)
            bytes.append(contentsOf: WebSocketReader.front)
            message = Piece(framed: bytes)
        }
        current = (header, header.payloadLength)
    }

    /// Moves what has been read of the current frame's payload to its place.
    private mutating func takePayload() {
        guard let (header, left) = current, left > 0, !input.isEmpty,
            var piece = message.take()
        else { return }
        let first = input.range.lowerBound
        let end = min(input.range.upperBound, first + left)
        let start = piece.bytes.count
        piece.bytes.append(contentsOf: input.bytes[first..<end])
        unmask(&piece, from: start, header, phase: header.payloadLength - left)
        input.consume(to: end)
        current = (header, left - (end - first))
        message = piece
    }

    private func unmask(_ piece: inout Piece, from start: Int, _ header: FrameHeader, phase: Int) {
        if let key = header.maskingKey {
            applyMask(key, phase: phase, to: &piece.bytes, start..<piece.bytes.count)
        }
    }

    private func control(_ opcode: Opcode, _ bytes: [UInt8]) throws(WebSocketError)
        -> WebSocketEvent
    {
        switch opcode {
        case .ping: return .ping(bytes)
        case .pong: return .pong(bytes)
        default:
            do {
                return .close(try ClosePayload.parse(bytes, 0..<bytes.count))
            } catch {
                throw .protocolError(error.rawValue)
            }
        }
    }
}
