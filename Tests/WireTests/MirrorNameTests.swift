import Testing

@testable import Wire

@Suite struct MirrorNameTests {
    @Test(arguments: [
        "a", "9", "localprometheus", "A.b_c-d", "a.", "a_", "a.-b", "a-.-b",
        String(repeating: "a", count: 63),
    ])
    func `a name is read`(text: String) {
        #expect(MirrorName(text)?.text == text)
        #expect(MirrorName(bytes: [UInt8](text)[...])?.description == text)
    }

    @Test(arguments: [
        "", "-a", ".a", "_a", "a-", "a--b", "a---b", "a b", "a/b", "a*", "é", "a\u{0}", "a:b",
        "a\n",
        "..", String(repeating: "a", count: 64),
    ])
    func `what is no name is refused`(text: String) {
        #expect(MirrorName(text) == nil)
    }

    @Test func `two names joined by two hyphens come apart in one way only`() throws {
        var generator = SeededGenerator(10)
        for _ in 0..<5000 {
            guard let name = MirrorName(generator.text(1...6, from: "ab-.")),
                let user = MirrorName(generator.text(1...6, from: "ab-."))
            else { continue }
            let joined = [UInt8]("\(name)--\(user)")
            let cuts = (0..<(joined.count - 1)).filter {
                joined[$0] == 0x2D && joined[$0 + 1] == 0x2D
                    && MirrorName(bytes: joined[..<$0]) != nil
                    && MirrorName(bytes: joined[($0 + 2)...]) != nil
            }
            #expect(cuts == [name.text.utf8.count])
        }
    }

    @Test(arguments: [
        ("*", "prom", true), ("prom", "prom", true), ("prom", "Prom", false),
        ("prom", "prom2", false),
        ("prom*", "prom2", true), ("prom*", "prom", true), ("*-eu", "prom-eu", true),
        ("*-eu", "prom-us", false), ("a*b*c", "aXbYc", true), ("**", "x", true),
        ("a-*", "a-b", true),
    ])
    func `a pattern matches whole names`(pattern: String, name: String, matches: Bool) throws {
        let pattern = try #require(NamePattern(pattern))
        #expect(pattern.matches(try #require(MirrorName(name))) == matches)
    }

    @Test(arguments: ["", "a b", "a?b", "-a", "a--*", String(repeating: "*", count: 64)])
    func `what is no pattern is refused`(text: String) {
        #expect(NamePattern(text) == nil)
    }

    @Test func `the pattern for any name matches any name`() throws {
        #expect(NamePattern.any.matches(try #require(MirrorName("x"))))
        #expect(NamePattern("*") == .any)
    }
}
