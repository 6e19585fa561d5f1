import Testing

@testable import Wire

@Suite struct HeadScannerTests {
    private func end(_ text: String, _ limits: HeadLimits = HeadLimits()) throws -> Int? {
        var scanner = HeadScanner()
        let bytes = [UInt8](text)
        return try scanner.end(in: bytes, bytes.indices, limits: limits)
    }

    @Test(
        arguments: [
            ("", nil),
            ("GET / HTTP/1.1\r\nHost: a\r\n", nil),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r", nil),
            ("GET / HTTP/1.1\r\n\r\n", 18),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", 27),
            ("GET / HTTP/1.1\r\nHost: a\r\n\r\nbody\r\n\r\n", 27),
            ("\r\nGET / HTTP/1.1\r\n\r\n", 20),
            ("\r\n\r\n\r\nGET / HTTP/1.1\r\n\r\n", 24),
            ("\r\n\r\n", nil),
        ] as [(String, Int?)])
    func `the end is behind the first empty line after content`(text: String, expected: Int?) throws
    {
        #expect(try end(text) == expected)
    }

    @Test(
        arguments: [
            ("GET / HTTP/1.1\nHost: a\r\n\r\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\nHost: a\n\n", .bareLineFeed),
            ("GET / HTTP/1.1\r\n\n", .bareLineFeed),
            ("\nGET / HTTP/1.1\r\n", .notARequest),
            ("\u{16}\u{3}\u{1}\u{2}", .notARequest),
            (" GET", .notARequest),
            ("\r\n{", .notARequest),
            ("<html>", .notARequest),
        ] as [(String, Malformation)])
    func `what cannot become a head is refused at once`(text: String, expected: Malformation) {
        #expect(throws: HeadError.malformed(expected)) { try end(text) }
    }

    @Test func `a head is too large as soon as it is certain`() throws {
        let text = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
        #expect(try end(text, HeadLimits(maximumHeadBytes: 27)) == 27)
        #expect(try end(text + text, HeadLimits(maximumHeadBytes: 27)) == 27)
        #expect(throws: HeadError.headTooLarge) {
            try end(text, HeadLimits(maximumHeadBytes: 26))
        }
        let limits = HeadLimits(maximumHeadBytes: 10)
        #expect(try end("GET /1234", limits) == nil)
        #expect(throws: HeadError.headTooLarge) { try end("GET /12345", limits) }
        #expect(throws: HeadError.headTooLarge) {
            try end(String(repeating: "\r\n", count: 5), limits)
        }
    }

    @Test func `any split of the bytes gives the same end`() throws {
        var generator = SeededGenerator(3)
        for _ in 0..<3000 {
            var head = generator.text(1...60, from: "abc") + "\r\n"
            for _ in 0..<Int.random(in: 0...6, using: &generator) {
                head += generator.text(1...30, from: "abc: \u{E9}") + "\r\n"
            }
            head += "\r\n"
            let prefix = [UInt8](repeating: 0x0A, count: Int.random(in: 0...5, using: &generator))
            let lead = Bool.random(using: &generator) ? [UInt8]("\r\n") : []
            let stream = lead + [UInt8](head) + [UInt8]("next\r\n\r\n")
            var scanner = HeadScanner()
            var buffer = prefix
            var found: Int?
            for piece in generator.split(stream) {
                buffer += piece
                found = try scanner.end(in: buffer, prefix.count..<buffer.count)
                if found != nil { break }
            }
            #expect(found == prefix.count + lead.count + head.utf8.count)
        }
    }

    @Test func `the buffer may move between two calls`() throws {
        var scanner = HeadScanner()
        let first = [UInt8]("xxxGET / HTTP/1.1\r\nHos")
        #expect(try scanner.end(in: first, 3..<first.count) == nil)
        let moved = [UInt8]("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try scanner.end(in: moved, moved.indices) == moved.count)
    }
}
