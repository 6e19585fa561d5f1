import Testing

@testable import Wire

@Suite struct ChunkedTests {
    /// What a body came to.
    private struct Outcome: Equatable {
        var data = ""
        var trailers: String?
        var isEnded = false
        var error: ChunkError?
        /// What was left in the buffer behind the end.
        var rest = ""
    }

    /// Decodes pieces that arrive one after the other, with other bytes before each in the buffer.
    private func decode(_ pieces: [[UInt8]], maximumTrailerBytes: Int = 8192) -> Outcome {
        var decoder = ChunkedDecoder(maximumTrailerBytes: maximumTrailerBytes)
        var outcome = Outcome()
        var data: [UInt8] = []
        defer { outcome.data = data.text }
        for piece in pieces {
            if outcome.isEnded {
                outcome.rest += piece.text
                continue
            }
            let buffer = [0x0D, 0x0A, 0x30] + piece
            var range = 3..<buffer.count
            reading: while true {
                do {
                    let start = range.lowerBound
                    switch try decoder.next(buffer, &range) {
                    case .needMore:
                        #expect(range.isEmpty)
                        break reading
                    case .data(let bytes):
                        #expect(!bytes.isEmpty && bytes.lowerBound >= start)
                        #expect(bytes.upperBound == range.lowerBound)
                        data += buffer[bytes]
                    case .end(let trailers):
                        outcome.isEnded = true
                        outcome.trailers = trailers.map { $0.bytes.text }
                        outcome.rest += buffer[range].text
                        break reading
                    }
                } catch {
                    outcome.error = error
                    outcome.data = data.text
                    return outcome
                }
            }
        }
        outcome.data = data.text
        return outcome
    }

    private func decode(_ text: String, maximumTrailerBytes: Int = 8192) -> Outcome {
        decode([[UInt8](text)], maximumTrailerBytes: maximumTrailerBytes)
    }

    @Test(
        arguments: [
            ("0\r\n\r\n", "", nil, ""),
            (
                "4\r\nWiki\r\n5\r\npedia\r\nE\r\n in\r\n\r\nchunks.\r\n0\r\n\r\n",
                "Wikipedia in\r\n\r\nchunks.", nil, ""
            ),
            ("5\r\nhello\r\n0\r\n\r\nHTTP/1.1", "hello", nil, "HTTP/1.1"),
            ("5;a=b;c=\"d e\"\r\nhello\r\n0;last\r\n\r\n", "hello", nil, ""),
            ("5 \t;a\r\nhello\r\n0 ;b\r\n\r\n", "hello", nil, ""),
            ("000000000000005\r\nhello\r\n000\r\n\r\n", "hello", nil, ""),
            ("a\r\n0123456789\r\nA\r\n0123456789\r\n0\r\n\r\n", "01234567890123456789", nil, ""),
            (
                "0\r\nServer-Timing: a\r\nX: b\r\n\r\nnext", "", "Server-Timing: a\r\nX: b\r\n\r\n",
                "next"
            ),
        ] as [(String, String, String?, String)])
    func `a whole body is decoded`(
        text: String, data: String, trailers: String?, rest: String
    ) {
        let expected = Outcome(data: data, trailers: trailers, isEnded: true, rest: rest)
        #expect(decode(text) == expected)
    }

    @Test(
        arguments: [
            ("\r\n", .size),
            ("g\r\n", .size),
            (" 5\r\nhello", .size),
            ("-5\r\n", .size),
            ("+5\r\n", .size),
            ("0x5\r\nhello", .size),
            ("5 \r\nhello", .size),
            ("5 5\r\nhello", .size),
            ("5,5\r\nhello", .size),
            (";a\r\n", .size),
            ("5\u{0}\r\n", .size),
            ("5\nhello", .lineEnd),
            ("5\rhello", .lineEnd),
            ("5\r\rhello", .lineEnd),
            ("5;a\rb\r\nhello", .lineEnd),
            ("5;a\nhello\r\n0\r\n\r\n", .extensionCharacter),
            ("5;a\u{0}\r\nhello", .extensionCharacter),
            ("0000000000000005\r\nhello", .sizeTooLarge),
            ("ffffffffffffffff\r\n", .sizeTooLarge),
            ("fffffffffffffffffffffff", .sizeTooLarge),
            ("5\r\nhelloo\r\n", .dataEnd),
            ("5\r\nhello\n0\r\n\r\n", .dataEnd),
            ("5\r\nhello\r0\r\n\r\n", .dataEnd),
            ("5\r\nhello0\r\n\r\n", .dataEnd),
            ("0\r\n\n", .trailers),
            ("0\r\nA: b\n\n", .trailers),
            ("0\r\nA\r\n\r\n", .trailers),
            ("0\r\nA : b\r\n\r\n", .trailers),
            ("0\r\nA: b\r\n c\r\n\r\n", .trailers),
            ("0\r\n : b\r\n\r\n", .trailers),
        ] as [(String, ChunkError)])
    func `a malformed body is refused`(text: String, expected: ChunkError) {
        let outcome = decode(text)
        #expect(outcome.error == expected)
        #expect(!outcome.isEnded)
        let single = decode([UInt8](text).map { [$0] })
        #expect(single.error == expected)
        #expect(single.data == outcome.data)
    }

