// The command line of magicmirrorctl: the verbs of keys, and where the keys file is.

import Program
import Testing
import Wire

@testable import Relay

private func parse(_ arguments: String..., defaultFile: String = "/nonexistent") throws
    -> ControlCommandLine
{
    try ControlCommandLine.parse(["magicmirrorctl"] + arguments, defaultFile: defaultFile)
}

@Suite struct ControlCommandLineTests {
    @Test func `key add takes all it needs`() throws {
        let line = try parse(
            "key", "add", "--user", "alice", "--role", "agent", "--name", "prom*", "--expires",
            "90d", "--comment", "home", "--secret-stdin", "--json", "--keys", "/k")
        guard case .addKey(let request) = line.verb else {
            Issue.record("another verb")
            return
        }
        #expect(request.role == .agent)
        #expect(request.user.text == "alice")
        #expect(request.pattern.text == "prom*")
        #expect(request.lifetime == .seconds(90 * 86_400))
        #expect(request.comment == "home")
        #expect(request.readsSecret)
        #expect(line.wantsJSON)
        #expect(line.keysFile == "/k")
    }

    @Test func `key add has defaults`() throws {
        let line = try parse("key", "add", "--user", "alice", "--role", "client")
        guard case .addKey(let request) = line.verb else {
            Issue.record("another verb")
            return
        }
        #expect(request.role == .client)
        #expect(request.pattern == .any)
        #expect(request.lifetime == nil)
        #expect(request.comment == "")
        #expect(!request.readsSecret)
        #expect(!line.wantsJSON)
        #expect(line.keysFile == "/var/lib/magicmirrord/keys")
    }

