import Testing

@testable import Wire

@Suite struct BytesTests {
    @Test func `token characters are those of RFC 9110, and no others`() {
        for byte in UInt8.min...UInt8.max {
            #expect(byte.isTokenCharacter == [UInt8](tokenCharacters).contains(byte), "\(byte)")
        }
    }

    @Test func `host characters are letters, digits and -._~`() {
        let allowed = [UInt8](tokenCharacters.filter { $0.isLetter || $0.isNumber } + "-._~")
        for byte in UInt8.min...UInt8.max {
            #expect(byte.isHostCharacter == allowed.contains(byte), "\(byte)")
        }
    }

    @Test func `a control byte is found behind any bytes, at any place`() {
        var wrong: [[UInt8]] = []
        for length in 0...20 {
            for place in 0..<max(length, 1) {
                for byte in UInt8.min...UInt8.max {
                    var bytes = [UInt8](repeating: 0x61, count: length)
                    if length > 0 { bytes[place] = byte }
                    let expected = bytes.firstIndex { $0 < 0x20 && $0 != 9 || $0 == 0x7F }
                    let found = bytes.span.indexOfControl(from: 0, to: length)
                    if found != expected ?? length { wrong.append(bytes) }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test func `a plain word is visible ASCII without quote, equals sign and backslash`() {
        var wrong: [[UInt8]] = []
        for length in 1...20 {
            for place in 0..<length {
                for byte in UInt8.min...UInt8.max {
                    var bytes = [UInt8](repeating: 0x61, count: length)
                    bytes[place] = byte
                    let isPlain = 0x21...0x7E ~= byte && !Array("\"=\\".utf8).contains(byte)
                    if bytes.span.isPlainWord(first: length) != isPlain { wrong.append(bytes) }
                }
            }
        }
        #expect(wrong == [])
    }

    @Test func `scans agree with a plain loop on any bytes`() {
        var generator = SeededGenerator(1)
        let alphabet: [UInt8] = [
            0, 9, 0x0A, 0x0B, 0x0D, 0x1F, 0x20, 0x61, 0x7E, 0x7F, 0x80, 0x8A, 0xFF,
        ]
        var wrong: [[UInt8]] = []
        for round in 0..<20000 {
            let length = Int.random(in: 0...40, using: &generator)
            let bytes = generator.bytes(length, from: round.isMultiple(of: 2) ? alphabet : nil)
            let start = Int.random(in: 0...length, using: &generator)
            let end = Int.random(in: start...length, using: &generator)
            let feed = bytes[start..<end].firstIndex(of: 0x0A) ?? end
            if bytes.span.indexOfLineFeed(from: start, to: end) != feed { wrong.append(bytes) }
            let control = bytes[start..<end].firstIndex { $0 < 0x20 && $0 != 9 || $0 == 0x7F }
            let found = bytes.span.indexOfControl(from: start, to: end)
            if found != control ?? end { wrong.append(bytes) }
        }
        #expect(wrong == [])
    }

    @Test func `a word holds the bytes asked for, the first one lowest`() {
        let bytes = [UInt8](1...12)
        for start in 0...12 {
            for end in start...12 {
                var expected: UInt64 = 0
                for (place, byte) in bytes[start..<end].prefix(8).enumerated() {
                    expected |= UInt64(byte) << (8 * place)
                }
                #expect(bytes.span.word(at: start, end: end) == expected)
            }
        }
    }

    @Test func `bytes are equal where each is, and there are as many`() {
        var wrong: [String] = []
        func check(_ one: ArraySlice<UInt8>, _ other: ArraySlice<UInt8>, _ expected: Bool) {
            for isEqual in [one.span.isEqual(to: other.span), other.span.isEqual(to: one.span)]
            where isEqual != expected {
                wrong.append("\(one) and \(other)")
            }
        }
        for length in 0...20 {
            let one = [UInt8](1...99)[3..<3 + length]
            // Other bytes before and behind it, which do not count.
            let other = ([UInt8](repeating: 0xFF, count: 5) + one + [0xFF])[5..<5 + length]
            check(one, other, true)
            for place in other.indices {
                for bit in 0..<8 {
                    var changed = other
                    changed[place] ^= 1 << bit
                    check(one, changed, false)
                }
            }
            for shorter in 0..<length { check(one, other.prefix(shorter), false) }
        }
        #expect(wrong == [])
    }

    @Test(arguments: [
        ("0", 0), ("7", 7), ("10", 10), ("9223372036854775807", Int.max),
    ])
    func `a decimal number is read`(text: String, number: Int) {
        let bytes = [UInt8](text)
        #expect(bytes.span.decimal(bytes.indices) == number)
    }

    @Test(arguments: [
        "", "-1", "+1", " 1", "1 ", "1,1", "1.0", "1e3", "0x10", "00", "01", "a", "１",
        "9223372036854775808", "18446744073709551616", "99999999999999999999999999",
    ])
    func `what is not one decimal number, or too large, is refused`(text: String) {
        let bytes = [UInt8](text)
        #expect(bytes.span.decimal(bytes.indices) == nil)
    }
}
