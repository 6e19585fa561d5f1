import Foundation
import Testing

@testable import Wire

/// What a reader makes of a document, as text that no other document gives.
private func read(_ text: [UInt8], maximumValues: Int = 1000) throws(JSONError) -> String {
    var json = JSONReader(text, maximumValues: maximumValues)
    let value = try value(&json, text)
    try json.finish()
    return value
}

private func value(_ json: inout JSONReader, _ text: [UInt8]) throws(JSONError) -> String {
    // What comes next is found out by trying.
    var trial = json
    do {
        let found = try trial.string()
        json = trial
        return "'\(found.text)'"
    } catch {
        if error != .wrongType { throw error }
    }
    trial = json
    do {
        let found = try trial.integer()
        json = trial
        return "\(found)"
    } catch {
        if error != .wrongType { throw error }
    }
    trial = json
    do {
        var parts: [String] = []
        try trial.object { json, key throws(JSONError) in
            parts.append("\(key.text):\(try value(&json, text))")
        }
        json = trial
        return "{" + parts.joined(separator: ",") + "}"
    } catch {
        if error != .wrongType { throw error }
    }
    trial = json
    do {
        var parts: [String] = []
        try trial.array { json throws(JSONError) in parts.append(try value(&json, text)) }
        json = trial
        return "[" + parts.joined(separator: ",") + "]"
    } catch {
        if error != .wrongType { throw error }
    }
    if try json.null() { return "null" }
    try json.skip()
    return "?"
}

