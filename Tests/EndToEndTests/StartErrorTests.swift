// Bad input stops a program at its start: one line that says where, what is wrong and what to do,
// and the exit code of the manual.

import Foundation
import Testing

struct StartErrorTests {
    // MARK: the relay

    /// Lines behind `listen` (1), `plaintext` (2) and `keys` (3), and what the message must name.
    @Test(arguments: [
        ("lisen = 127.0.0.1:1\n", 4, ["unknown key 'lisen'", "did you mean 'listen'?"]),
        ("\n\n# a comment\nnonsense\n", 7, ["nonsense"]),
        ("listen = 127.0.0.1:http\n", 4, ["127.0.0.1:http"]),
        ("listen = 127.0.0.1:65536\n", 4, ["65536"]),
        ("workers = many\n", 4, ["workers", "many"]),
        ("workers = 0\n", 4, ["workers"]),
        ("head-timeout = 10 parsecs\n", 4, ["head-timeout", "parsecs"]),
        ("response-timeout = never\n", 4, ["never"]),
        ("plaintext = no\n", 4, ["plaintext", "line 2"]),
        ("[mirror alice]\n", 4, ["alice"]),
        ("[nonsense]\n", 4, ["nonsense"]),
        ("[mirror alice/prom]\naccess = sometimes\n", 5, ["sometimes"]),
        ("[mirror alice/prom\n", 4, ["mirror"]),
        ("= 5\n", 4, []),
    ])
    func `a broken line of relay.conf is named`(lines: String, number: Int, words: [String]) throws
    {
        try stage { stage in
            let file = try stage.relayConfiguration(certificate: nil, lines)
            for arguments in [["--config", file], ["--check", "--config", file]] {
                try expectOneLine(
                    stage.run(Built.relay, arguments), .code(78), ["\(file):\(number): "] + words)
            }
        }
    }

    @Test func `a sound configuration is checked without serving`() throws {
        try stage { stage in
            let file = try stage.relayConfiguration(certificate: stage.certificate())
            let checked = try stage.run(Built.relay, ["--check", "--config", file])
            #expect(checked.exit == .code(0), "\(checked.error)")
            #expect(!checked.output.contains("ready"))
        }
    }

    @Test func `a configuration file that is not there is named`() throws {
        try stage { stage in
            let file = stage.path("absent.conf")
            try expectOneLine(stage.run(Built.relay, ["--config", file]), .code(78), [file])
        }
    }