    @Test func `the keys file is where the configuration says`() throws {
        let directory = try TemporaryDirectory()
        let conf = try directory.file("relay.conf", "listen = [::]:1\nkeys = my/keys\n")
        #expect(try parse("key", "list", "--config", conf).keysFile == directory.path + "/my/keys")
        #expect(try parse("key", "list", defaultFile: conf).keysFile == directory.path + "/my/keys")
        #expect(try parse("key", "list", "--config", conf, "--keys", "k").keysFile == "k")
        let silent = try directory.file("silent.conf", "listen = [::]:1\n")
        #expect(
            try parse("key", "list", "--config", silent).keysFile == "/var/lib/magicmirrord/keys")
        let broken = try directory.file("broken.conf", "kes = x\n")
        #expect(
            throws: StartError.configuration(
                place: "\(broken):1", message: "unknown key 'kes' (did you mean 'keys'?)")
        ) { try parse("key", "list", "--config", broken) }
        #expect(
            throws: StartError.configuration(
                place: nil, message: "cannot read '/none': No such file or directory")
        ) { try parse("key", "list", "--config", "/none") }
    }

    @Test func `the control socket is where the configuration says`() throws {
        let directory = try TemporaryDirectory()
        let conf = try directory.file("relay.conf", "listen = [::]:1\ncontrol-socket = here\n")
        #expect(try parse("status", "--config", conf).socket == directory.path + "/here")
        #expect(try parse("drain", defaultFile: conf).socket == directory.path + "/here")
        #expect(try parse("reload", "--config", conf, "--socket", "s").socket == "s")
        #expect(try parse("mirrors", "--socket", "s", "--json").wantsJSON)
        let silent = try directory.file("silent.conf", "listen = [::]:1\n")
        #expect(
            throws: StartError.configuration(
                place: silent,
                message: "key 'control-socket' is missing"
                    + " (such as: control-socket = /run/magicmirrord/control)")
        ) { try parse("status", "--config", silent) }
        #expect(
            throws: StartError.configuration(
                place: nil, message: "there is no '/none' (give --socket PATH or --config FILE)")
        ) { try parse("status", defaultFile: "/none") }
    }

    @Test func `a mirror's name goes into the order as it is`() throws {
        guard case .control(let request) = try parse("disconnect", "a.b/c_d", "--socket", "s").verb
        else {
            Issue.record("another verb")
            return
        }
        #expect(request.method == "POST")
        let query = Array(request.target.utf8).drop { $0 != UInt8(ascii: "?") }.dropFirst()
        #expect(
            PercentEncoding.queryValue("mirror", in: query).map {
                String(decoding: $0, as: UTF8.self)
            }
                == "a.b/c_d")
    }

    @Test(arguments: [
        ([], "a verb is missing (see 'magicmirrorctl --help')"),
        (["keys"], "unknown verb 'keys' (see 'magicmirrorctl --help')"),
        (["key", "add"], "option '--user' is missing (such as --user alice)"),
        (
            ["key", "add", "--user", "a"],
            "option '--role' is missing (--role agent or --role client)"
        ),
        (
            ["key", "add", "--user", "a", "--role", "admin"],
            "option '--role': 'admin' is none of 'agent', 'client'"
        ),
        (
            ["key", "add", "--user", "a/b", "--role", "agent"],
            "option '--user': 'a/b' is not a name (\(MirrorName.rule))"
        ),
        (
            ["key", "add", "--user", "a", "--role", "agent", "--name", "a?"],
            "option '--name': 'a?' is not a name with '*' (\(MirrorName.rule))"
        ),
        (
            ["key", "add", "--user", "a", "--role", "agent", "--expires", "90"],
            "option '--expires': '90' is not a time such as 500ms, 90s, 10m, 12h or 90d"
        ),
        (
            ["key", "add", "--user", "a", "--role", "agent", "--expires", "0d"],
            "option '--expires': '0d' is too small (the least is 1s)"
        ),
        (["key", "list", "--user", "a"], "option '--user' needs the verb 'key add'"),
        (["disconnect"], "verb 'disconnect' needs 1 operand: disconnect USER/NAME"),
        (["disconnect", "alice"], "'alice' is not USER/NAME (each \(MirrorName.rule))"),
        (["disconnect", "a/b/c"], "'a/b/c' is not USER/NAME (each \(MirrorName.rule))"),
        (
            ["status", "--keys", "k"],
            "option '--keys' needs the verb 'key add' or 'key list' or 'key revoke'"
        ),
        (["key", "revoke"], "verb 'key revoke' needs 1 operand: key revoke ID"),
    ])
    func `a wrong command line is named`(arguments: [String], message: String) {
        #expect(throws: StartError.commandLine(message)) {
            try ControlCommandLine.parse(
                ["magicmirrorctl"] + arguments, defaultFile: "/nonexistent")
        }
    }

    @Test func `a secret of sixteen visible characters is taken without its line feed`() throws {
        #expect(
            try ControlCommandLine.checkedSecret(Array("0123456789abcdef\n".utf8))
                == "0123456789abcdef")
        #expect(
            try ControlCommandLine.checkedSecret(Array("0123456789abcdef\r\n".utf8))
                == "0123456789abcdef")
    }

    @Test(arguments: [
        ("", "the secret has 0 characters (at least 16)"),
        ("0123456789abcde\n", "the secret has 15 characters (at least 16)"),
        (
            "0123456789 abcdef",
            "the secret has a space or another character that cannot be in a key"
        ),
        (
            "0123456789abcdef\n\n",
            "the secret has a space or another character that cannot be in a key"
        ),
        (String(repeating: "x", count: 1025), "the secret is longer than 1024 characters"),
    ])
    func `another secret is refused`(secret: String, message: String) {
        #expect(throws: StartError.commandLine(message)) {
            try ControlCommandLine.checkedSecret(Array(secret.utf8))
        }
    }

    @Test func `times are written in UTC`() {
        #expect(WallClock.text(secondsSince1970: 0) == "1970-01-01T00:00:00Z")
        #expect(WallClock.text(secondsSince1970: 1_709_210_096) == "2024-02-29T12:34:56Z")
    }
}
