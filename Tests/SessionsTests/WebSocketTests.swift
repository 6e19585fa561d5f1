// A WebSocket's two halves against each other, and the handshake before them.

import Connections
import Streams
import Testing
import Threads
import Wire

/// What a reader makes of bytes, in short.
private enum Read: Equatable {
    case message(RawPeer.Message)
    case ping([UInt8])
    case pong
    case close(UInt16?, String)

    init(_ event: WebSocketEvent) {
        switch event {
        case .message(let piece):
            let header = MessageHeader.parse(
                piece.bytes, WebSocketReader.payloadStart..<Piece.headroom)
            self = .message(
                RawPeer.Message(
                    type: header?.type ?? 255, flags: header?.flags ?? 255,
                    exchange: header?.exchange ?? 0, payload: Array(piece.bytes[piece.payload])))
        case .ping(let payload): self = .ping(payload)
        case .pong: self = .pong
        case .close(let payload): self = .close(payload.code, payload.reason)
        }
    }
}

/// Reads `wire` as it comes in `pieces`; `early` of it came with the upgrade.
private func read(
    _ wire: [UInt8], early: Int, masked: Bool, _ random: inout SeededGenerator
) throws -> [Read] {
    let (first, second) = socketPair()
    let (far, near) = (first.take(), second.take())
    var reader = WebSocketReader(
        InputBuffer(wire[..<early]), expectsMask: masked, maximumPayload: 65_542)
    var events: [Read] = []
    while let event = try reader.next() { events.append(Read(event)) }
    for piece in random.split(Array(wire[early...])) {
        try far.append(piece)
        try far.send(until: soon)
        while case .bytes = try reader.fill(from: near) {
            while let event = try reader.next() { events.append(Read(event)) }
        }
    }
    return events
}

@Suite struct WebSocketTests {
    /// Around the sizes where lengths change their form, and where messages are framed in place.
    private static let sizes = [0, 1, 119, 120, 4_089, 4_090, 4_091, 65_529, 65_530, 65_536]

    @Test(arguments: [true, false])
    func `what one half writes the other reads`(masked: Bool) throws {
        var random = SeededGenerator(1)
        let (first, second) = socketPair()
        let (far, near) = (first.take(), second.take())
        var writer = WebSocketWriter(masks: masked)
        var expected: [Read] = []
        for (index, size) in WebSocketTests.sizes.enumerated() {
            let body = Body(seed: index, count: size).bytes(from: 0, count: size)
            let id = UInt32.random(in: 0...(.max), using: &random)
            var piece = Piece(body)
            try writer.append(MessageHeader(.data, isEnd: true, exchange: id), &piece, to: far)
            expected.append(.message(.init(type: 3, flags: 1, exchange: id, payload: body)))
            let payload = random.bytes(index * 12)
            writer.append(.ping, payload)
            writer.append(.pong, payload)
            expected += [.ping(payload), .pong]
        }
        writer.append(.close, [3, 232] + [UInt8]("bye"))
        expected.append(.close(1000, "bye"))
        try writer.flush(to: far)
        var wire: [UInt8] = []
        while try !far.send() || near.hasBytes {
            _ = try near.read(appendingTo: &wire, room: 1 << 20)
        }
        for early in [0, 5, wire.count] {
            #expect(
                try read(wire, early: early, masked: masked, &random) == expected)
        }
    }

    @Test(arguments: 0..<30 as Range<UInt64>)
    func `fragments, and what comes between them, in any split`(seed: UInt64) throws {
        var random = SeededGenerator(seed)
        let masked = seed % 2 == 0
        var wire: [UInt8] = []
        var expected: [Read] = []
        for number in 0..<5 {
            let payload = random.bytes(Int.random(in: 0...900, using: &random))
            let message = RawPeer.message(UInt8(number), exchange: 9, payload)
            let fragments = random.split(message) + (Bool.random(using: &random) ? [[]] : [])
            for (index, fragment) in fragments.enumerated() {
                wire += RawPeer.frame(
                    index == 0 ? 2 : 0, fragment, isFinal: index == fragments.count - 1,
                    masked: masked)
                if index < fragments.count - 1, Int.random(in: 0..<10, using: &random) == 0 {
                    wire += RawPeer.frame(9, [UInt8(number)], masked: masked)
                    expected.append(.ping([UInt8(number)]))
                }
            }
            expected.append(
                .message(.init(type: UInt8(number), flags: 0, exchange: 9, payload: payload)))
        }
        let early = Int.random(in: 0...wire.count, using: &random)
        #expect(try read(wire, early: early, masked: masked, &random) == expected)
    }

    @Test(arguments: [true, false])
    func `a length in its longest form is refused where it says too much`(masked: Bool) throws {
        var random = SeededGenerator(1)
        let mask: UInt8 = masked ? 0x80 : 0
        // 65,543 bytes are announced; none has come.
        let wire = [0x82, 127 | mask, 0, 0, 0, 0, 0, 1, 0, 7] + [UInt8](repeating: 0, count: 4)
        let error = #expect(throws: WebSocketError.self) {
            try read(wire, early: wire.count, masked: masked, &random)
        }
        guard case .protocolError("frame too large") = error else {
            Issue.record("\(error.map { "\($0)" } ?? "no error")")
            return
        }
    }

    @Test func `masking keys are not the same twice`() throws {
        let (first, second) = socketPair()
        let (far, near) = (first.take(), second.take())
        var writer = WebSocketWriter(masks: true)
        // More than are drawn at once.
        for _ in 0..<600 { writer.append(.ping, []) }
        try writer.flush(to: far)
        try far.send(until: soon)
        var wire: [UInt8] = []
        while case .bytes = try near.read(appendingTo: &wire, room: 1 << 20) {}
        #expect(wire.count == 600 * 6)
        let keys = stride(from: 0, to: wire.count, by: 6).map { Array(wire[($0 + 2)..<($0 + 6)]) }
        #expect(Set(keys).count == 600)
    }
}

