import Testing

@testable import Wire

@Suite struct RequestHeadTests {
    private func parse(_ text: String, _ limits: HeadLimits = HeadLimits()) throws -> RequestHead {
        let bytes = [UInt8](text)
        return try RequestHead.parse(bytes, bytes.indices, limits: limits)
    }

    /// A head with this request line and, where the target names none, the host `a`.
    private func parse(line: String, host: String? = "a") throws -> RequestHead {
        try parse(line + "\r\n" + (host.map { "Host: \($0)\r\n" } ?? "") + "\r\n")
    }

    @Test func `the example of RFC 9112 is read`() throws {
        let head = try parse(
            "GET /hello.txt HTTP/1.1\r\nUser-Agent: curl/7.64.1\r\nHost: www.example.com\r\n"
                + "Accept-Language: en, mi\r\n\r\n")
        #expect(head.bytes[head.method].text == "GET")
        #expect(head.methodIs("GET") && !head.methodIs("get") && !head.methodIs("GETS"))
        #expect(head.bytes[head.target].text == "/hello.txt")
        #expect(head.minorVersion == 1)
        #expect(head.authority?.text == "www.example.com")
        #expect(head.fields.value(.userAgent)?.text == "curl/7.64.1")
        #expect(head.fields.value(named: "accept-language")?.text == "en, mi")
        #expect(!head.wantsClose)
    }

    @Test func `a head in the middle of a buffer is read, and its ranges begin at its first byte`()
        throws
    {
        let head = [UInt8]("GET /a?b HTTP/1.1\r\nHost: c\r\n\r\n")
        let buffer = [1, 2, 3] + head + [4, 5]
        let request = try RequestHead.parse(buffer, 3..<(3 + head.count))
        #expect(request.bytes == head)
        #expect(request.method == 0..<3)
        #expect(request.target == 4..<8)
    }

    @Test(
        arguments: [
            ("GET / HTTP/1.1", "/", nil, "a"),
            ("GET /a/b%20c?d=e?f HTTP/1.1", "/a/b%20c", "d=e?f", "a"),
            ("GET /? HTTP/1.1", "/", "", "a"),
            ("GET //x HTTP/1.1", "//x", nil, "a"),
            ("GET /{a}|\"<>\\^` HTTP/1.1", "/{a}|\"<>\\^`", nil, "a"),
            ("GET http://a HTTP/1.1", "", nil, "a"),
            ("GET http://a? HTTP/1.1", "", "", "a"),
            ("GET http://A/p?q HTTP/1.1", "/p", "q", "A"),
            ("GET HTTPS://a/p HTTP/1.1", "/p", nil, "a"),
            ("OPTIONS * HTTP/1.1", "", nil, "a"),
            ("CONNECT a HTTP/1.1", "", nil, "a"),
        ] as [(String, String, String?, String)])
    func `a target is read in each of its forms`(
        line: String, path: String, query: String?, authority: String
    ) throws {
        let head = try parse(line: line)
        #expect(head.path.text == path)
        #expect(head.query?.text == query)
        #expect(head.authority?.text == authority)
    }

