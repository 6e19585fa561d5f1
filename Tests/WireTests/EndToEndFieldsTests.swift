import Testing

@testable import Wire

@Suite struct EndToEndFieldsTests {
    private func passed(_ text: String, dropping: FieldSet = []) throws -> String {
        let bytes = [UInt8](text + "\r\n")
        var out = [UInt8]("before ")
        try Fields.parse(bytes, bytes.indices).appendEndToEnd(to: &out, dropping: dropping)
        #expect(out.starts(with: [UInt8]("before ")))
        return out.dropFirst(7).text
    }

    @Test(arguments: [
        ("", ""),
        ("A: b\r\n", "A: b\r\n"),
        ("A: b\r\nC: d\r\nE: f\r\n", "A: b\r\nC: d\r\nE: f\r\n"),
        // Blanks round a value become the one that everybody writes.
        ("A:b\r\nC:  d \r\nE: f\t\r\nG: h\r\n", "A: b\r\nC: d\r\nE: f\r\nG: h\r\n"),
        ("A:\tb\r\nC:\r\nD: \r\n", "A: b\r\nC: \r\nD: \r\n"),
        // RFC 9110 §7.6.1.
        ("Connection: close\r\nA: b\r\n", "A: b\r\n"),
        ("A: b\r\nConnection: close\r\nC: d\r\n", "A: b\r\nC: d\r\n"),
        ("A: b\r\nKeep-Alive: timeout=5\r\n", "A: b\r\n"),
        ("Proxy-Connection: keep-alive\r\n", ""),
        ("Proxy-Authenticate: Basic\r\nProxy-Authorization: Basic YQ==\r\n", ""),
        ("TE: trailers\r\nTransfer-Encoding: chunked\r\nUpgrade: h2c\r\n", ""),
        ("Trailer: A\r\n", "Trailer: A\r\n"),
        ("Content-Length: 5\r\n", "Content-Length: 5\r\n"),
        // What Connection lists, wherever it stands.
        ("X-A: 1\r\nConnection: x-a\r\nX-B: 2\r\n", "X-B: 2\r\n"),
        ("Connection: a , close,, b\r\nA: 1\r\nB: 2\r\nC: 3\r\n", "C: 3\r\n"),
        ("Connection: a\r\nA: 1\r\na: 2\r\nAA: 3\r\nConnection: AA\r\n", ""),
        ("Connection: HTTP2-Settings, Upgrade\r\nHTTP2-Settings: x\r\n", ""),
        // But not what frames, routes or authenticates the message.
        (
            "Connection: Content-Length, Host, Authorization, X-Forwarded-For, Cookie\r\n"
                + "Content-Length: 5\r\nHost: a\r\nAuthorization: b\r\nCookie: c\r\n",
            "Content-Length: 5\r\nHost: a\r\nAuthorization: b\r\nCookie: c\r\n"
        ),
    ])
    func `only fields that are meant for the other end pass`(text: String, expected: String) throws
    {
        #expect(try passed(text) == expected)
    }

    @Test func `what the caller drops does not pass either`() throws {
        let text = "Host: a\r\nVia: b\r\nvia: c\r\nX: d\r\nAccept: e\r\n"
        #expect(try passed(text, dropping: [.host, .via]) == "X: d\r\nAccept: e\r\n")
        #expect(
            try passed(text, dropping: [.other]) == "Host: a\r\nVia: b\r\nvia: c\r\nAccept: e\r\n")
    }

    @Test func `trailers lose what may not stand in them`() throws {
        let text = "Content-Length: 5\r\nTransfer-Encoding: chunked\r\nHost: a\r\nSet-Cookie: b\r\n"
        #expect(
            try passed(text + "Server-Timing: x\r\n", dropping: .forbiddenInTrailers)
                == "Server-Timing: x\r\n")
    }

    @Test func `any fields pass as a plain filter would let them`() throws {
        var generator = SeededGenerator(6)
        let names = FieldName.allCases.map(\.text.description).filter { !$0.isEmpty }
        let dropped: FieldSet = [.host, .via]
        for _ in 0..<3000 {
            var lines: [(name: String, value: String)] = []
            for _ in 0..<Int.random(in: 0...10, using: &generator) {
                let known = names.randomElement(using: &generator) ?? ""
                let name =
                    Bool.random(using: &generator) ? known : generator.text(1...2, from: "ab")
                let value = name == "Connection" ? generator.text(0...4, from: "ab,") : "x y"
                lines.append((name, value))
            }
            let listed = lines.filter { $0.name == "Connection" }
                .flatMap { $0.value.split(separator: ",").map(String.init) }
            var expected = ""
            var text = ""
            for (name, value) in lines {
                text += "\(name):\(generator.text(0...2, from: " \t"))\(value)\r\n"
                let id = FieldName.allCases.first { $0.text.description == name } ?? .other
                if FieldSet.hopByHop.contains(id) || dropped.contains(id) { continue }
                if id == .other, listed.contains(name) { continue }
                expected += "\(name): \(value)\r\n"
            }
            #expect(try passed(text, dropping: dropped) == expected)
        }
    }
}
