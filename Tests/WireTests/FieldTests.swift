import Testing

@testable import Wire

@Suite struct FieldTests {
    private func parse(_ text: String, _ limits: HeadLimits = HeadLimits()) throws -> Fields {
        let bytes = [UInt8](text)
        return try Fields.parse(bytes, bytes.indices, limits: limits)
    }

    private func lines(_ fields: Fields) -> [[String]] {
        fields.lines.map { [fields.bytes[$0.name].text, fields.bytes[$0.value].text] }
    }

    @Test(
        arguments: [
            ("\r\n", []),
            ("A: b\r\n\r\n", [["A", "b"]]),
            ("A:b\r\n\r\n", [["A", "b"]]),
            ("A:\r\n\r\n", [["A", ""]]),
            ("A: \t \r\n\r\n", [["A", ""]]),
            ("A: \t b\t c \t\r\nB: d\r\n\r\n", [["A", "b\t c"], ["B", "d"]]),
            ("a-_.!#$%&'*+^`|~9: :\r\n\r\n", [["a-_.!#$%&'*+^`|~9", ":"]]),
            ("A: ÿ é\r\n\r\n", [["A", "ÿ é"]]),
            (
                "Content-Length: 5\r\nX: Y\r\nx: Z\r\n\r\n",
                [["Content-Length", "5"], ["X", "Y"], ["x", "Z"]]
            ),
        ] as [(String, [[String]])])
    func `field lines are read without the blanks round their values`(
        text: String, expected: [[String]]
    ) throws {
        #expect(lines(try parse(text)) == expected)
    }

    @Test(
        arguments: [
            ("", .unfinished),
            ("\r", .unfinished),
            ("\n", .unfinished),
            ("A: b", .unfinished),
            ("A: b\r", .unfinished),
            ("A: b\r\n", .unfinished),
            ("A: b\r\n\r", .unfinished),
            ("\r\n\r\n", .bytesAfterEnd),
            ("A: b\r\n\r\nC: d\r\n\r\n", .bytesAfterEnd),
            ("A: b\n\r\n", .bareLineFeed),
            ("A: b\r\n\n\n", .bareLineFeed),
            ("A: b\nC: d\r\n\r\n", .bareLineFeed),
            ("A\n: b\r\n\r\n", .bareLineFeed),
            ("A: b\rC: d\r\n\r\n", .bareCarriageReturn),
            ("A: b\r\r\n\r\n", .bareCarriageReturn),
            ("\rA: b\r\n\r\n", .bareCarriageReturn),
            ("A: b\r\n\r\r\n", .bareCarriageReturn),
            ("A\r: b\r\n\r\n", .bareCarriageReturn),
            ("A: b\r\n c\r\n\r\n", .foldedLine),
            ("A: b\r\n\tc\r\n\r\n", .foldedLine),
            (" A: b\r\n\r\n", .foldedLine),
            ("A : b\r\n\r\n", .blankBeforeColon),
            ("A\t: b\r\n\r\n", .blankBeforeColon),
            ("Transfer-Encoding : chunked\r\n\r\n", .blankBeforeColon),
            (": b\r\n\r\n", .emptyFieldName),
            ("A b: c\r\n\r\n", .fieldName),
            ("A(b: c\r\n\r\n", .fieldName),
            ("\"A\": c\r\n\r\n", .fieldName),
            ("A\u{0}: c\r\n\r\n", .fieldName),
            ("A\u{7F}: c\r\n\r\n", .fieldName),
            ("é: c\r\n\r\n", .fieldName),
            ("A\r\n\r\n", .missingColon),
            ("Content\rLength: 5\r\n\r\n", .bareCarriageReturn),
            ("A: b\u{0}\r\n\r\n", .controlByte),
            ("A: b\u{1B}c\r\n\r\n", .controlByte),
            ("A: b\u{7F}\r\n\r\n", .controlByte),
            ("A: b\u{B}\r\n\r\n", .controlByte),
        ] as [(String, Malformation)])
    func `a line that can be read in two ways is refused`(
        text: String, expected: Malformation
    ) {
        #expect(throws: HeadError.malformed(expected)) { try parse(text) }
    }

    @Test
    func
        `every byte of a value but controls passes, and every one of a name but token characters is refused`()
        throws
    {
        for byte in UInt8.min...UInt8.max {
            let value = [UInt8]("A: b") + [byte] + [UInt8]("c\r\n\r\n")
            let isControl = byte < 0x20 && byte != 9 || byte == 0x7F
            #expect((try? Fields.parse(value, value.indices)) == nil ? isControl : !isControl)
            let name = [UInt8]("Ab") + [byte] + [UInt8]("c: d\r\n\r\n")
            let isToken = [UInt8](tokenCharacters).contains(byte)
            // A colon ends the name, as it should.
            #expect(((try? Fields.parse(name, name.indices)) != nil) == (isToken || byte == 0x3A))
        }
    }

    @Test func `values are found by name, counted, and searched for tokens`() throws {
        let fields = try parse(
            "Via: one\r\nConnection: keep-alive , Upgrade\r\nX-Other: 1\r\n"
                + "connection:,,close\t,\r\nvia: two\r\n\r\n")
        #expect(fields.value(.via)?.text == "one")
        #expect(fields.value(.host) == nil)
        #expect(fields.value(named: "x-OTHER")?.text == "1")
        #expect(fields.value(named: "x-othe") == nil)
        #expect(fields.count(.via) == 2)
        #expect(fields.count(.connection) == 2)
        #expect(fields.count(.te) == 0)
        #expect(fields.contains(.connection, token: "upgrade"))
        #expect(fields.contains(.connection, token: "Keep-Alive"))
        #expect(fields.contains(.connection, token: "close"))
        #expect(!fields.contains(.connection, token: "keep"))
        #expect(!fields.contains(.connection, token: ""))
        #expect(!fields.contains(.upgrade, token: "close"))
    }

    @Test func `the limits hold, and what reaches them passes`() throws {
        let text = "A: b\r\nC: d\r\n\r\n"
        _ = try parse(text, HeadLimits(maximumHeadBytes: 14, maximumFields: 2))
        #expect(throws: HeadError.headTooLarge) {
            try parse(text, HeadLimits(maximumHeadBytes: 13))
        }
        #expect(throws: HeadError.tooManyFields) {
            try parse(text, HeadLimits(maximumFields: 1))
        }
    }

    @Test func `random bytes never trap, and what is accepted reads back as the same`() {
        var generator = SeededGenerator(2)
        let alphabet = [UInt8]("aB:: \t\r\n\r\n-,\u{1}\u{7F}é")
        var accepted = 0
        for _ in 0..<50000 {
            let bytes = generator.bytes(Int.random(in: 0...24, using: &generator), from: alphabet)
            let text = bytes + [UInt8]("\r\n\r\n")
            guard let fields = try? Fields.parse(text, text.indices) else { continue }
            accepted += 1
            var out: [UInt8] = []
            for line in fields.lines { HeadWriter.copy(line, from: fields, to: &out) }
            HeadWriter.end(to: &out)
            let again = try? Fields.parse(out, out.indices)
            #expect(again.map(lines) == lines(fields))
        }
        #expect(accepted > 50)
    }
}
