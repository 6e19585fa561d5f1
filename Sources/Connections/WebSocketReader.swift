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
    case pong
    /// The code is nil where the peer gave none.
    case close(ClosePayload)
}

package struct WebSocketReader {
    private var input: InputBuffer
    private let expectsMask: Bool
    private let maximumPayload: Int
    /// The payload so far of a message that comes in fragments.
    private var fragments: Piece?

    /// A message's first bytes are our message header. It is put at the end of the piece's
    /// headroom, so that the piece is just what the message carries.
    package static let payloadStart = Piece.headroom - MessageHeader.length

    private static let front = [UInt8](repeating: 0, count: payloadStart)

    /// - Parameters:
    ///   - input: bytes that came with the upgrade.
    ///   - expectsMask: the peer is the WebSocket's client (RFC 6455 §5.1).
    package init(_ input: InputBuffer, expectsMask: Bool, maximumPayload: Int) {
        self.input = input
        self.expectsMask = expectsMask
        self.maximumPayload = maximumPayload
    }

    /// Reads what is there now.
    package mutating func fill(from stream: ByteStream) throws(WebSocketError) -> Arrival {
        do {
            return try input.fill(from: stream, room: Piece.maximumCount)
        } catch {
            throw .stream(error)
        }
    }

    /// The next event out of what has been read, nil where more must come first.
    package mutating func next() throws(WebSocketError) -> WebSocketEvent? {
        while true {
            let header: FrameHeader?
            do {
                header = try FrameHeader.parse(
                    input.bytes, input.range, maximumPayload: maximumPayload)
            } catch {
                throw .protocolError(error.rawValue)
            }
            guard let header, input.count >= header.headerLength + header.payloadLength else {
                return nil
            }
            if (header.maskingKey != nil) != expectsMask {
                throw .protocolError("frame masked by the wrong side")
            }
            let start = input.range.lowerBound + header.headerLength
            let payload = start..<(start + header.payloadLength)
            if header.opcode.isControl {
                let bytes = unmasked(payload, header, behind: [])
                input.consume(to: payload.upperBound)
                return try control(header.opcode, bytes)
            }
            let message = try collect(header, payload)
            input.consume(to: payload.upperBound)
            if let message { return .message(message) }
        }
    }

    private func unmasked(
        _ range: Range<Int>, _ header: FrameHeader, behind front: [UInt8]
    ) -> [UInt8] {
        var bytes: [UInt8] = []
        // Two more: a piece of a body may be written on as a chunk.
        bytes.reserveCapacity(front.count + range.count + 2)
        bytes.append(contentsOf: front)
        bytes.append(contentsOf: input.bytes[range])
        if let key = header.maskingKey {
            applyMask(key, phase: 0, to: &bytes, front.count..<bytes.count)
        }
        return bytes
    }

    private func control(_ opcode: Opcode, _ bytes: [UInt8]) throws(WebSocketError) -> WebSocketEvent {
        switch opcode {
        case .ping: return .ping(bytes)
        case .pong: return .pong
        default:
            do {
                return .close(try ClosePayload.parse(bytes, 0..<bytes.count))
            } catch {
                throw .protocolError(error.rawValue)
            }
        }
    }

    /// - Returns: the message, where this frame completes it.
    private mutating func collect(
        _ header: FrameHeader, _ payload: Range<Int>
    ) throws(WebSocketError) -> Piece? {
        if (header.opcode == .continuation) != (fragments != nil) {
            throw .protocolError("frame out of order")
        }
        if header.opcode == .text {
            throw .protocolError("text message where binary ones are spoken")
        }
        if var message = fragments.take() {
            if message.bytes.count + payload.count - WebSocketReader.payloadStart > maximumPayload {
                throw .protocolError("message too large")
            }
            message.bytes.append(contentsOf: unmasked(payload, header, behind: []))
            if header.isFinal { return try checked(message) }
            fragments = message
            return nil
        }
        let message = Piece(
            framed: unmasked(payload, header, behind: WebSocketReader.front))
        if header.isFinal { return try checked(message) }
        fragments = message
        return nil
    }

    private func checked(_ message: Piece) throws(WebSocketError) -> Piece {
        if message.bytes.count < Piece.headroom {
            throw .protocolError("message shorter than its header")
        }
        return message
    }
}