@Suite struct JSONReaderTests {
    @Test(arguments: [
        (#""""#, "''"), (#" "a" "#, "'a'"), ("\t\r\n0 ", "0"), ("-12", "-12"), ("-0", "0"),
        ("9223372036854775807", "9223372036854775807"), ("null", "null"), ("true", "?"),
        ("[]", "[]"), ("[ ]", "[]"), ("{}", "{}"), ("{ }", "{}"), ("[1,[2],{}]", "[1,[2],{}]"),
        (#"{"a":1 , "b" : [ "c" , null ]}"#, "{a:1,b:['c',null]}"),
        (#"{"a":1,"a":2}"#, "{a:1,a:2}"),
        (#""\"\\\/\b\f\n\r\t""#, "'\"\\/\u{8}\u{C}\n\r\t'"), (#""\u0026\u003c\u003E""#, "'&<>'"),
        (#""a\u00e9b\u20ACc""#, "'aéb€c'"), (#""\ud83d\ude00""#, "'😀'"), (#""\u0000""#, "'\u{0}'"),
        ("\"é😀\"", "'é😀'"), (#"[1.5,1e3,-0.0E-7,10E+2]"#, "[?,?,?,?]"), ("1.0", "?"),
        ("92233720368547758080", "?"), (#"{"":""}"#, "{:''}"),
    ])
    func `a document is read as RFC 8259 says`(text: String, value: String) throws {
        #expect(try read([UInt8](text)) == value)
    }

    @Test(arguments: [
        "", " ", "a", "nul", "nulll", "tru", "True", "'a'", "\"", "\"a", "\"a\\\"", "\"\\\"",
        #""\x""#, #""\u12""#, #""\u123g""#, #""\ud83d""#, #""\ud83dx""#, #""\ud83d\u0041""#,
        #""\ude00""#, #""\ud83d\ud83d""#, "\"\t\"", "\"\n\"", "\"\u{0}\"", "[", "]", "[1", "[1,",
        "[1,]", "[,1]", "[1 2]", "[1}", "{", "}", "{1:2}", #"{"a"}"#, #"{"a":}"#, #"{"a":1,}"#,
        #"{"a" 1}"#, #"{"a":1 "b":2}"#, #"{,}"#, #"{a:1}"#, "01", "-", "-a", "+1", "1.", ".5", "1e",
        "1e+", "0x1", "1 2", "{} {}", "[] x", "NaN", "Infinity", "-Infinity", "// a\n1",
        "\u{FEFF}1",
        "00", "-01", "1.5.5",
    ])
    func `what is no document is refused`(text: String) {
        #expect(throws: JSONError.malformed) { try read([UInt8](text)) }
    }

    @Test(
        arguments: [
            [0x22, 0xFF, 0x22], [0x22, 0xC3, 0x22], [0x22, 0xC0, 0x80, 0x22],
            [0x22, 0xED, 0xA0, 0x80, 0x22],
            [0x22, 0x61, 0x61, 0x61, 0x61, 0x61, 0x61, 0x61, 0x80, 0x22],
        ] as [[UInt8]])
    func `a string that is not UTF-8 is refused`(bytes: [UInt8]) {
        #expect(throws: JSONError.malformed) { try read(bytes) }
    }

    @Test func `depth and number of values have limits`() throws {
        let nested = { (depth: Int) in
            [UInt8](repeating: 0x5B, count: depth) + [UInt8](repeating: 0x5D, count: depth)
        }
        #expect(try read(nested(16)) == nested(16).text)
        var json = JSONReader(nested(17), maximumValues: 1000)
        #expect(throws: JSONError.tooDeep) { try json.skip() }
        json = JSONReader(nested(1_000_000), maximumValues: .max)
        #expect(throws: JSONError.tooDeep) { try json.skip() }
        let objects = [UInt8](String(repeating: #"{"a":"#, count: 17))
        json = JSONReader(objects, maximumValues: .max)
        #expect(throws: JSONError.tooDeep) { try json.skip() }

        json = JSONReader([UInt8](#"{"a":[1,2]}"#), maximumValues: 5)
        try json.skip()
        json = JSONReader([UInt8](#"{"a":[1,2]}"#), maximumValues: 4)
        #expect(throws: JSONError.tooManyValues) { try json.skip() }
    }

    @Test(arguments: ["1", "\"a\"", "[]", "{}", "true", "1.5"])
    func `another type than asked for is told apart from no document`(text: String) throws {
        let bytes = [UInt8](text)
        var json = JSONReader(bytes, maximumValues: 9)
        if text.first != "\"" { #expect(throws: JSONError.wrongType) { try json.string() } }
        json = JSONReader(bytes, maximumValues: 9)
        if text != "1" { #expect(throws: JSONError.wrongType) { try json.integer() } }
        json = JSONReader(bytes, maximumValues: 9)
        if text != "[]" {
            #expect(throws: JSONError.wrongType) {
                try json.array { json throws(JSONError) in try json.skip() }
            }
        }
        json = JSONReader(bytes, maximumValues: 9)
        if text != "{}" {
            #expect(throws: JSONError.wrongType) {
                try json.object { json, _ throws(JSONError) in try json.skip() }
            }
        }
        json = JSONReader(bytes, maximumValues: 9)
        let isNull = try json.null()
        #expect(!isNull)
    }

    @Test func `what another writer wrote is read as the same`() throws {
        var generator = SeededGenerator(5)
        for _ in 0..<1000 {
            let scalars = (0..<8).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0...0x1_0FFF, using: &generator))
            }
            let text = String(String.UnicodeScalarView(scalars))
            let data = try JSONSerialization.data(withJSONObject: [text])
            #expect(try read(Array(data)) == "['\(text)']")
        }
    }

    @Test func `no bytes make it trap, and none are read in another way than by another reader`() {
        var generator = SeededGenerator(6)
        let alphabet = [UInt8](#"{}[]",:0123-.eE\untfalsrd /"# + "\n\u{1}é")
        for _ in 0..<20_000 {
            let bytes = generator.bytes(Int.random(in: 0...12, using: &generator), from: alphabet)
            var json = JSONReader(bytes, maximumValues: 50)
            let isRead = (try? json.skip()) != nil && (try? json.finish()) != nil
            // Foundation takes lone surrogates and what else RFC 8259 leaves open: so one way only.
            if isRead {
                #expect(
                    throws: Never.self, "\(bytes.text)",
                    performing: {
                        try JSONSerialization.jsonObject(
                            with: Data(bytes), options: .fragmentsAllowed)
                    })
            }
        }
    }
}
