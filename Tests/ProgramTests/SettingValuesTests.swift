// How values are read: sizes, times, numbers, choices, lists, and their errors.

import Testing

@testable import Program

private func values(_ pairs: (String, String)...) -> SettingValues {
    var values = SettingValues()
    for (index, pair) in pairs.enumerated() {
        let origin = SettingValue.Origin.line(file: "/etc/t.conf", number: index + 1, key: pair.0)
        values.append(pair.0, SettingValue(pair.1, origin))
    }
    return values
}

private func error(_ message: String, line: Int = 1) -> StartError {
    .configuration(place: "/etc/t.conf:\(line)", message: "key 'k': " + message)
}

@Suite struct SettingValuesTests {
    @Test(arguments: [
        ("0", 0), ("4096", 4096), ("1KiB", 1024), ("32KiB", 32_768), ("16MiB", 16_777_216),
        ("2GiB", 2_147_483_648),
    ])
    func `sizes have binary units`(text: String, bytes: Int) {
        #expect(Quantity.byteCount(text) == bytes)
    }

    @Test(arguments: [
        "", "-1", "+1", " 1", "1 ", "1k", "1K", "1KB", "1 KiB", "KiB", "0x10", "1.5KiB", "１",
        "9223372036854775808", "9007199254740993GiB",
    ])
    func `what is no size is refused`(text: String) {
        #expect(Quantity.byteCount(text) == nil)
    }

    @Test(arguments: [
        ("0s", Duration.zero), ("1ms", .milliseconds(1)), ("500ms", .milliseconds(500)),
        ("90s", .seconds(90)), ("10m", .seconds(600)), ("12h", .seconds(43_200)),
        ("90d", .seconds(7_776_000)),
    ])
    func `times have a unit`(text: String, duration: Duration) {
        #expect(Quantity.duration(text) == duration)
    }

    @Test(arguments: [
        "", "10", "s", "-1s", "1 s", "1S", "1w", "1.5s", "1m30s", "9223372036854775807d",
    ])
    func `what is no time is refused`(text: String) {
        #expect(Quantity.duration(text) == nil)
    }

    @Test(arguments: [
        (0, "0ms"), (1, "1ms"), (1500, "1500ms"), (60_000, "1m"), (90_000, "90s"),
        (86_400_000, "1d"), (36_500 * 86_400_000, "36500d"),
    ])
    func `a time is told in its largest whole unit`(milliseconds: Int, text: String) {
        #expect(Quantity.describe(duration: .milliseconds(milliseconds)) == text)
        #expect(Duration.milliseconds(milliseconds).milliseconds == milliseconds)
        #expect(Duration.milliseconds(milliseconds).nanoseconds == milliseconds * 1_000_000)
    }

    @Test(arguments: [
        (0, "0"), (1000, "1000"), (1500, "1500"), (1024, "1KiB"), (57_344, "56KiB"),
        (1 << 30, "1GiB"),
    ])
    func `a size is told in its largest whole unit`(bytes: Int, text: String) {
        #expect(Quantity.describe(byteCount: bytes) == text)
    }

    @Test func `numbers out of range say the range`() throws {
        #expect(try values(("k", "5")).integer("k", default: 1, 0...9) == 5)
        #expect(try values().integer("k", default: 1, 0...9) == 1)
        #expect(throws: error("'10' is too large (the most is 9)")) {
            try values(("k", "10")).integer("k", default: 1, 0...9)
        }
        #expect(throws: error("'0' is too small (the least is 1)")) {
            try values(("k", "0")).integer("k", default: 1, 1...9)
        }
        #expect(throws: error("'x' is not a whole number")) {
            try values(("k", "x")).integer("k", default: 1, 1...9)
        }
        #expect(throws: error("'1MiB' is too large (the most is 56KiB)")) {
            try values(("k", "1MiB")).byteCount("k", default: 1, 1...57_344)
        }
        #expect(throws: error("'1kb' is not a size such as 4096, 32KiB or 16MiB")) {
            try values(("k", "1kb")).byteCount("k", default: 1, 1...57_344)
        }
        #expect(throws: error("'2h' is too large (the most is 1h)")) {
            try values(("k", "2h")).duration("k", default: .zero, .zero...(.seconds(3600)))
        }
        #expect(throws: error("'10' is not a time such as 500ms, 90s, 10m, 12h or 90d")) {
            try values(("k", "10")).duration("k", default: .zero, .zero...(.seconds(3600)))
        }
    }

    @Test func `yes and no are the only flags`() throws {
        #expect(try values(("k", "yes")).flag("k"))
        #expect(try !values(("k", "no")).flag("k"))
        #expect(try !values().flag("k"))
        #expect(throws: error("'true' is neither 'yes' nor 'no'")) {
            try values(("k", "true")).flag("k")
        }
    }

    @Test func `a choice names what there is`() throws {
        let choices = [("key", 1), ("public", 2)]
        #expect(try values(("k", "public")).choice("k", default: 0, choices) == 2)
        #expect(try values().choice("k", default: 0, choices) == 0)
        #expect(
            throws: error("'pubic' is none of 'key', 'public' (did you mean 'public'?)")
        ) {
            try values(("k", "pubic")).choice("k", default: 0, choices)
        }
    }

    @Test func `lists are split at commas, over all their lines`() throws {
        let list = try values(("k", "a, b"), ("k", "c")).list("k")
        #expect(list.map(\.text) == ["a", "b", "c"])
        #expect(list[2].error("bad") == error("bad", line: 2))
        #expect(throws: error("its list has an empty part")) {
            try values(("k", "a,,b")).list("k")
        }
    }

    @Test func `an empty text is an error, a missing one is not`() throws {
        #expect(try values().text("k") == nil)
        #expect(throws: error("it is empty")) { try values(("k", "")).text("k") }
    }

    @Test func `a relative path in a file starts from the file's directory`() throws {
        #expect(try values(("k", "tls/x.pem")).path("k") == "/etc/tls/x.pem")
        #expect(try values(("k", "/x.pem")).path("k") == "/x.pem")
        var options = SettingValues()
        options.append("k", SettingValue("x.pem", .option("k")))
        #expect(try options.path("k") == "x.pem")
        #expect(throws: error("it has a zero byte")) { try values(("k", "a\0b")).path("k") }
    }

    @Test func `a value that is set hides all lower ones of its name`() {
        let upper = values(("a", "1"))
        let lower = values(("a", "2"), ("a", "3"), ("b", "4"))
        let both = upper.over(lower)
        #expect(both.all("a").map(\.text) == ["1"])
        #expect(both.all("b").map(\.text) == ["4"])
    }

    @Test(arguments: [
        ("lisen", " (did you mean 'listen'?)"), ("Listen", " (did you mean 'listen'?)"),
        ("lsiten", " (did you mean 'listen'?)"), ("lsitne", " (did you mean 'listen'?)"),
        ("workres", " (did you mean 'workers'?)"),
        ("x", ""), ("certificates-of-mine", ""), ("", ""),
    ])
    func `a near name is suggested, a far one is not`(written: String, hint: String) {
        #expect(suggestion(for: written, among: ["listen", "workers", "domain"]) == hint)
    }
}
