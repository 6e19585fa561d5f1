// agent.conf and the options of magicmirror: every key, where keys come from, every error.

import Program
import Testing
import Wire

@testable import Agent

@Suite struct AgentConfigurationTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func parse(
        _ arguments: [String], file: String? = nil, _ variables: [String: String] = [:]
    ) throws -> AgentConfiguration {
        let path =
            try file.map { try directory.file("agent.conf", $0) } ?? directory.path + "/none"
        let line = try AgentCommandLine.parse(
            ["magicmirror"] + arguments, Environment(variables), defaultFile: path)
        guard case .run(let configuration) = line else {
            Issue.record("not to be run: \(line)")
            throw StartError.commandLine("not to be run")
        }
        return configuration
    }

    /// The line of the README, and the least that works.
    private static let least = [
        "--remote", "wss://relay.example.com/mirror", "--apikey", "KEY", "--name",
        "localprometheus", "--local", "http://192.168.0.78:9090",
    ]

    @Test func `the line of the manual works as it is`() throws {
        let configuration = try parse(Self.least)
        let mirror = try #require(configuration.mirrors.first)
        #expect(configuration.mirrors.count == 1)
        #expect(mirror.name.text == "localprometheus")
        #expect(mirror.remotes.map(\.url.description) == ["wss://relay.example.com/mirror"])
        #expect(mirror.remotes[0].proxy == nil)
        #expect(mirror.local.description == "http://192.168.0.78:9090")
        #expect(mirror.key.bytes == Array("KEY".utf8))
        #expect(mirror.policy.isUnrestricted)
        #expect(mirror.hostField == .preserve)
        #expect(mirror.trustFile == nil)
        #expect(mirror.localTrustFile == nil)
        #expect(!mirror.localIsInsecure)
        #expect(configuration.limits == AgentLimits())
        #expect(configuration.metricsListening == nil)
        #expect(configuration.logLevel == .info)
        #expect(
            configuration.warnings == [
                "option '--apikey' shows the key to every user of this machine"
                    + " (put it in a file and give --apikey-file)"
            ])
    }

    /// Every key there is but `name`, `apikey` and `local-ca-file`, which cannot stand beside
    /// others here; a test below holds it against the table.
    private static let everyKey = """
        remote = wss://a.example.com/mirror
        remote = ws://127.0.0.1:8080/mirror
        apikey-file = key
        policy = prometheus
        allow = GET /metrics
        host-header = local
        ca-file = ca.pem
        proxy = http://user:p%20w@proxy:8080
        metrics-listen = 127.0.0.1:9481
        log-level = debug
        workers = 1
        maximum-head-bytes = 2KiB
        maximum-fields = 16
        maximum-v1-body-bytes = 3KiB
        maximum-upgrades = 0
        connect-timeout = 2s
        response-timeout = 3s
        idle-timeout = 4s
        heartbeat-interval = 5s
        heartbeat-timeout = 6s
        reconnect-delay = 7ms
        maximum-reconnect-delay = 8s
        drain-timeout = 9s
        local-insecure = yes
        log-query = yes
        [mirror one]
        local = https://10.0.0.1/prefix/
        local-certificate = own.pem
        local-private-key = /own.key
        [mirror two]
        local = unix:/run/x
        remote = wss://b.example.com/m
        allow = * /x/*
        host-header = prometheus.lan
        local-insecure = no
        log-query = no
        """

    @Test func `every key reaches its value, sections before the top`() throws {
        let key = try directory.file("key", "  SECRET\n", mode: 0o640)
        let configuration = try parse([], file: Self.everyKey)
        #expect(configuration.warnings.isEmpty)
        #expect(configuration.mirrors.map(\.name.text) == ["one", "two"])
        let one = configuration.mirrors[0]
        let two = configuration.mirrors[1]
        #expect(
            one.remotes.map(\.url.description)
                == ["wss://a.example.com/mirror", "ws://127.0.0.1:8080/mirror"])
        #expect(two.remotes.map(\.url.description) == ["wss://b.example.com/m"])
        let proxy = ProxyURL(
            address: HostPort(host: "proxy", port: 8080),
            authorization: Array("Basic dXNlcjpwIHc=".utf8))
        #expect(one.remotes.map(\.proxy) == [proxy, proxy])
        #expect(one.key.bytes == Array("SECRET".utf8))
        #expect(two.key == one.key)
        #expect(one.local.description == "https://10.0.0.1/prefix")
        #expect(two.local.description == "unix:/run/x")
        #expect(one.policy.rules.last?.name == "GET /metrics")
        #expect(one.policy.rules.first?.name == "prometheus: GET,HEAD,POST /api/v1/query")
        #expect(two.policy.rules.map(\.name) == ["* /x/*"])
        #expect(one.hostField == .local)
        #expect(two.hostField == .value("prometheus.lan"))
        #expect(one.trustFile == directory.path + "/ca.pem")
        #expect(one.localIsInsecure)
        #expect(one.localIdentity?.certificate == directory.path + "/own.pem")
        #expect(one.localIdentity?.privateKey == "/own.key")
        #expect(two.localIdentity == nil)
        #expect(!two.localIsInsecure)
        #expect(one.logsQueries && !two.logsQueries)
        #expect(configuration.metricsListening == .tcp(HostPort(host: "127.0.0.1", port: 9481)))
        #expect(configuration.logLevel == .debug)
        var limits = AgentLimits()
        limits.workers = 1
        limits.maximumHeadBytes = 2048
        limits.maximumFields = 16
        limits.maximumLegacyBodyBytes = 3072
        limits.maximumUpgrades = 0
        limits.connectTimeout = .seconds(2)
        limits.responseTimeout = .seconds(3)
        limits.idleTimeout = .seconds(4)
        limits.heartbeatInterval = .seconds(5)
        limits.heartbeatTimeout = .seconds(6)
        limits.reconnectDelay = .milliseconds(7)
        limits.maximumReconnectDelay = .seconds(8)
        limits.drainTimeout = .seconds(9)
        #expect(configuration.limits == limits)
        _ = key
    }

    @Test func `the test above sets every key of the table`() {
        let table = AgentCommandLine.table.settings(in: [.key, .sectionKey]).map(\.name)
        let set = Self.everyKey.split(separator: "\n").filter { !$0.hasPrefix("[") }
            .map { String($0.prefix { $0 != " " }) }
        #expect(Set(set).union(["name", "apikey", "local-ca-file"]) == Set(table))
    }

    @Test func `every key of a mirror is an option, too, and stands before the file`() throws {
        let key = try directory.file("other", "OTHER")
        let configuration = try parse(
            [
                "--name", "two", "--remote", "ws://localhost/x", "--local", "9090",
                "--apikey-file", key, "--allow", "GET /a", "--allow", "GET /b",
                "--host-header", "preserve", "--ca-file", "c", "--local-insecure", "--proxy",
                "p:1", "--metrics-listen", "[::1]:1", "--log-level", "error",
            ], file: "apikey = top\n" + Self.everyKey.replacing("apikey-file = key\n", with: ""))
        let mirror = try #require(configuration.mirrors.first)
        #expect(configuration.mirrors.count == 1)
        #expect(mirror.remotes.map(\.url.description) == ["ws://localhost/x"])
        #expect(mirror.remotes[0].proxy?.address == HostPort(host: "p", port: 1))
        #expect(mirror.local.description == "http://127.0.0.1:9090")
        #expect(mirror.key.bytes == Array("OTHER".utf8))
        #expect(mirror.policy.rules.map(\.name) == ["GET /a", "GET /b"])
        #expect(mirror.hostField == .preserve)
        #expect(mirror.trustFile == "c")
        #expect(mirror.localIsInsecure)
        #expect(configuration.logLevel == .error)
        #expect(configuration.metricsListening == .tcp(HostPort(host: "::1", port: 1)))
    }

    @Test func `one section takes options without its name`() throws {
        let file = "remote = wss://r/m\napikey = K\n[mirror one]\nlocal = 1\n"
        #expect(
            try parse(["--local", "2"], file: file).mirrors[0].local.description.hasSuffix(":2"))
    }

    @Test func `a relay without TLS elsewhere is warned about`() throws {
        let file = try directory.file("key", "K")
        let base = ["--name", "one", "--local", "1", "--apikey-file", file, "--remote"]
        #expect(try parse(base + ["ws://127.0.0.1:1/m"]).warnings == [])
        #expect(
            try parse(base + ["ws://relay/m"]).warnings
                == ["'ws://relay/m' is without TLS: key and answers can be read on the way"])
    }

    // MARK: Errors

    @Test(arguments: [
        (["--local"], "option '--local' is missing (such as --local http://127.0.0.1:9090)"),
        (
            ["--remote"],
            "option '--remote' is missing (such as --remote wss://relay.example.com/mirror)"
        ),
        (["--name"], "option '--name' is missing (such as --name localprometheus)"),
        (
            ["--apikey"],
            "option '--apikey-file' is missing (such as --apikey-file /etc/magicmirror/apikey)"
        ),
    ])
    func `a missing option is named with an example`(without: [String], message: String) throws {
        var arguments = Self.least
        let index = try #require(arguments.firstIndex(of: without[0]))
        arguments.removeSubrange(index...index + 1)
        #expect(throws: StartError.commandLine(message)) { try parse(arguments) }
    }

    @Test(arguments: [
        (
            ["--remote", "https://r/m"],
            "option '--remote': 'https://r/m' is not a remote address (write wss://HOST[:PORT]/PATH or ws://…)"
        ),
        (
            ["--remote", "wss://relay.example.com/mirror"],
            "option '--remote': 'wss://relay.example.com/mirror' is given twice"
        ),
        (
            ["--allow", "get /x"],
            "option '--allow': method 'get' in rule 'get /x' is in lower case (did you mean 'GET'?)"
        ),
        (["--allow", "GET x"], "option '--allow': path 'x' does not begin with '/'"),
        (
            ["--policy", "promethius"],
            "option '--policy': 'promethius' is none of 'prometheus', 'read-only' (did you mean 'prometheus'?)"
        ),
        (
            ["--host-header", "a b"],
            "option '--host-header': 'a b' is neither 'preserve' nor 'local' nor a host name"
        ),
        (
            ["--proxy", "socks5://p:1"],
            "option '--proxy': only proxies with the scheme 'http' are known"
        ),
        (
            ["--metrics-listen", "9481"],
            "option '--metrics-listen': '9481' is not an address (write 127.0.0.1:8443, [::]:443 or unix:/PATH)"
        ),
        (
            ["--log-level", "x"],
            "option '--log-level': 'x' is none of 'error', 'warning', 'info', 'debug'"
        ),
        (["--apikey-file", "/k"], "option '--apikey': it cannot stand beside '--apikey-file'"),
        (["--ca-file", ""], "option '--ca-file': it is empty"),
        (
            ["--local-insecure", "--local-ca-file", "x"],
            "option '--local-ca-file': it has no use beside 'local-insecure'"
        ),
        (["--nmae", "x"], "unknown option '--nmae' (did you mean '--name'?)"),
        (["doctors"], "unknown verb 'doctors' (did you mean 'doctor'?)"),
        (["chekc"], "unknown verb 'chekc' (did you mean 'check'?)"),
    ])
    func `a wrong option is named`(more: [String], message: String) {
        #expect(throws: StartError.commandLine(message)) { try parse(Self.least + more) }
    }

    @Test(arguments: [
        ("--name", "a--b", "option '--name': 'a--b' is not a name (\(MirrorName.rule))"),
        (
            "--local", "ftp://x",
            "option '--local': 'ftp://x' has the scheme 'ftp' (only http, https, unix)"
        ),
        (
            "--apikey", "a b",
            "option '--apikey': the key has a space or another character that cannot be in a key"
        ),
        ("--apikey", " ", "option '--apikey': the key is empty"),
    ])
    func `a wrong value of the least is named`(option: String, value: String, message: String)
        throws
    {
        var arguments = Self.least
        arguments[try #require(arguments.firstIndex(of: option)) + 1] = value
        #expect(throws: StartError.commandLine(message)) { try parse(arguments) }
    }

    @Test(arguments: [
        ("[mirror one]\n", 1, "key 'local' is missing (such as: local = http://127.0.0.1:9090)"),
        (
            "[mirror one]\nlocal = 1\n", 1,
            "key 'remote' is missing (such as: remote = wss://relay.example.com/mirror)"
        ),
        (
            "remote = wss://r/m\n[mirror one]\nlocal = 1\n", 2,
            "key 'apikey-file' is missing (such as: apikey-file = /etc/magicmirror/apikey)"
        ),
        ("[mirror -x]\n", 1, "'-x' is not a name (\(MirrorName.rule))"),
        (
            "name = x\n[mirror one]\n", 1,
            "key 'name': it cannot stand beside sections [mirror NAME]"
        ),
        (
            "\nlocal = x:y\nname = x", 2,
            "key 'local': 'x:y' is not a local address (write http://HOST:PORT, https://…, unix:/PATH, HOST:PORT or PORT)"
        ),
        (
            "apikey = a\napikey-file = b\nname = x\nlocal = 1\nremote = ws://r/m", 2,
            "key 'apikey-file': it cannot stand beside key 'apikey' in line 1"
        ),
        (
            "apikey-file = /nonexistent\nname = x\nlocal = 1\nremote = ws://r/m", 1,
            "cannot read '/nonexistent': No such file or directory"
        ),
        (
            "reconnect-delay = 10s\nmaximum-reconnect-delay = 5s\napikey = a\nname = x\nlocal = 1\nremote = ws://r/m",
            2, "key 'maximum-reconnect-delay': '5s' is too small (the least is 10s)"
        ),
        ("lokal = 1", 1, "unknown key 'lokal' (did you mean 'local'?)"),
        ("[mirror one]\nname = x", 2, "key 'name' belongs before the first section"),
        ("[mirror one]\nworkers = 1", 2, "key 'workers' belongs before the first section"),
    ])
    func `a wrong line is named`(text: String, line: Int, message: String) throws {
        let place = directory.path + "/agent.conf:\(line)"
        #expect(throws: StartError.configuration(place: place, message: message)) {
            try parse([], file: text)
        }
    }

    @Test func `a file without a mirror is named`() throws {
        let message = "key 'name' is missing (such as: name = localprometheus)"
        let place = directory.path + "/agent.conf"
        #expect(throws: StartError.configuration(place: place, message: message)) {
            try parse([], file: "log-level = info\n")
        }
    }

    @Test func `options that fit several mirrors need a name`() throws {
        let file =
            "remote = wss://r/m\napikey = K\n[mirror one]\nlocal = 1\n[mirror two]\nlocal = 2\n"
        #expect(try parse([], file: file).mirrors.count == 2)
        #expect(
            try parse(["--name", "two"], file: file).mirrors[0].local.description.hasSuffix(":2"))
        #expect(
            throws: StartError.commandLine(
                "option '--local' needs '--name': the file has 2 mirrors")
        ) { try parse(["--local", "3"], file: file) }
    }

    @Test func `a configuration that is named must be there`() {
        let message = "cannot read '/nonexistent': No such file or directory"
        #expect(throws: StartError.configuration(place: nil, message: message)) {
            try parse(Self.least + ["--config", "/nonexistent"])
        }
    }
}
