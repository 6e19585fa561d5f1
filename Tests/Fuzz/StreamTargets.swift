// Readers of a socket: WebSocket messages, bodies. Whatever the pieces that the bytes come in, the
// result is the same.

import CLinux
import Connections
import Glibc
import Streams
import Wire

/// One end of a socket pair whose other end is written to as a peer would.
private final class Feed {
    let stream: ByteStream
    private var peer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        promise(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0, "no sockets")
        stream = ByteStream(Socket(descriptor: ends[0]))
        peer = ends[1]
    }

    deinit { end() }

    /// An input fits the socket's buffer.
    func write(_ bytes: ArraySlice<UInt8>) {
        let sent = bytes.withUnsafeBytes { send(peer, $0.baseAddress, $0.count, 0) }
        promise(sent == bytes.count, "the socket took \(sent) of \(bytes.count) bytes")
    }

    /// The peer closes.
    func end() {
        if peer >= 0 { close(peer) }
        peer = -1
    }

    /// Bytes that nobody has read.
    var unread: Int {
        var count: CInt = 0
        return ioctl(stream.descriptor, UInt(FIONREAD), &count) == 0 ? Int(count) : -1
    }
}

// MARK: - WebSocket

private struct Heard: Equatable {
    enum Event: Equatable {
        case message([UInt8])
        case ping([UInt8])
        case pong([UInt8])
        case close(ClosePayload)
    }

    var events: [Event] = []
    var error: String?
}

/// What a reader hears when the bytes come in steps, up to a Close or an error.
private func heard(_ bytes: ArraySlice<UInt8>, from reader: WebSocketReader, step: Int) -> Heard {
    let feed = Feed()
    var reader = reader
    var heard = Heard()
    var rest = bytes
    do throws(WebSocketError) {
        while !rest.isEmpty {
            feed.write(rest.prefix(step))
            rest = rest.dropFirst(step)
            while case .bytes = try reader.fill(from: feed.stream) {
                while let event = try reader.next() {
                    switch event {
                    case .message(let piece):
                        heard.events.append(
                            .message(Array(piece.bytes[WebSocketReader.payloadStart...])))
                    case .ping(let payload): heard.events.append(.ping(payload))
                    case .pong(let payload): heard.events.append(.pong(payload))
                    case .close(let payload):
                        heard.events.append(.close(payload))
                        return heard
                    }
                }
            }
        }
    } catch {
        heard.error = "\(error)"
    }
    return heard
}

/// The first byte says who listens.
func webSocket(_ bytes: [UInt8]) {
    guard let kind = bytes.first else { return }
    let limit = 1000
    let reader = WebSocketReader(
        InputBuffer(), expectsMask: kind & 1 == 0, maximumPayload: limit,
        version: kind & 2 == 0 ? .v2 : .v1)
    let frames = bytes.dropFirst()
    let whole = heard(frames, from: reader, step: max(frames.count, 1))
    for step in [1 + frames.count / 200, 50] {
        let split = heard(frames, from: reader, step: step)
        promise(split == whole, "split by \(step): \(split), whole: \(whole)")
    }
    // Written again, in frames of the other side's kind, they are heard as they were.
    var again: [UInt8] = []
    for event in whole.events {
        let (opcode, payload): (Opcode, [UInt8]) =
            switch event {
            case .message(let bytes): (.binary, bytes)
            case .ping(let bytes): (.ping, bytes)
            case .pong(let bytes): (.pong, bytes)
            case .close(let close): (.close, written(close))
            }
        promise(payload.count <= limit, "a message beyond its limit")
        FrameHeader.append(
            opcode: opcode, payloadLength: payload.count, maskingKey: nil, to: &again)
        again += payload
    }
    let server = WebSocketReader(
        InputBuffer(), expectsMask: false, maximumPayload: limit,
        version: kind & 2 == 0 ? .v2 : .v1)
    let parsed = heard(again[...], from: server, step: max(again.count, 1))
    promise(parsed == Heard(events: whole.events), "written again: \(parsed), before: \(whole)")
}

private func written(_ close: ClosePayload) -> [UInt8] {
    var payload: [UInt8] = []
    close.append(to: &payload)
    return payload
}

// MARK: - Bodies

private struct Received: Equatable {
    var data: [UInt8] = []
    var trailers: [UInt8]?
    var hasEnded = false
    var error: String?
    /// Bytes behind the body, which belong to the next message.
    var left = 0
}

/// What is read of a body, in pieces of at most `limit` bytes, when its bytes come in steps and the
/// peer then closes.
private func received(
    _ bytes: ArraySlice<UInt8>, _ framing: BodyFraming, step: Int, limit: Int
) -> Received {
    let feed = Feed()
    var reader = BodyReader(framing, maximumTrailerBytes: 1024)
    var input = InputBuffer()
    var result = Received()
    var rest = bytes
    do throws(BodyError) {
        while true {
            if rest.isEmpty {
                feed.end()
            } else {
                feed.write(rest.prefix(step))
                rest = rest.dropFirst(step)
            }
            reading: while true {
                var piece = Piece(capacity: 0)
                let progress = try reader.read(
                    from: feed.stream, &input, into: &piece, limit: limit)
                promise(piece.count <= limit, "a piece of \(piece.count) bytes")
                result.data += piece.bytes[piece.payload]
                switch progress {
                case .more: continue
                case .nothing: break reading
                case .ended(let trailers):
                    result.hasEnded = true
                    result.trailers = trailers.map { Array($0.bytes) }
                    result.left = rest.count + input.count + feed.unread
                    return result
                }
            }
        }
    } catch {
        result.error = "\(error)"
        // How much came before depends on the pieces.
        result.data = []
    }
    return result
}

/// The first byte says how the end is found.
func body(_ bytes: [UInt8]) {
    guard let kind = bytes.first else { return }
    let framing: BodyFraming =
        switch kind & 3 {
        case 0: .chunked
        case 1: .untilClose
        default: .length(Int(kind >> 2) * 4)
        }
    let content = bytes.dropFirst()
    let whole = received(content, framing, step: max(content.count, 1), limit: 64 * 1024)
    for (step, limit) in [(1 + content.count / 200, 64 * 1024), (max(content.count, 1), 7)] {
        let split = received(content, framing, step: step, limit: limit)
        promise(split == whole, "split by \(step): \(split), whole: \(whole)")
    }
    switch framing {
    case .none: break
    case .length(let length):
        promise(whole.hasEnded == (content.count >= length), "not the end")
        if whole.hasEnded {
            promise(whole.data.elementsEqual(content.prefix(length)), "another body")
            promise(whole.left == content.count - length, "\(whole.left) bytes left")
        }
    case .untilClose:
        promise(whole.hasEnded && whole.data.elementsEqual(content), "another body")
    case .chunked:
        let decoded = decoded(Array(content), step: max(content.count, 1))
        promise(whole.hasEnded == decoded.isEnded, "another end")
        if whole.hasEnded {
            promise(whole.data == decoded.data && whole.left == decoded.rest, "another body")
        }
    }
}
