// Bodies out of their framing: whatever way the bytes come, the same body, and never a broken one
// that looks whole.

import Connections
import Streams
import Testing
import Threads
import Wire

/// A connection on which a body comes in the pieces that the test wants.
private struct Delivery {
    let far: ByteStream
    let near: ByteStream
    var input: InputBuffer

    /// - Parameter early: bytes that came with the head.
    init(early: [UInt8] = []) {
        let (first, second) = socketPair()
        far = first.take()
        near = second.take()
        input = InputBuffer(early)
    }

    func send(_ bytes: [UInt8]) throws {
        try far.append(bytes)
        try far.send(until: soon)
    }

    /// What stands behind the body.
    mutating func rest() throws -> [UInt8] {
        while case .bytes = try input.fill(from: near, room: 1_000) {}
        return Array(input.bytes[input.range])
    }
}

private struct Taken {
    var body: [UInt8] = []
    var trailers: [UInt8]?
    var hasEnded = false

    /// Takes what is there, in pieces of a size that changes.
    mutating func take(
        _ reader: inout BodyReader, _ delivery: inout Delivery, _ random: inout SeededGenerator
    ) throws {
        while !hasEnded {
            let limit = [1, 2, 7, 100, 65_536].randomElement(using: &random)!
            var piece = Piece(capacity: 16)
            let progress = try reader.read(
                from: delivery.near, &delivery.input, into: &piece, limit: limit)
            #expect(piece.count <= limit)
            body += piece.bytes[piece.payload]
            switch progress {
            case .more: #expect(piece.count > 0)
            case .nothing:
                #expect(piece.count == 0)
                return
            case .ended(let fields):
                hasEnded = true
                trailers = fields?.bytes
            }
        }
    }
}

private func chunked(
    _ body: [UInt8], _ random: inout SeededGenerator, trailers: String = ""
) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = body[...]
    while !rest.isEmpty {
        let chunk = rest.prefix(Int.random(in: 1...rest.count, using: &random))
        let zeros = String(repeating: "0", count: Int.random(in: 0...3, using: &random))
        let size = String(chunk.count, radix: 16, uppercase: Bool.random(using: &random))
        let extra = ["", ";a", "; a=b", ";a=\"b c\""].randomElement(using: &random)!
        bytes += [UInt8](zeros + size + extra + "\r\n") + chunk + [13, 10]
        rest = rest.dropFirst(chunk.count)
    }
    return bytes + [UInt8]("0\r\n" + trailers + "\r\n")
}

@Suite struct BodyReaderTests {
    @Test(arguments: 0..<60 as Range<UInt64>)
    func `any split of the bytes gives the same body`(seed: UInt64) throws {
        var random = SeededGenerator(seed)
        let body = random.bytes([0, 1, 2, 300, 9_000].randomElement(using: &random)!)
        let trailers = seed % 4 == 0 ? "A: b\r\nC: d\r\n" : ""
        let isChunked = Bool.random(using: &random)
        let framing: BodyFraming = isChunked ? .chunked : .length(body.count)
        let next = [UInt8]("GET / HTTP/1.1\r\n")
        let wire = (isChunked ? chunked(body, &random, trailers: trailers) : body) + next
        let early = Int.random(in: 0...min(wire.count, 200), using: &random)
        var delivery = Delivery(early: Array(wire[..<early]))
        var reader = BodyReader(framing, maximumTrailerBytes: 1_000)
        var taken = Taken()
        try taken.take(&reader, &delivery, &random)
        for piece in random.split(Array(wire[early...])) {
            try delivery.send(piece)
            try taken.take(&reader, &delivery, &random)
        }
        #expect(taken.hasEnded)
        #expect(reader.hasEnded)
        #expect(reader.bytesLeft == 0)
        #expect(taken.body == body)
        #expect((taken.trailers != nil) == (isChunked && !trailers.isEmpty))
        #expect(try delivery.rest() == next)
    }

    @Test(arguments: 0..<10 as Range<UInt64>)
    func `a body until the close ends with the connection`(seed: UInt64) throws {
        var random = SeededGenerator(seed)
        let body = random.bytes(Int.random(in: 0...3_000, using: &random))
        let early = Int.random(in: 0...body.count, using: &random)
        var delivery = Delivery(early: Array(body[..<early]))
        var reader = BodyReader(.untilClose, maximumTrailerBytes: 1_000)
        var taken = Taken()
        for piece in random.split(Array(body[early...])) {
            try delivery.send(piece)
            try taken.take(&reader, &delivery, &random)
            #expect(!taken.hasEnded)
        }
        delivery.far.end()
        try taken.take(&reader, &delivery, &random)
        #expect(taken.hasEnded)
        #expect(taken.body == body)
    }

