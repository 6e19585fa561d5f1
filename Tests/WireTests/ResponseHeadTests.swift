import Testing

@testable import Wire

@Suite struct ResponseHeadTests {
    private func parse(_ text: String) throws -> ResponseHead {
        let bytes = [UInt8](text)
        return try ResponseHead.parse(bytes, bytes.indices)
    }

    @Test func `the example of RFC 9112 is read`() throws {
        let head = try parse(
            "HTTP/1.1 200 OK\r\nDate: Mon, 27 Jul 2009 12:28:53 GMT\r\nServer: Apache\r\n"
                + "Content-Length: 51\r\nVary: Accept-Encoding\r\nContent-Type: text/plain\r\n\r\n")
        #expect(head.status == 200)
        #expect(head.bytes[head.reason].text == "OK")
        #expect(head.minorVersion == 1)
        #expect(head.fields.lines.count == 5)
        #expect(head.fields.value(.contentType)?.text == "text/plain")
    }

    @Test(arguments: [
        ("HTTP/1.1 200 OK", 200, "OK", 1),
        ("HTTP/1.0 404 Not Found", 404, "Not Found", 0),
        ("HTTP/1.1 599 ", 599, "", 1),
        ("HTTP/1.1 100", 100, "", 1),
        ("HTTP/1.7 204 a\tb é", 204, "a\tb é", 1),
    ])
    func `a status line is read`(line: String, status: Int, reason: String, minor: Int) throws {
        let head = try parse(line + "\r\n\r\n")
        #expect(head.status == status)
        #expect(head.bytes[head.reason].text == reason)
        #expect(head.minorVersion == minor)
    }

    @Test(
        arguments: [
            ("", .statusLine),
            ("HTTP/1.1", .statusLine),
            ("HTTP/1.1 ", .statusLine),
            ("HTTP/1.1 20", .statusLine),
            ("HTTP/1.1 2000 OK", .statusLine),
            ("HTTP/1.1 099 OK", .statusLine),
            ("HTTP/1.1 600 OK", .statusLine),
            ("HTTP/1.1 +20 OK", .statusLine),
            ("HTTP/1.1 2x0 OK", .statusLine),
            ("HTTP/1.1  200 OK", .statusLine),
            ("HTTP/1.1\t200 OK", .statusLine),
            ("HTTP/1.1 200\tOK", .statusLine),
            ("HTTP/1.1 200OK", .statusLine),
            ("http/1.1 200 OK", .statusLine),
            ("ICY 200 OK", .statusLine),
            ("<html>", .statusLine),
            ("HTTP/1.1 200 O\u{0}K", .controlByte),
            ("HTTP/1.1 200 O\rK", .bareCarriageReturn),
            ("HTTP/1.1 200 O\nK", .bareLineFeed),
            ("HTTP/1.1 200\nK", .bareLineFeed),
            ("\r\nHTTP/1.1 200 OK", .statusLine),
        ] as [(String, Malformation)])
    func `a malformed status line is refused`(line: String, expected: Malformation) {
        #expect(throws: HeadError.malformed(expected)) { try parse(line + "\r\n\r\n") }
    }

    @Test(arguments: ["HTTP/2 200 OK", "HTTP/2.0 200 OK", "HTTP/0.9 200 OK"])
    func `another major version is not supported`(line: String) {
        #expect(throws: HeadError.unsupportedVersion) { try parse(line + "\r\n\r\n") }
    }

    @Test(arguments: [(100, true), (103, true), (199, true), (101, false), (200, false)])
    func `1xx but 101 is followed by another head`(status: Int, isInterim: Bool) throws {
        #expect(try parse("HTTP/1.1 \(status) x\r\n\r\n").isInterim == isInterim)
    }

    @Test(arguments: [
        ("HTTP/1.1 200 x\r\n\r\n", false),
        ("HTTP/1.1 200 x\r\nConnection: Close\r\n\r\n", true),
        ("HTTP/1.0 200 x\r\n\r\n", true),
        ("HTTP/1.0 200 x\r\nConnection: keep-alive\r\n\r\n", false),
    ])
    func `the connection is kept as RFC 9112 says`(text: String, wantsClose: Bool) throws {
        #expect(try parse(text).wantsClose == wantsClose)
    }

    @Test func `a head without its end or with bytes behind it is refused`() {
        let text = [UInt8]("HTTP/1.1 200 OK\r\nA: b\r\n\r\n")
        for count in text.indices {
            #expect(throws: HeadError.self) { try ResponseHead.parse(text, 0..<count) }
        }
        #expect(throws: HeadError.malformed(.bytesAfterEnd)) {
            try parse("HTTP/1.1 200 OK\r\n\r\nx")
        }
    }

    @Test func `what is accepted is written back so that it reads as the same`() throws {
        var generator = SeededGenerator(5)
        for _ in 0..<2000 {
            let status = Int.random(in: 100...599, using: &generator)
            let reason = generator.text(0...20, from: printable)
            let name = generator.text(1...10, from: "abc-")
            let value = generator.text(0...20, from: printable)
            let head = try parse("HTTP/1.1 \(status) \(reason)\r\nx\(name): \(value)\r\n\r\n")
            var out: [UInt8] = []
            HeadWriter.statusLine(head.status, reason: head.bytes[head.reason], to: &out)
            head.fields.appendEndToEnd(to: &out)
            HeadWriter.end(to: &out)
            let again = try ResponseHead.parse(out, out.indices)
            #expect(again.status == status)
            #expect(again.bytes[again.reason].text == reason)
            #expect(
                again.bytes[again.fields.lines[0].value] == head.bytes[head.fields.lines[0].value])
        }
    }
}