    @Test func `the forms are told apart`() throws {
        #expect(try parse(line: "OPTIONS * HTTP/1.1").form == .asterisk)
        #expect(try parse(line: "CONNECT a:443 HTTP/1.1", host: "a:443").form == .authority(8..<13))
        #expect(
            try parse(line: "GET https://a/b?c HTTP/1.1").form
                == .absolute(isSecure: true, authority: 12..<13, path: 13..<15, query: 16..<17))
        #expect(
            try parse(line: "GET http://a HTTP/1.1").form
                == .absolute(isSecure: false, authority: 11..<12, path: 12..<12, query: nil))
        #expect(
            try parse(line: "GET /b?c HTTP/1.1").form == .origin(path: 4..<6, query: 7..<8))
    }

    @Test(
        arguments: [
            ("", .notARequest),
            (" GET / HTTP/1.1", .notARequest),
            ("GET", .method),
            ("GET\t/ HTTP/1.1", .method),
            ("G(T / HTTP/1.1", .method),
            ("GET  / HTTP/1.1", .requestLine),
            ("GET /", .target),
            ("GET / ", .requestLine),
            ("GET /  HTTP/1.1", .requestLine),
            ("GET / HTTP/1.1 ", .controlByte),
            ("GET / HTTP/1.10", .controlByte),
            ("GET / HTTP/1.", .requestLine),
            ("GET / HTTP/1.x", .requestLine),
            ("GET / http/1.1", .requestLine),
            ("GET / HTTP 1.1", .requestLine),
            ("GET / HTTP/x.1", .requestLine),
            ("GET / x HTTP/1.1", .requestLine),
            ("GET /\u{0} HTTP/1.1", .target),
            ("GET /\t HTTP/1.1", .target),
            ("GET /\u{7F} HTTP/1.1", .target),
            ("GET /é HTTP/1.1", .target),
            ("GET /#f HTTP/1.1", .target),
            ("GET /a\rb HTTP/1.1", .target),
            ("GET a HTTP/1.1", .target),
            ("GET ?a HTTP/1.1", .target),
            ("GET ftp://a/ HTTP/1.1", .target),
            ("GET http:///a HTTP/1.1", .target),
            ("GET http://?a HTTP/1.1", .target),
            ("GET http:a HTTP/1.1", .target),
            ("GET http://u@a/ HTTP/1.1", .target),
            ("GET http://a:b/ HTTP/1.1", .target),
            ("GET http://a\\b/ HTTP/1.1", .target),
            ("GET a:80 HTTP/1.1", .target),
            ("GET * HTTP/1.1", .targetForm),
            ("CONNECT / HTTP/1.1", .targetForm),
            ("CONNECT http://a/ HTTP/1.1", .targetForm),
            ("CONNECT * HTTP/1.1", .targetForm),
        ] as [(String, Malformation)])
    func `a malformed request line is refused`(line: String, expected: Malformation) {
        // Not an empty first line: those are skipped.
        let text = line.isEmpty ? ":" : line
        #expect(throws: HeadError.malformed(expected)) { try parse(line: text) }
    }

    @Test(arguments: ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / HTTP/3.1", "PRI * HTTP/2.0"])
    func `another major version is not supported`(line: String) {
        #expect(throws: HeadError.unsupportedVersion) { try parse(line: line) }
    }

    @Test(arguments: [("HTTP/1.0", 0), ("HTTP/1.1", 1), ("HTTP/1.2", 1), ("HTTP/1.9", 1)])
    func `a minor version above 1 counts as 1`(version: String, minor: Int) throws {
        #expect(try parse(line: "GET / \(version)").minorVersion == minor)
    }

    @Test func `a line end of the request line must be whole`() {
        #expect(throws: HeadError.malformed(.bareLineFeed)) {
            try parse("GET / HTTP/1.1\nHost: a\r\n\r\n")
        }
        #expect(throws: HeadError.malformed(.bareCarriageReturn)) {
            try parse("GET / HTTP/1.1\rHost: a\r\n\r\n")
        }
    }

    @Test func `empty lines before the request line are skipped, half ones are not`() throws {
        #expect(try parse("\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n").method == 0..<3)
        #expect(throws: HeadError.malformed(.notARequest)) {
            try parse("\nGET / HTTP/1.1\r\nHost: a\r\n\r\n")
        }
        #expect(throws: HeadError.malformed(.notARequest)) { try parse("\r\n\r\n") }
    }

    @Test(
        arguments: [
            ("Host: a\r\n", nil),
            ("Host: a.b-c_d~e:8080\r\n", nil),
            ("Host: a:\r\n", nil),
            ("Host: 127.0.0.1:80\r\n", nil),
            ("Host: [::1]\r\n", nil),
            ("Host: [2001:db8::192.0.2.1]:443\r\n", nil),
            ("Host:\r\n", nil),
            ("", .missingHost),
            ("Host: a\r\nHost: a\r\n", .repeatedHost),
            ("Host: a\r\nhost: b\r\n", .repeatedHost),
            ("Host: a b\r\n", .host),
            ("Host: a, b\r\n", .host),
            ("Host: a,b\r\n", .host),
            ("Host: u@a\r\n", .host),
            ("Host: a/b\r\n", .host),
            ("Host: a?b\r\n", .host),
            ("Host: a#b\r\n", .host),
            ("Host: a\\b\r\n", .host),
            ("Host: a%41\r\n", .host),
            ("Host: :80\r\n", .host),
            ("Host: a:80:80\r\n", .host),
            ("Host: a:8x\r\n", .host),
            ("Host: a:123456\r\n", .host),
            ("Host: ::1\r\n", .host),
            ("Host: [::1\r\n", .host),
            ("Host: []\r\n", .host),
            ("Host: [::1]a\r\n", .host),
            ("Host: [g]\r\n", .host),
            ("Host: é\r\n", .host),
        ] as [(String, Malformation?)])
    func `there is one host, and it is a host`(field: String, expected: Malformation?) throws {
        let text = "GET / HTTP/1.1\r\n\(field)\r\n"
        if let expected {
            #expect(throws: HeadError.malformed(expected)) { try parse(text) }
        } else {
            _ = try parse(text)
        }
    }

    @Test func `HTTP 1.0 needs no host, and may not repeat it either`() throws {
        #expect(try parse(line: "GET / HTTP/1.0", host: nil).authority == nil)
        #expect(throws: HeadError.malformed(.repeatedHost)) {
            try parse("GET / HTTP/1.0\r\nHost: a\r\nHost: a\r\n\r\n")
        }
    }

    @Test(arguments: ["http://b/", "http://a:80/", "http://aa/"])
    func `a host other than that of the target is refused`(target: String) {
        #expect(throws: HeadError.malformed(.differentHost)) {
            try parse(line: "GET \(target) HTTP/1.1", host: "a")
        }
    }

    @Test func `the limits hold, and what reaches them passes`() throws {
        let text = "GET /123456 HTTP/1.1\r\nHost: a\r\nB: c\r\n\r\n"
        let count = text.utf8.count
        _ = try parse(
            text, HeadLimits(maximumHeadBytes: count, maximumFields: 2, maximumTargetBytes: 7))
        #expect(throws: HeadError.headTooLarge) {
            try parse(text, HeadLimits(maximumHeadBytes: count - 1))
        }
        #expect(throws: HeadError.tooManyFields) { try parse(text, HeadLimits(maximumFields: 1)) }
        #expect(throws: HeadError.targetTooLong) {
            try parse(text, HeadLimits(maximumTargetBytes: 6))
        }
    }

    @Test func `more connection options than any real message has are refused`() throws {
        let options = (1...32).map { "o\($0)" }.joined(separator: ", ")
        _ = try parse("GET / HTTP/1.1\r\nHost: a\r\nConnection: \(options)\r\n\r\n")
        #expect(throws: HeadError.malformed(.connection)) {
            try parse(
                "GET / HTTP/1.1\r\nHost: a\r\nConnection: \(options)\r\nConnection: x\r\n\r\n")
        }
    }

    @Test(arguments: [
        ("HTTP/1.1", "", false),
        ("HTTP/1.1", "Connection: close\r\n", true),
        ("HTTP/1.1", "Connection: keep-alive, CLOSE\r\n", true),
        ("HTTP/1.1", "Connection: Upgrade\r\n", false),
        ("HTTP/1.0", "", true),
        ("HTTP/1.0", "Connection: Keep-Alive\r\n", false),
        ("HTTP/1.0", "Connection: keep-alive, close\r\n", true),
    ])
    func `the connection is kept as RFC 9112 says`(
        version: String, field: String, wantsClose: Bool
    ) throws {
        let head = try parse("GET / \(version)\r\nHost: a\r\n\(field)\r\n")
        #expect(head.wantsClose == wantsClose)
    }

    @Test func `what is accepted is written back so that it reads as the same`() throws {
        var generator = SeededGenerator(4)
        for _ in 0..<3000 {
            let method = generator.text(1...10, from: tokenCharacters)
            let target = "/" + generator.text(0...40, from: "ab/?&=%20{}\"[]|~")
            var text = "\(method == "CONNECT" ? "GET" : method) \(target) HTTP/1.1\r\nHost: a:1\r\n"
            for _ in 0..<Int.random(in: 0...8, using: &generator) {
                let name = generator.text(1...20, from: tokenCharacters)
                let blanks = generator.text(0...2, from: " \t")
                let value = generator.text(0...20, from: printable + "\t")
                guard name.lowercased() != "host", name.lowercased() != "connection" else {
                    continue
                }
                text += "\(name):\(blanks)\(value)\(blanks)\r\n"
            }
            let head = try parse(text + "\r\n")
            var out: [UInt8] = []
            HeadWriter.requestLine(
                method: head.bytes[head.method], target: head.bytes[head.target], to: &out)
            for line in head.fields.lines { HeadWriter.copy(line, from: head.fields, to: &out) }
            HeadWriter.end(to: &out)
            let again = try RequestHead.parse(out, out.indices)
            #expect(again.bytes[again.method] == head.bytes[head.method])
            #expect(again.bytes[again.target] == head.bytes[head.target])
            #expect(again.path == head.path && again.query == head.query)
            #expect(again.fields.lines.count == head.fields.lines.count)
            for (new, old) in zip(again.fields.lines, head.fields.lines) {
                #expect(again.bytes[new.name] == head.bytes[old.name])
                #expect(again.bytes[new.value] == head.bytes[old.value])
                #expect(new.id == old.id)
            }
        }
    }

    @Test func `one changed byte never traps, and never hides a line`() {
        let text = [UInt8](
            "POST /a?b HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nConnection: x\r\n\r\n")
        var wrong: [String] = []
        for place in text.indices {
            for byte in UInt8.min...UInt8.max {
                var changed = text
                changed[place] = byte
                guard let head = try? RequestHead.parse(changed, changed.indices) else { continue }
                let isWhole = head.fields.lines.count == 3 && head.minorVersion <= 1
                if !isWhole || head.bytes[head.target].contains(0x20) { wrong.append(changed.text) }
            }
        }
        #expect(wrong == [])
    }
}