@Suite struct WebSocketUpgradeTests {
    private let key = [UInt8]("dGhlIHNhbXBsZSBub25jZQ==")

    private func request(_ lines: [String]) throws -> RequestHead {
        let text = [UInt8](lines.joined(separator: "\r\n") + "\r\n\r\n")
        return try RequestHead.parse(text, text.indices)
    }

    private func response(_ lines: [String]) throws -> ResponseHead {
        let text = [UInt8](lines.joined(separator: "\r\n") + "\r\n\r\n")
        return try ResponseHead.parse(text, text.indices)
    }

    private let asking = [
        "GET /mirror?name=a HTTP/1.1", "Host: a", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Protocol: magicmirror.v2",
    ]
    private let answering = [
        "HTTP/1.1 101 Switching Protocols", "Connection: Upgrade", "Upgrade: websocket",
        "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
        "Sec-WebSocket-Protocol: magicmirror.v2",
    ]

    @Test func `the handshake is as in RFC 6455`() throws {
        let head = try request(asking)
        #expect(WebSocketUpgrade.isAsked(by: head))
        #expect(WebSocketUpgrade.problem(with: head) == nil)
        #expect(WebSocketUpgrade.version(offeredBy: head) == .v2)
        let answer = WebSocketUpgrade.response(
            to: head, date: "Sun, 06 Nov 1994 08:49:37 GMT")
        let lines = answering + ["Date: Sun, 06 Nov 1994 08:49:37 GMT"]
        #expect(answer.text == lines.joined(separator: "\r\n") + "\r\n\r\n")
        let parsed = try ResponseHead.parse(answer, answer.indices)
        #expect(WebSocketUpgrade.problem(with: parsed, key: key) == nil)
    }

    @Test func `without the subprotocol both ends speak version 1`() throws {
        var lines = asking
        for other in ["A: b", "Sec-WebSocket-Protocol: magicmirror.v3, chat"] {
            lines[6] = other
            let head = try request(lines)
            #expect(WebSocketUpgrade.version(offeredBy: head) == .v1)
            let answer = WebSocketUpgrade.response(
                to: head, date: "Sun, 06 Nov 1994 08:49:37 GMT")
            let parsed = try ResponseHead.parse(answer, answer.indices)
            #expect(parsed.fields.value(.secWebSocketProtocol) == nil)
            #expect(WebSocketUpgrade.problem(with: parsed, key: key) == nil)
            #expect(WebSocketUpgrade.version(chosenBy: parsed) == .v1)
        }
        let selected = try response(answering)
        #expect(WebSocketUpgrade.version(chosenBy: selected) == .v2)
    }

    @Test func `our own request is one that is accepted`() throws {
        let key = WebSocketUpgrade.makeKey()
        let bytes = WebSocketUpgrade.request(
            target: [UInt8]("/mirror?name=a"), host: "relay.test", key: key,
            credential: [UInt8]("mma_secret"), userAgent: "magicmirror/1")
        let head = try RequestHead.parse(bytes, bytes.indices)
        #expect(WebSocketUpgrade.isAsked(by: head))
        #expect(WebSocketUpgrade.problem(with: head) == nil)
        #expect(WebSocketUpgrade.version(offeredBy: head) == .v2)
        #expect(head.fields.value(.authorization)?.text == "Bearer mma_secret")
        let answer = WebSocketUpgrade.response(
            to: head, date: "Sun, 06 Nov 1994 08:49:37 GMT")
        let parsed = try ResponseHead.parse(answer, answer.indices)
        #expect(WebSocketUpgrade.problem(with: parsed, key: key) == nil)
        #expect(WebSocketUpgrade.problem(with: parsed, key: WebSocketUpgrade.makeKey()) != nil)
    }

    @Test(arguments: [
        (0, "POST / HTTP/1.1"), (0, "GET / HTTP/1.0"), (4, "Sec-WebSocket-Version: 8"), (4, "A: b"),
        (5, "Sec-WebSocket-Key: c2hvcnQ="), (5, "Sec-WebSocket-Key: !"), (5, "A: b"),
        (6, "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="),
    ])
    func `a request that breaks RFC 6455 is told what is wrong`(line: Int, with: String) throws {
        var lines = asking
        lines[line] = with
        #expect(WebSocketUpgrade.problem(with: try request(lines)) != nil)
    }

    @Test(arguments: [(2, "Connection: close"), (3, "Upgrade: h2c"), (2, "A: b"), (3, "A: b")])
    func `a request that asks for something else asks for no WebSocket`(
        line: Int, with: String
    ) throws {
        var lines = asking
        lines[line] = with
        #expect(!WebSocketUpgrade.isAsked(by: try request(lines)))
    }

    @Test(arguments: [
        (1, "Connection: close"), (2, "Upgrade: h2c"),
        (3, "Sec-WebSocket-Accept: AAAAAAAAAAAAAAAAAAAAAAAAAAA="), (3, "A: b"),
        (4, "Sec-WebSocket-Protocol: other"),
        (4, "Sec-WebSocket-Protocol: magicmirror.v2\r\nSec-WebSocket-Extensions: x"),
    ])
    func `an answer to something else is refused`(line: Int, with: String) throws {
        var lines = answering
        lines[line] = with
        #expect(WebSocketUpgrade.problem(with: try response(lines), key: key) != nil)
    }
}

extension ByteStream {
    fileprivate var hasBytes: Bool { wait(for: .readable, until: .now).contains(.readable) }
}
