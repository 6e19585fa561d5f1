import Testing

@testable import Wire

@Suite struct PathPatternTests {
    private func verdict(_ rules: [String], _ method: String, _ path: String) throws -> RuleVerdict
    {
        RuleVerdict.find(
            in: try rules.map { try AllowRule.parse($0) }, method: [UInt8](method)[...],
            path: [UInt8](path)[...])
    }

    @Test(arguments: [
        ("/api/v1/query", "/api/v1/query", true),
        ("/api/v1/query", "/api/v1/query_range", false),
        ("/api/v1/query", "/api/v1/query/", false),
        ("/api/v1/query", "/API/v1/query", false),
        ("/api/v1/query", "/api/v1/quer%79", true),
        ("/api/*", "/api/", true),
        ("/api/*", "/api", false),
        ("/api/*", "/api/v1/query", true),
        ("/api/*", "/apix", false),
        ("/api/*/values", "/api/v1/label/job/values", true),
        ("/api/*/values", "/api/v1/values/x", false),
        ("/a*b*c", "/a1b2b3c", true),
        ("/a*b*c", "/abc", true),
        ("/a*b*c", "/acb", false),
        ("/a*", "/a%2A", true),
        ("/é*", "/%C3%A9%20b", true),
        ("/label/*/values", "/label/100%25/values", true),
        ("/", "/", true),
        ("/a/", "/a/", true),
    ])
    func `a pattern matches the decoded path as a whole`(
        pattern: String, path: String, matches: Bool
    ) throws {
        #expect(
            try verdict(["* \(pattern)"], "GET", path) == (matches ? .allowed(rule: 0) : .noRule))
    }

    @Test(
        arguments: [
            ("", .notAbsolute), ("a", .notAbsolute), ("*", .notAbsolute), ("%2Fa", .notAbsolute),
            ("/%", .escape), ("/%4", .escape), ("/%zz", .escape),
            ("/a%2Fb", .encodedSlash), ("/a%2f..%2fb", .encodedSlash), ("/..%2F", .encodedSlash),
            ("/a\\b", .backslash), ("/a%5Cb", .backslash), ("/..%5C..", .backslash),
            ("/a%00", .control), ("/a%0A", .control), ("/a%7F", .control), ("/a%09", .control),
            ("/%252e%252e/", .twiceEncoded), ("/%252Fa", .twiceEncoded), ("/%2541", .twiceEncoded),
            ("/.", .dotSegment), ("/..", .dotSegment), ("/a/../b", .dotSegment),
            ("/a/./b", .dotSegment), ("/%2e%2E/a", .dotSegment), ("/.%2e/a", .dotSegment),
            ("/..;/a", .dotSegment), ("/..;x=y/a", .dotSegment), ("/a/..", .dotSegment),
            ("//a", .emptySegment), ("/a//b", .emptySegment), ("/a/;x/b", .emptySegment),
        ] as [(String, PathDoubt)])
    func `a path that could be read in two ways is refused, but by a rule for all paths`(
        path: String, doubt: PathDoubt
    ) throws {
        #expect(try verdict(["* /a*", "GET /*b"], "GET", path) == .doubtfulPath(doubt))
        #expect(try verdict(["GET /a*", "GET *"], "GET", path) == .allowed(rule: 1))
        #expect(try verdict(["GET /*"], "GET", path) == .allowed(rule: 0))
        #expect(try verdict(["GET *"], "PUT", path) == .doubtfulPath(doubt))
    }

    @Test(arguments: ["/...", "/.a", "/a..", "/a/..b", "/a;b", "/a.b;c", "/a/", "/;x", "/%25zz"])
    func `what only looks like it is not refused`(path: String) throws {
        #expect(try verdict(["* /x/*"], "GET", path) == .noRule)
    }

    @Test(
        arguments: [
            (["GET,HEAD /a", "POST /b"], "GET", "/a", .allowed(rule: 0)),
            (["GET,HEAD /a", "POST /b"], "HEAD", "/a", .allowed(rule: 0)),
            (["GET,HEAD /a", "POST /b"], "POST", "/a", .noRule),
            (["GET,HEAD /a", "POST /b"], "POST", "/b", .allowed(rule: 1)),
            (["GET /a"], "get", "/a", .noRule),
            (["GET /a"], "GETS", "/a", .noRule),
            (["GET /a"], "", "/a", .noRule),
            (["* /a"], "PROPFIND", "/a", .allowed(rule: 0)),
            ([], "GET", "/a", .noRule),
            (["OPTIONS *"], "OPTIONS", "", .allowed(rule: 0)),
            (["OPTIONS /a"], "OPTIONS", "", .doubtfulPath(.notAbsolute)),
        ] as [([String], String, String, RuleVerdict)])
    func `the first rule for method and path decides`(
        rules: [String], method: String, path: String, expected: RuleVerdict
    ) throws {
        #expect(try verdict(rules, method, path) == expected)
    }

    @Test(arguments: [
        "", "GET", "/a", "GET /a /b", "get /a", "GET,post /a", "GET,,HEAD /a", ",GET /a", "GET, /a",
        "*,GET /a", "G(T /a", "GET a", "GET **", "GET /a?b", "GET /a#b", "GET /a%20b", "GET /a//b",
        "GET /../a", "GET /a\\b",
    ])
    func `a malformed rule is refused with a reason`(text: String) {
        let error = #expect(throws: TextError.self) { try AllowRule.parse(text) }
        #expect(error?.message.isEmpty == false)
    }

    @Test(arguments: ["GET,HEAD /api/*", "* /a", "GET *", "M-SEARCH /é"])
    func `a rule is written as it was read`(text: String) throws {
        #expect(try AllowRule.parse(text).description == text)
        let blanks = text.replacing(" ", with: " \t ")
        #expect(try AllowRule.parse("  \(blanks) ").description == text)
    }

    @Test func `a star agrees with trying every run`() {
        func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
            guard let first = pattern.first else { return text.isEmpty }
            if first == 0x2A {
                return (text.startIndex...text.endIndex).contains {
                    matches(pattern.dropFirst(), text[$0...])
                }
            }
            return text.first == first && matches(pattern.dropFirst(), text.dropFirst())
        }
        var generator = SeededGenerator(9)
        var wrong: [[String]] = []
        for _ in 0..<20000 {
            let pattern = [UInt8](generator.text(0...7, from: "ab*"))
            let text = [UInt8](generator.text(0...8, from: "ab"))
            if Wildcard.matches(pattern.span, text.span) != matches(pattern[...], text[...]) {
                wrong.append([pattern.text, text.text])
            }
        }
        #expect(wrong == [])
    }

    @Test func `many stars take no longer than the product of the lengths`() {
        let pattern = [UInt8](String(repeating: "*a", count: 500) + "b")
        let text = [UInt8](repeating: 0x61, count: 4000)
        let isMatch = Wildcard.matches(pattern.span, text.span)
        #expect(!isMatch)
    }
}
