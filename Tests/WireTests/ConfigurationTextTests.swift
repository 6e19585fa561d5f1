import Testing

@testable import Wire

@Suite struct ConfigurationTextTests {
    private func parse(_ text: String) throws -> ConfigurationText {
        try ConfigurationText.parse([UInt8](text))
    }

    @Test func `entries are read with their sections and lines`() throws {
        let configuration = try parse(
            """
            # a comment
            listen = [::]:443          # repeatable
            listen=127.0.0.1:80

              plaintext\t=\tyes
            [mirror alice/prom]
            access = key
            [ mirror   bob/x y ]   # another
            [tls]
            """)
        #expect(
            configuration.top.entries == [
                ConfigurationEntry(key: "listen", value: "[::]:443", line: 2),
                ConfigurationEntry(key: "listen", value: "127.0.0.1:80", line: 3),
                ConfigurationEntry(key: "plaintext", value: "yes", line: 5),
            ])
        #expect(configuration.top.kind.isEmpty && configuration.top.line == 0)
        #expect(
            configuration.sections.map(\.heading) == [
                "[mirror alice/prom]", "[mirror bob/x y]", "[tls]",
            ])
        #expect(configuration.sections.map(\.line) == [6, 8, 9])
        #expect(
            configuration.sections[0].entries == [
                ConfigurationEntry(key: "access", value: "key", line: 7)
            ])
    }

    @Test(
        arguments: [
            ("k = a b", "a b"), ("k = a = b", "a = b"), ("k =", ""), ("k = ", ""), ("k = #x", ""),
            ("k = a#b", "a#b"), ("k = a #b", "a"), ("k = a\t# b # c", "a"),
            ("k = \"a # b\"", "a # b"),
            ("k = \" a \"  # b", " a "), ("k = \"\"", ""), (#"k = "a\"b\\c""#, #"a"b\c"#),
            ("k = a\"b", "a\"b"), ("k = é", "é"), ("k=v\r", "v"), ("\u{FEFF}k = v", "v"),
            (#"k = a\b"#, #"a\b"#), ("k = \"a\"#", nil), ("k = \"a\" #", "a"),
            // An accent on what begins, ends or separates something.
            ("k = \"\u{301} # a\"", "\u{301} # a"), ("k =\u{301}", "\u{301}"),
            ("k = \"\\\"\u{301}\"", "\"\u{301}"), ("#\u{301}\nk = v", "v"),
        ] as [(String, String?)])
    func `a value is read without its comment and its quotation marks`(
        line: String, value: String?
    ) throws {
        guard let value else {
            #expect(throws: LineError.self) { try parse(line) }
            return
        }
        #expect(try parse(line + "\n").top.entries.map(\.value) == [value])
    }

    @Test(arguments: [
        ("a = b\nlisten", "2: no '=' in 'listen' (write 'key = value')"),
        ("= b", "1: '' is not a key (letters, digits and '-')"),
        ("a b = c", "1: 'a b' is not a key (letters, digits and '-')"),
        ("a_b = c", "1: 'a_b' is not a key (letters, digits and '-')"),
        ("\n\na = \"b", "3: quotation mark not closed"),
        ("a = \"b\\\"", "1: quotation mark not closed"),
        ("a = \"b\" c", "1: 'c' behind the closing quotation mark"),
        (#"a = "b\n""#, "1: backslash before neither '\"' nor '\\' in a quoted value"),
        ("[a", "1: no ']' at the end of '[a'"),
        ("[a] b", "1: no ']' at the end of '[a] b'"),
        ("[]", "1: '[]' is not a section (write '[kind name]')"),
        ("[ ]", "1: '[ ]' is not a section (write '[kind name]')"),
        ("[[a]]", "1: '[[a]]' is not a section (write '[kind name]')"),
        ("[m a]\n[n a]\n[m b]\n[m  a]", "4: section '[m a]' stands in line 1 already"),
        ("a = b\nc = \u{0}", "2: control character (byte 0)"),
        ("a = b\rc = d", "1: control character (byte 13)"),
    ])
    func `a broken line is refused with its number and a reason`(text: String, message: String) {
        let error = #expect(throws: LineError.self) { try parse(text) }
        #expect(error?.description == message)
    }

    @Test func `bytes that are not UTF-8 are refused with their line`() {
        #expect(throws: LineError(line: 2, "not UTF-8")) {
            try ConfigurationText.parse([UInt8]("a = b\nc = ") + [0xFF])
        }
    }

    @Test func `any value survives between quotation marks`() throws {
        var generator = SeededGenerator(11)
        for _ in 0..<2000 {
            let value = generator.text(0...20, from: printable + "\t")
            let quoted = value.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
            #expect(try parse("k = \"\(quoted)\" # c").top.entries.map(\.value) == [value])
        }
    }
}
