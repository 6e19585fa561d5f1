import Testing

@testable import Wire

@Suite struct KeysTextTests {
    private static let digest = String(repeating: "0123456789abcdef", count: 4)
    private static let first = KeysText.firstLine + "\n"
    private static let key = "k1\tagent\talice\tprom*\t\(digest)\t1700000000\t-\tthe rack"

    private func parse(_ text: String) throws -> KeysText { try KeysText.parse([UInt8](text)) }

    @Test func `a key is read`() throws {
        let record = try #require(try parse(Self.first + Self.key).records.first)
        #expect(record.id == "k1" && record.role == .agent && record.user.text == "alice")
        #expect(record.pattern.text == "prom*" && record.comment == "the rack")
        #expect(record.created == 1_700_000_000 && record.expires == nil)
        #expect(record.digest.count == 32 && record.digest.prefix(2) == [0x01, 0x23])
    }

    @Test func `a file is written back as it was read, comments and all`() throws {
        let other = Self.key.replacing("k1", with: "k2").replacing("01", with: "ff")
            .replacing("\t-\t", with: "\t1800000000\t").replacing("agent", with: "client")
        let text = Self.first + "# mine\n\n\(Self.key)\n#\tk3\n\(other)\n"
        let keys = try parse(text)
        #expect(keys.bytes.text == text)
        #expect(keys.records.map(\.id) == ["k1", "k2"])
        #expect(keys.records.map(\.expires) == [nil, 1_800_000_000])
    }

    @Test func `a comment may be missing or hold tabs`() throws {
        let bare = Self.key.replacing("\tthe rack", with: "")
        #expect(try parse(Self.first + bare).records.map(\.comment) == [""])
        #expect(try parse(Self.first + Self.key + "\tx").records.map(\.comment) == ["the rack x"])
    }

    @Test func `an empty file has no keys, and is written with the first line`() throws {
        #expect(try parse("").records.isEmpty)
        #expect(try parse("").bytes.text == Self.first)
        #expect(try parse(Self.first) == KeysText())
    }

    @Test func `keys are added behind the others and removed by their id`() throws {
        var keys = try parse(Self.first + "# c\n" + Self.key + "\n")
        let record = KeyRecord(
            id: "k2", role: .client, user: try #require(MirrorName("bob")), pattern: .any,
            digest: [UInt8](repeating: 7, count: 32), created: 5, expires: 6,
            comment: " a\tb\r\nc\u{0} ")
        keys.append(record)
        #expect(record.comment == "a b  c")
        #expect(try KeysText.parse(keys.bytes) == keys)
        #expect(keys.remove(id: "k1")?.id == "k1")
        #expect(keys.remove(id: "k1") == nil)
        #expect(
            keys.bytes.text == Self.first + "# c\nk2\tclient\tbob\t*\t"
                + String(repeating: "07", count: 32) + "\t5\t6\ta b  c\n")
    }

    @Test(arguments: ["nonsense\n", "# magicmirror keys 2\n", "\n", key])
    func `a file without the first line is refused`(text: String) {
        let error = #expect(throws: LineError.self) { try parse(text) }
        #expect(
            error?.description == "1: not a keys file (the first line is '# magicmirror keys 1')")
    }

    @Test(arguments: [
        (key, "x", "1 fields in a key (7 or 8, separated by tabs)"),
        ("\t", " ", "1 fields in a key (7 or 8, separated by tabs)"),
        ("k1", "", "'' is not a key id"),
        ("k1", "k/1", "'k/1' is not a key id"),
        ("agent", "admin", "'admin' is not a role (agent or client)"),
        ("alice", "-", "'-' is not a user (\(MirrorName.rule))"),
        ("prom*", "a b", "'a b' is not a name pattern"),
        ("ef\t", "e\t", "the fifth field of a key is not 64 hexadecimal digits"),
        ("ef\t", "\t", "the fifth field of a key is not 64 hexadecimal digits"),
        ("ef\t", "eg\t", "the fifth field of a key is not 64 hexadecimal digits"),
        ("1700000000", "now", "'now' is not a time in seconds since 1970"),
        ("\t-\t", "\tnever\t", "'never' is not a time in seconds since 1970, and not '-'"),
        ("rack", "\u{1B}", "control character (byte 27)"),
    ])
    func `a broken line is refused with its number and a reason`(
        old: String, new: String, message: String
    ) {
        let error = #expect(throws: LineError.self) {
            try parse(Self.first + "#\n" + Self.key.replacing(old, with: new))
        }
        #expect(error?.description == "3: " + message)
    }

    @Test func `an id or a secret that stands there twice is refused`() {
        #expect(throws: LineError(line: 4, "key id 'k1' stands in line 3 already")) {
            try parse(Self.first + "#\n" + Self.key + "\n" + Self.key)
        }
        #expect(throws: LineError(line: 3, "key 'k2' has the same secret as line 2")) {
            try parse(Self.first + Self.key + "\n" + Self.key.replacing("k1", with: "k2"))
        }
    }

    @Test func `a secret in the place of its digest is not repeated`() {
        let text = Self.first + Self.key.replacing(Self.digest, with: "mma_secret")
        let error = #expect(throws: LineError.self) { try parse(text) }
        #expect(error?.description.contains("secret") == false)
    }

    @Test func `bytes and hexadecimal digits are turned into each other`() {
        let all = [UInt8](UInt8.min...UInt8.max)
        #expect(Hexadecimal.decode(Hexadecimal.encode(all)) == all)
        #expect(Hexadecimal.decode("0aFF") == [0x0A, 0xFF])
        for text in ["0", "0g", "g0", " 0", "0x", "é0"] { #expect(Hexadecimal.decode(text) == nil) }
    }
}
