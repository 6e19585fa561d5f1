import Testing

@testable import Wire

@Suite struct PercentEncodingTests {
    @Test(arguments: [
        ("", ""), ("abc", "abc"), ("a%20b", "a b"), ("%41%7a", "Az"), ("%c3%A9", "é"),
        ("a+b", "a+b"), ("%2541", "%41"), ("%25", "%"), ("%2F", "/"),
    ])
    func `escapes are decoded once`(text: String, decoded: String) {
        #expect(PercentEncoding.decode(text.utf8)?.text == decoded)
    }

    @Test(arguments: ["%", "a%", "%4", "%4g", "%g4", "%%41", "%+1", "% 1", "a%20%"])
    func `a broken escape is refused`(text: String) {
        #expect(PercentEncoding.decode(text.utf8) == nil)
    }

    @Test func `every byte is encoded so that it decodes to itself`() {
        let unreserved = [UInt8](tokenCharacters.filter { $0.isLetter || $0.isNumber } + "-._~")
        for byte in UInt8.min...UInt8.max {
            let encoded = PercentEncoding.encode([byte])
            #expect(PercentEncoding.decode(encoded) == [byte])
            #expect(encoded.count == (unreserved.contains(byte) ? 1 : 3))
        }
        #expect(PercentEncoding.encode("a b/ÿ") == "a%20b%2F%C3%BF")
    }

    @Test(
        arguments: [
            ("name=prom", "prom"), ("a=b&name=prom&c=d", "prom"), ("name=", ""), ("name", ""),
            ("name=a%20b+c", "a b c"), ("name=a=b", "a=b"), ("n%61me=x", "x"), ("&&name=x&", "x"),
            ("", nil), ("names=x", nil), ("Name=x", nil), ("name=%4", nil), ("=name", nil),
            ("name=a&name=b", nil), ("name=a&name=a", nil), ("name=a&n%61me=b", nil),
        ] as [(String, String?)])
    func `a parameter of a query is found where it stands once`(query: String, value: String?) {
        #expect(PercentEncoding.queryValue("name", in: [UInt8](query)[...])?.text == value)
    }
}