    @Test func `the beginning of a body never looks like its end`() {
        let text = [UInt8]("4;a=b\r\nWiki\r\n0\r\nA: b\r\n\r\n")
        for count in 0..<text.count {
            let outcome = decode([Array(text[..<count])])
            #expect(!outcome.isEnded && outcome.error == nil)
        }
        #expect(decode([text]).isEnded)
    }

    @Test func `the largest size is read, without its data`() throws {
        var decoder = ChunkedDecoder()
        let buffer = [UInt8]("fffffffffffffff\r\nx")
        var range = buffer.indices
        guard case .data(let data) = try decoder.next(buffer, &range) else {
            Issue.record("no data")
            return
        }
        #expect(data == 17..<18)
    }

    @Test func `extensions are limited in each chunk and in all together`() {
        let line = "1;" + String(repeating: "a", count: 1023)
        #expect(decode(line + "\r\nx\r\n0\r\n\r\n").isEnded)
        #expect(decode(line + "a\r\nx\r\n0\r\n\r\n").error == .extensionsTooLong)
        #expect(decode(line + "\r\nx\r\n1;\r\n").error == .extensionsTooLong)
        #expect(decode("1" + String(repeating: " ", count: 2000)).error == .extensionsTooLong)
    }

    @Test func `trailers are limited`() {
        let trailers = "A: b\r\n\r\n"
        #expect(decode("0\r\n" + trailers, maximumTrailerBytes: 8).trailers == trailers)
        #expect(decode("0\r\n" + trailers, maximumTrailerBytes: 7).error == .trailersTooLarge)
        let many = String(repeating: "A: b\r\n", count: 200)
        #expect(decode("0\r\n\(many)\r\n").error == .trailersTooLarge)
    }

    @Test func `behind the end there is nothing more`() throws {
        var decoder = ChunkedDecoder()
        let buffer = [UInt8]("0\r\n\r\n5\r\nhello")
        var range = buffer.indices
        for _ in 0..<2 {
            guard case .end(nil) = try decoder.next(buffer, &range) else {
                Issue.record("not the end")
                return
            }
            #expect(range == 5..<buffer.count)
        }
    }

    @Test func `any split of the bytes gives the same body`() {
        var generator = SeededGenerator(7)
        for round in 0..<2000 {
            var body: [UInt8] = []
            var expected = Outcome(isEnded: true, rest: "rest")
            for _ in 0..<Int.random(in: 0...5, using: &generator) {
                let data = [UInt8](generator.text(1...300, from: printable + "\r\n"))
                appendChunkHeader(size: data.count, to: &body)
                body += data + [0x0D, 0x0A]
                expected.data += data.text
            }
            body += [UInt8]("0" + (round.isMultiple(of: 3) ? ";e=\"f\"" : "") + "\r\n")
            if round.isMultiple(of: 2) {
                expected.trailers = "A: \(generator.text(0...9, from: "bcd"))\r\nE:f\r\n\r\n"
            }
            body += [UInt8](expected.trailers ?? "\r\n") + [UInt8]("rest")
            #expect(decode(generator.split(body)) == expected)
        }
    }

    @Test func `one changed byte never traps`() {
        let text = [UInt8]("5;a=b\r\nhello\r\n3\r\nabc\r\n0\r\nA: b\r\n\r\n")
        for place in text.indices {
            for byte in [0, 9, 0x0A, 0x0D, 0x20, 0x30, 0x35, 0x3A, 0x3B, 0x61, 0x7F, 0xFF]
                as [UInt8]
            {
                var changed = text
                changed[place] = byte
                let outcome = decode([changed])
                let pieces = decode(changed.map { [$0] })
                #expect(outcome == pieces)
            }
        }
    }

    @Test(arguments: [
        (0, "0\r\n"), (1, "1\r\n"), (15, "f\r\n"), (16, "10\r\n"), (255, "ff\r\n"),
        (256, "100\r\n"),
        (0x1A2B, "1a2b\r\n"), (65536, "10000\r\n"), (Int.max, "7fffffffffffffff\r\n"),
    ])
    func `a size line is written`(size: Int, text: String) {
        var out: [UInt8] = []
        appendChunkHeader(size: size, to: &out)
        #expect(out.text == text)
    }
}
