// The command line: what is taken, what is refused, and in which words.

import Testing

@testable import Program

private let table = SettingTable(
    program: "tool", purpose: "does things", manual: "tool(1)",
    verbs: [
        .init("check", "checks"), .init("key add", "adds"),
        .init("key revoke", operands: ["ID"], "revokes"),
    ],
    settings: [
        Setting("remote", "URL", "where to", in: .option, repeatable: true),
        Setting("name", "NAME", "who", in: .option),
        Setting("local", "URL", "what", in: .option),
        Setting("local-insecure", nil, "trust", in: .option),
        Setting("expires", "TIME", "until", in: .option, verbs: ["key add"]),
        Setting("secret-key", "X", "only in the file", in: .key),
        Setting("version", nil, "version", in: .option),
        Setting("help", nil, "help", in: .option),
    ])

private func parse(_ arguments: String...) throws -> Options {
    try Options(["tool"] + arguments, table)
}

@Suite struct OptionsTests {
    @Test func `options keep their values and their places`() throws {
        let options = try parse(
            "--remote", "a", "--remote=b", "--name=n", "--local-insecure", "--local", "")
        #expect(options.values.all("remote").map(\.text) == ["a", "b"])
        #expect(options.values.first("name") == SettingValue("n", .option("name")))
        #expect(options.values.first("local")?.text == "")
        #expect(try options.values.flag("local-insecure"))
        #expect(options.verb == nil)
        #expect(options.operands == [])
    }

    @Test(arguments: [
        (["check"], "check", [String]()),
        (["check", "--name", "x"], "check", []),
        (["--name", "x", "check"], "check", []),
        (["key", "add", "--expires", "1d"], "key add", []),
        (["key", "revoke", "abc"], "key revoke", ["abc"]),
        (["key", "--name", "x", "revoke", "abc"], "key revoke", ["abc"]),
        (["key", "revoke", "--", "-abc"], "key revoke", ["-abc"]),
    ])
    func `verbs stand before, after and between options`(
        arguments: [String], verb: String, operands: [String]
    ) throws {
        let options = try Options(["tool"] + arguments, table)
        #expect(options.verb == verb)
        #expect(options.operands == operands)
    }

    @Test func `an option may be cut short where it stays clear`() throws {
        #expect(try parse("--rem", "a").values.first("remote")?.text == "a")
        #expect(try parse("--local", "a").values.first("local")?.text == "a")
    }

    @Test func `help and version are taken whatever else stands there`() throws {
        #expect(try parse("--help", "nonsense").wantsHelp)
        #expect(try parse("-h").wantsHelp)
        #expect(try parse("--expires", "1d", "--version").wantsVersion)
    }

    @Test(arguments: [
        (["--remot"], "option '--remote' needs a value: --remote URL"),
        (["--remtoe", "x"], "unknown option '--remtoe' (did you mean '--remote'?)"),
        (["--zzzzz"], "unknown option '--zzzzz' (see 'tool --help')"),
        (["--zzzzz=secret"], "unknown option '--zzzzz' (see 'tool --help')"),
        (["--secret-key", "x"], "unknown option '--secret-key' (see 'tool --help')"),
        (["-x"], "unknown option '-x' (see 'tool --help')"),
        (["--local-insecure", "-xy"], "unknown option '-x' (see 'tool --help')"),
        (["--loca", "x"], "option '--loca' is ambiguous ('--local', '--local-insecure')"),
        (["--name"], "option '--name' needs a value: --name NAME"),
        (["--local-insecure=yes"], "option '--local-insecure' takes no value"),
        (["--name", "a", "--name", "b"], "option '--name' is given twice"),
        (["chekc"], "unknown verb 'chekc' (did you mean 'check'?)"),
        (["key"], "verb 'key' is not whole (there are 'key add', 'key revoke')"),
        (["key", "ad"], "unknown verb 'key ad' (did you mean 'key add'?)"),
        (["key", "revoke"], "verb 'key revoke' needs 1 operand: key revoke ID"),
        (["key", "revoke", "a", "b"], "unexpected argument 'b'"),
        (["check", "more"], "unexpected argument 'more'"),
        (["--expires", "1d"], "option '--expires' needs the verb 'key add'"),
        (["check", "--expires", "1d"], "option '--expires' needs the verb 'key add'"),
    ])
    func `what is wrong is said in one line`(arguments: [String], message: String) {
        #expect(throws: StartError.commandLine(message)) {
            try Options(["tool"] + arguments, table)
        }
    }

    @Test func `a program without verbs takes no words`() {
        let plain = SettingTable(program: "p", purpose: "x", manual: "p(8)", settings: [])
        #expect(throws: StartError.commandLine("unexpected argument 'x'")) {
            try Options(["p", "x"], plain)
        }
    }

    @Test func `the help names every option and verb`() {
        for name in ["--remote URL", "--local-insecure", "--expires TIME", "key revoke ID"] {
            #expect(table.help.contains(name))
        }
        #expect(!table.help.contains("secret-key"))
        #expect(table.help.split(separator: "\n").allSatisfy { $0.count <= 100 })
    }

    @Test func `an error of the command line is 64, of the configuration 78`() {
        let option = SettingValue("x", .option("name")).error("bad")
        #expect(option.exitCode == .commandLine)
        #expect(option.line(program: "tool") == "tool: option '--name': bad")
        let line = SettingValue("x", .line(file: "/f", number: 12, key: "name")).error("bad")
        #expect(line.exitCode == .configuration)
        #expect(line.line(program: "tool") == "/f:12: key 'name': bad")
        let variable = SettingValue("x", .environment("KEY")).error("bad")
        #expect(variable.exitCode == .configuration)
        #expect(variable.line(program: "tool") == "tool: environment variable 'KEY': bad")
        let file = SettingValue("x", .file("/k")).error("bad")
        #expect(file.line(program: "tool") == "/k: bad")
    }
}
