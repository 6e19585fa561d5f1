import Foundation
import Testing

@testable import Wire

@Suite struct JSONWriterTests {
    private func written(_ write: (inout JSONWriter) -> Void) -> String {
        var json = JSONWriter()
        write(&json)
        return json.bytes.text
    }

    @Test func `objects and arrays nest, with commas between`() {
        let text = written {
            $0.object {
                $0.member("name", "prom")
                $0.member("live", true)
                $0.key("sessions")
                $0.array {
                    $0.integer(1)
                    $0.object { _ in }
                    $0.array { _ in }
                    $0.null()
                    $0.boolean(false)
                    $0.string("x")
                }
                $0.member("since", -5)
                $0.key("last")
                $0.object { $0.member("a", 1) }
            }
        }
        #expect(
            text == #"{"name":"prom","live":true,"sessions":[1,{},[],null,false,"x"],"since":-5,"#
                + #""last":{"a":1}}"#)
    }

    @Test(arguments: [
        ("", #""""#), ("a/b", #""a/b""#), ("\"\\", #""\"\\""#), ("\n\r\t", #""\n\r\t""#),
        ("\u{0}\u{1F}\u{7F}", "\"\\u0000\\u001f\u{7F}\""), ("é\u{2028}😀", "\"é\u{2028}😀\""),
    ])
    func `a string is escaped as RFC 8259 asks`(value: String, text: String) {
        #expect(written { $0.string(value) } == text)
    }

    @Test func `bytes that are not UTF-8 are replaced`() {
        #expect(written { $0.string([0x61, 0xFF, 0x62] as [UInt8]) } == "\"a\u{FFFD}b\"")
    }

    @Test func `what is written is read by another reader as the same`() throws {
        var generator = SeededGenerator(12)
        for _ in 0..<1000 {
            let key = generator.text(0...9, from: printable + "\t\n")
            let scalars = (0..<8).compactMap { _ in
                Unicode.Scalar(UInt32.random(in: 0...0x1_0FFF, using: &generator))
            }
            let value = String(String.UnicodeScalarView(scalars))
            let number = Int.random(in: -1_000_000...1_000_000, using: &generator)
            var json = JSONWriter()
            json.object {
                $0.member(key + "s", value)
                $0.member(key + "n", number)
            }
            let read = try JSONSerialization.jsonObject(with: Data(json.bytes))
            let object = try #require(read as? [String: Any])
            #expect(object[key + "s"] as? String == value)
            #expect(object[key + "n"] as? Int == number)
        }
    }
}