    @Test func `a certificate that is not there is named with its line`() throws {
        try stage { stage in
            let absent = Certificate(file: stage.path("absent.pem"), key: stage.path("absent.key"))
            let file = try stage.relayConfiguration(certificate: absent)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78), ["\(file):2: ", absent.file])
        }
    }

    @Test func `a certificate that does not match its key is named`() throws {
        try stage { stage in
            let mixed = Certificate(
                file: try stage.certificate("one").file, key: try stage.certificate("two").key)
            let file = try stage.relayConfiguration(certificate: mixed)
            for arguments in [["--config", file], ["--check", "--config", file]] {
                try expectOneLine(
                    stage.run(Built.relay, arguments), .code(78),
                    ["\(file):3: ", mixed.file, mixed.key, "match"])
            }
        }
    }

    @Test func `a certificate of another kind than its key is named`() throws {
        try stage { stage in
            let key = stage.path("rsa.key")
            let made = try stage.run("openssl", ["genrsa", "-out", key, "2048"])
            #expect(made.exit == .code(0), "\(made.error)")
            let mixed = Certificate(file: try stage.certificate("one").file, key: key)
            let file = try stage.relayConfiguration(certificate: mixed)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78), ["\(file):3: ", "match"])
        }
    }

    @Test func `a private key under a password is named, and nobody is asked for it`() throws {
        try stage { stage in
            let certificate = try stage.certificate("one")
            let locked = stage.path("locked.key")
            let made = try stage.run(
                "openssl",
                ["pkey", "-in", certificate.key, "-out", locked, "-aes128", "-passout", "pass:x"])
            #expect(made.exit == .code(0), "\(made.error)")
            let file = try stage.relayConfiguration(
                certificate: Certificate(file: certificate.file, key: locked))
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78),
                ["\(file):3: ", locked, "without a password"])
        }
    }

    @Test func `a private key that is no key is named`() throws {
        try stage { stage in
            let broken = Certificate(
                file: try stage.certificate("one").file,
                key: try stage.write("broken.key", "nonsense\n"))
            let file = try stage.relayConfiguration(certificate: broken)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78), ["\(file):3: ", broken.key])
        }
    }

    @Test func `neither a certificate nor plaintext is not enough`() throws {
        try stage { stage in
            let keys = try stage.write("keys", "# magicmirror keys 1\n")
            let file = try stage.write(
                "relay.conf", "listen = 127.0.0.1:0\nkeys = \(keys)\n")
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78), [file, "certificate"])
        }
    }

    @Test func `a broken line of the keys file is named`() throws {
        try stage { stage in
            let keys = try stage.write("keys", "# magicmirror keys 1\nnonsense\n")
            let file = try stage.relayConfiguration(certificate: nil)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78), ["\(keys):2: "])
        }
    }

    @Test func `a keys file that can't be read is named`() throws {
        try stage { stage in
            mkdir(stage.path("keys"), 0o700)
            let file = try stage.relayConfiguration(certificate: nil)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(78),
                ["\(file):3: ", stage.path("keys")])
        }
    }

    @Test func `a keys file that others may write to is refused`() throws {
        try stage { stage in
            let keys = try stage.write("keys", "# magicmirror keys 1\n", mode: 0o666)
            let file = try stage.relayConfiguration(certificate: nil)
            try expectOneLine(stage.run(Built.relay, ["--config", file]), .code(78), [keys])
        }
    }

    @Test func `a port in use is named, and is a failure of this run`() throws {
        try stage { stage in
            let taken = try Listener()
            let address = "127.0.0.1:\(taken.port)"
            let file = try stage.relayConfiguration(listen: [address], certificate: nil)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(1),
                ["\(file):1: cannot bind '\(address)': Address already in use ("])
            let other = try stage.relayConfiguration(
                certificate: nil, "admin-listen = \(address)\n")
            try expectOneLine(
                stage.run(Built.relay, ["--config", other]), .code(1),
                ["\(other):4: cannot bind '\(address)': Address already in use ("])
            try expectOneLine(
                stage.run(
                    Built.relay,
                    ["--quickstart", "--listen", address, "--state", stage.path("state")]),
                .code(1),
                [
                    "magicmirrord: option '--listen': cannot bind '\(address)': Address already in use ("
                ])
        }
    }

    @Test func `an address that this machine does not have is named`() throws {
        try stage { stage in
            // RFC 5737: nobody has it.
            let file = try stage.relayConfiguration(listen: ["192.0.2.1:0"], certificate: nil)
            try expectOneLine(
                stage.run(Built.relay, ["--config", file]), .code(1),
                ["\(file):1: cannot bind '192.0.2.1:0': ", "no such address"])
        }
    }

    @Test(arguments: [
        ["--nonsense"], ["--config"], ["nonsense"], ["--quickstart", "--listen", "nowhere"],
        ["--listen", "127.0.0.1:0"],
    ])
    func `a wrong command line of the relay is named`(arguments: [String]) throws {
        try stage { stage in
            try expectOneLine(
                stage.run(Built.relay, arguments), .code(64), ["magicmirrord: "])
        }
    }

    // MARK: the agent

    @Test(arguments: [
        (["--nonsense"], "nonsense"),
        (["--remote", "http://127.0.0.1:1/mirror"], "http://127.0.0.1:1/mirror"),
        (["--remote", "wss://"], "wss://"),
        (["--remote", "wss://a:99999/mirror"], "99999"),
        (["--local", "ftp://127.0.0.1"], "ftp://127.0.0.1"),
        (["--local", "http://[::1"], "[::1"),
        (["--name", "no/such/name"], "no/such/name"),
        (["--name", "--"], "--"),
        (["--allow", "GET"], "GET"),
        (["--policy", "prometeus"], "prometheus"),
        (["--host-header"], "host-header"),
        (["--metrics-listen", "0.0.0.0:9481"], "0.0.0.0:9481"),
        (["nonsense"], "nonsense"),
    ])
    func `a wrong command line of the agent is named`(options: [String], word: String) throws {
        try stage { stage in
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            var all = [
                "--remote": "ws://127.0.0.1:1/mirror", "--apikey-file": key, "--name": "prom",
                "--local": "http://127.0.0.1:2",
            ]
            if options.count == 2 { all[options[0]] = nil }
            try expectOneLine(
                stage.run(Built.agent, all.flatMap { [$0, $1] } + options), .code(64),
                ["magicmirror: ", word])
        }
    }

    @Test(arguments: ["--remote", "--name", "--local", "--apikey-file"])
    func `an option that the agent can't do without is named`(missing: String) throws {
        try stage { stage in
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            let all = [
                "--remote": "ws://127.0.0.1:1/mirror", "--apikey-file": key, "--name": "prom",
                "--local": "http://127.0.0.1:2",
            ].filter { $0.key != missing }
            try expectOneLine(
                stage.run(Built.agent, all.flatMap { [$0, $1] }), .code(64),
                [missing == "--apikey-file" ? "apikey" : missing.dropFirst(2).description])
        }
    }

    @Test func `a key file of the agent that can't be read is named`() throws {
        try stage { stage in
            for path in [stage.path("absent.key"), stage.directory] {
                try expectOneLine(
                    stage.run(
                        Built.agent,
                        [
                            "--remote", "ws://127.0.0.1:1/mirror", "--apikey-file", path,
                            "--name", "prom", "--local", "9090",
                        ]), .code(78), ["magicmirror: ", "--apikey-file", path])
                let file = try stage.write(
                    "agent.conf",
                    "remote = ws://127.0.0.1:1/mirror\napikey-file = \(path)\n"
                        + "[mirror prom]\nlocal = 9090\n")
                try expectOneLine(
                    stage.run(Built.agent, ["--config", file]), .code(78), ["\(file):2: ", path])
            }
        }
    }

    @Test func `an empty key file of the agent is named`() throws {
        try stage { stage in
            let empty = try stage.write("agent.key", "\n")
            let file = try stage.write(
                "agent.conf",
                "remote = ws://127.0.0.1:1/mirror\napikey-file = \(empty)\n"
                    + "[mirror prom]\nlocal = 9090\n")
            try expectOneLine(
                stage.run(Built.agent, ["--config", file]), .code(78), [empty, "empty"])
        }
    }

    @Test func `a file of authorities that holds none is named`() throws {
        try stage { stage in
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            let broken = try stage.write("ca.pem", "nonsense\n")
            try expectOneLine(
                stage.run(
                    Built.agent,
                    [
                        "--remote", "wss://127.0.0.1:1/mirror", "--apikey-file", key, "--name",
                        "prom", "--local", "http://127.0.0.1:2", "--ca-file", broken,
                    ]), .code(78), ["magicmirror: option '--ca-file': ", broken])
            for name in ["ca-file", "local-ca-file"] {
                let file = try stage.write(
                    "agent.conf",
                    "apikey-file = \(key)\nremote = wss://127.0.0.1:1/mirror\n[mirror prom]\n"
                        + "local = https://127.0.0.1:2\n\(name) = \(broken)\n")
                for arguments in [["--config", file], ["check", "--config", file]] {
                    try expectOneLine(
                        stage.run(Built.agent, arguments), .code(78), ["\(file):5: ", broken])
                }
            }
        }
    }

    @Test(arguments: [
        (
            "remot = ws://127.0.0.1:1/mirror\n", 3,
            ["unknown key 'remot'", "did you mean 'remote'?"]
        ),
        ("nonsense\n", 3, ["nonsense"]),
        ("[mirror prom]\nremote = http://a:1/mirror\nlocal = 1\n", 4, ["http://a:1/mirror"]),
        ("[mirror prom]\nlocal = ftp://x\n", 4, ["ftp://x"]),
        ("[mirror pr/om]\nlocal = 9090\n", 3, ["pr/om"]),
        ("[mirror prom]\nlocal = 9090\nallow = sometimes\n", 5, ["sometimes"]),
    ])
    func `a broken line of agent.conf is named`(lines: String, number: Int, words: [String]) throws
    {
        try stage { stage in
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            let file = try stage.write(
                "agent.conf",
                "apikey-file = \(key)\nremote = ws://127.0.0.1:1/mirror\n" + lines)
            for arguments in [["--config", file], ["check", "--config", file]] {
                try expectOneLine(
                    stage.run(Built.agent, arguments), .code(78), ["\(file):\(number): "] + words)
            }
        }
    }

    @Test func `a sound configuration of the agent is checked without connecting`() throws {
        try stage { stage in
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            let file = try stage.write(
                "agent.conf",
                "apikey-file = \(key)\nremote = ws://127.0.0.1:1/mirror\n[mirror prom]\nlocal = 9090\n"
            )
            let checked = try stage.run(Built.agent, ["check", "--config", file])
            #expect(checked.exit == .code(0), "\(checked.error)")
        }
    }

    // MARK: the control program

    @Test(arguments: [
        (["nonsense"], "nonsense"), ([], "verb"), (["key"], "key"),
        (["key", "nonsense"], "nonsense"),
        (["key", "add", "--role", "client"], "user"),
        (["key", "add", "--user", "alice"], "role"),
        (["key", "add", "--user", "alice", "--role", "admin"], "admin"),
        (["key", "add", "--user", "al/ice", "--role", "client"], "al/ice"),
        (["key", "add", "--user", "alice", "--role", "client", "--expires", "soon"], "soon"),
        (["key", "revoke"], "ID"),
    ])
    func `a wrong command line of the control program is named`(
        arguments: [String], word: String
    ) throws {
        try stage { stage in
            let keys = try stage.write("keys", "# magicmirror keys 1\n")
            let place = arguments.count > 1 ? ["--keys", keys] : []
            let finished = try stage.run(Built.control, arguments + place)
            #expect(finished.exit == .code(64))
            #expect(finished.error.contains(word), "\(finished.error)")
            #expect(finished.errorLines.count == 1, "\(finished.error)")
        }
    }

    @Test func `a key that is not there can't be revoked`() throws {
        try stage { stage in
            let keys = try stage.write("keys", "# magicmirror keys 1\n")
            try expectOneLine(
                stage.run(Built.control, ["key", "revoke", "--keys", keys, "absent"]), .code(1),
                ["absent"])
        }
    }

    // MARK: all

    @Test func `each program tells its version and its options`() throws {
        try stage { stage in
            for program in [Built.relay, Built.agent, Built.control] {
                let version = try stage.run(program, ["--version"])
                #expect(version.exit == .code(0))
                #expect(version.output.hasPrefix("magicmirror"))
                let help = try stage.run(program, ["--help"])
                #expect(help.exit == .code(0))
                #expect(help.output.contains("--help"))
                #expect(help.error.isEmpty)
            }
        }
    }
}

/// Expects the program to have ended with `exit` and one line on standard error with all `words`.
private func expectOneLine(
    _ finished: Finished, _ exit: Program.Exit, _ words: [String],
    sourceLocation: SourceLocation = #_sourceLocation
) throws {
    #expect(finished.exit == exit, "\(finished.error)", sourceLocation: sourceLocation)
    #expect(finished.errorLines.count == 1, "\(finished.error)", sourceLocation: sourceLocation)
    for word in words {
        #expect(
            finished.error.contains(word), "no '\(word)' in: \(finished.error)",
            sourceLocation: sourceLocation)
    }
    #expect(!finished.output.contains("ready"), sourceLocation: sourceLocation)
}