    @Test(arguments: [BodyFraming.none, .length(0)])
    func `a body of nothing has ended, and takes nothing`(framing: BodyFraming) throws {
        var delivery = Delivery(early: [1, 2])
        var reader = BodyReader(framing, maximumTrailerBytes: 1_000)
        #expect(reader.hasEnded)
        var random = SeededGenerator(1)
        var taken = Taken()
        try taken.take(&reader, &delivery, &random)
        #expect(taken.hasEnded)
        #expect(taken.body.isEmpty)
        #expect(try delivery.rest() == [1, 2])
    }

    @Test func `a length is counted down`() throws {
        var delivery = Delivery(early: [1, 2, 3])
        var reader = BodyReader(.length(5), maximumTrailerBytes: 1_000)
        #expect(reader.bytesLeft == 5)
        var piece = Piece(capacity: 16)
        guard
            case .more = try reader.read(
                from: delivery.near, &delivery.input, into: &piece, limit: 2)
        else {
            Issue.record("no bytes")
            return
        }
        #expect(reader.bytesLeft == 3)
        #expect(!reader.hasEnded)
        #expect(BodyReader(.chunked, maximumTrailerBytes: 1).bytesLeft == nil)
        #expect(BodyReader(.untilClose, maximumTrailerBytes: 1).bytesLeft == nil)
    }

    @Test func `a body cut anywhere is truncated, however often one looks`() throws {
        var random = SeededGenerator(3)
        let body = random.bytes(40)
        let wires: [(BodyFraming, [UInt8])] = [
            (.length(40), body), (.chunked, chunked(body, &random, trailers: "A: b\r\n")),
        ]
        for (framing, wire) in wires {
            for end in 0..<wire.count {
                var delivery = Delivery()
                try delivery.send(Array(wire[..<end]))
                delivery.far.end()
                var reader = BodyReader(framing, maximumTrailerBytes: 1_000)
                var taken = Taken()
                // The end may be seen only by the second look, as by the first of a waiting reader.
                try? taken.take(&reader, &delivery, &random)
                for _ in 0..<2 {
                    expectTruncated {
                        try taken.take(&reader, &delivery, &random)
                    }
                }
                #expect(!taken.hasEnded)
                #expect(!reader.hasEnded)
                #expect(body.starts(with: taken.body))
            }
        }
    }

    private func expectTruncated(_ body: () throws -> Void) {
        let error = #expect(throws: BodyError.self) { try body() }
        guard case .truncated = error else {
            Issue.record("\(error.map { "\($0)" } ?? "no error")")
            return
        }
    }

    @Test(arguments: [
        ("x\r\n", ChunkError.size), ("\r\n", .size), ("5\n", .lineEnd), ("3\r\nabcd\r\n", .dataEnd),
        ("1000000000000000\r\n", .sizeTooLarge), ("0\r\nbad\r\n\r\n", .trailers),
        ("5;\u{1}\r\n", .extensionCharacter),
    ])
    func `a broken chunk is broken, however often one looks`(
        text: String, expected: ChunkError
    ) throws {
        var random = SeededGenerator(1)
        var delivery = Delivery()
        try delivery.send([UInt8]("4\r\ngood\r\n" + text + "0\r\n\r\n"))
        var reader = BodyReader(.chunked, maximumTrailerBytes: 1_000)
        var taken = Taken()
        for _ in 0..<3 {
            let error = #expect(throws: BodyError.self) {
                try taken.take(&reader, &delivery, &random)
            }
            guard case .malformed(expected) = error else {
                Issue.record("\(error.map { "\($0)" } ?? "no error")")
                return
            }
        }
        #expect(!taken.hasEnded)
        #expect(!reader.hasEnded)
    }

    @Test func `trailers have their limit`() throws {
        var random = SeededGenerator(1)
        var delivery = Delivery()
        let trailers = String(repeating: "A: b\r\n", count: 20)
        try delivery.send([UInt8]("0\r\n" + trailers + "\r\n"))
        var reader = BodyReader(.chunked, maximumTrailerBytes: 100)
        var taken = Taken()
        let error = #expect(throws: BodyError.self) {
            try taken.take(&reader, &delivery, &random)
        }
        guard case .malformed(.trailersTooLarge) = error else {
            Issue.record("\(error.map { "\($0)" } ?? "no error")")
            return
        }
    }
}
