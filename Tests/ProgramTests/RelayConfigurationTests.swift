// relay.conf: every key, every error with its line, and the command line of magicmirrord.

import Program
import Testing
import Wire

@testable import Relay

@Suite struct RelayConfigurationTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// What every relay.conf needs.
    private static let least = "listen = [::]:443\nplaintext = yes\n"

    /// Every key there is; a test below holds it against the table.
    private static let everyKey = """
        listen = 127.0.0.1:8443
        listen = [::1]:8443
        listen = unix:/run/x
        listen = systemd
        certificate = tls/chain.pem      # from this file's directory
        private-key = /tls/key.pem
        plaintext = no
        trusted-proxies = 127.0.0.1, 10.0.0.0/8
        trusted-proxies = ::1, unix
        proxy-protocol = yes
        log-query = yes
        domain = Relay.Example.com
        admin-listen = 127.0.0.1:9480
        control-socket = /run/magicmirrord/control
        keys = /keys
        agent-path = /agents
        log-level = debug
        maximum-head-bytes = 8KiB
        maximum-fields = 64
        maximum-target-bytes = 4KiB
        maximum-v1-body-bytes = 1MiB
        handshake-timeout = 1s
        head-timeout = 2s
        idle-timeout = 3s
        minimum-rate = 4
        minimum-rate-after = 5s
        response-timeout = 6s
        maximum-exchanges = 7
        maximum-exchanges-per-address = 14
        maximum-wrong-keys = 15
        maximum-connections = 8
        maximum-mirrors = 14
        maximum-sessions = 15
        maximum-upgrades = 9
        heartbeat-interval = 10s
        heartbeat-timeout = 11s
        workers = 12
        drain-timeout = 13s
        drain-delay = 14s
        [mirror alice/localprometheus]
        access = public
        hosts = Prometheus.example.com, p.example.com
        hosts = q.example.com
        [mirror bob/x]
        """

    private func read(_ text: String, _ arguments: String...) throws -> RelayConfiguration {
        let path = try directory.file("relay.conf", text)
        let line = try RelayCommandLine.parse(["magicmirrord", "--config", path] + arguments)
        guard case .run(let configuration) = line else {
            Issue.record("not to be run: \(line)")
            throw StartError.commandLine("not to be run")
        }
        return configuration
    }

    @Test func `every key reaches its value`() throws {
        let configuration = try read(Self.everyKey)
        #expect(
            configuration.listening == [
                .address(.tcp(HostPort(host: "127.0.0.1", port: 8443))),
                .address(.tcp(HostPort(host: "::1", port: 8443))),
                .address(.unix(path: "/run/x")), .systemd,
            ])
        #expect(
            configuration.certificate
                == RelayConfiguration.Certificate(
                    chainFile: directory.path + "/tls/chain.pem", privateKeyFile: "/tls/key.pem"))
        #expect(
            configuration.trustedProxies
                == TrustedProxies(
                    ranges: ["127.0.0.1", "10.0.0.0/8", "::1"].map { AddressRange($0)! },
                    includesUnix: true))
        #expect(configuration.expectsProxyHeader)
        #expect(configuration.logsQueries)
        #expect(configuration.domain == "relay.example.com")
        #expect(configuration.adminListening == .tcp(HostPort(host: "127.0.0.1", port: 9480)))
        #expect(configuration.controlSocket == "/run/magicmirrord/control")
        #expect(configuration.keysFile == "/keys")
        #expect(configuration.agentPath == "/agents")
        #expect(configuration.logLevel == .debug)
        var limits = RelayLimits()
        limits.maximumHeadBytes = 8192
        limits.maximumFields = 64
        limits.maximumTargetBytes = 4096
        limits.maximumLegacyBodyBytes = 1_048_576
        limits.handshakeTimeout = .seconds(1)
        limits.headTimeout = .seconds(2)
        limits.idleTimeout = .seconds(3)
        limits.minimumBytesPerSecond = 4
        limits.minimumRateAfter = .seconds(5)
        limits.responseTimeout = .seconds(6)
        limits.maximumExchanges = 7
        limits.maximumExchangesPerAddress = 14
        limits.maximumWrongKeys = 15
        limits.maximumConnections = 8
        limits.maximumMirrors = 14
        limits.maximumSessions = 15
        limits.maximumUpgrades = 9
        limits.heartbeatInterval = .seconds(10)
        limits.heartbeatTimeout = .seconds(11)
        limits.workers = 12
        limits.drainTimeout = .seconds(13)
        limits.drainDelay = .seconds(14)
        #expect(configuration.limits == limits)
        #expect(limits.head.maximumHeadBytes == 8192)
        #expect(limits.head.maximumFields == 64)
        #expect(limits.head.maximumTargetBytes == 4096)
        #expect(configuration.mirrors.map(\.user.text) == ["alice", "bob"])
        #expect(configuration.mirrors.map(\.name.text) == ["localprometheus", "x"])
        #expect(configuration.mirrors.map(\.access) == [.anybody, .key])
        #expect(
            configuration.mirrors[0].hosts
                == ["prometheus.example.com", "p.example.com", "q.example.com"])
    }

    @Test func `the test above sets every key of the table`() {
        let table = RelayCommandLine.table.settings(in: [.key, .sectionKey]).map(\.name)
        let set = Self.everyKey.split(separator: "\n").filter { !$0.hasPrefix("[") }
            .map { String($0.prefix { $0 != " " }) }
        #expect(Set(set) == Set(table))
    }

    @Test func `what is not set has the documented default`() throws {
        let configuration = try read(Self.least)
        #expect(configuration.certificate == nil)
        #expect(configuration.keysFile == "/var/lib/magicmirrord/keys")
        #expect(configuration.agentPath == "/mirror")
        #expect(configuration.logLevel == .info)
        #expect(configuration.limits == RelayLimits())
        #expect(configuration.limits.maximumHeadBytes == 32_768)
        #expect(configuration.limits.maximumFields == 128)
        #expect(configuration.limits.maximumTargetBytes == 16_384)
        #expect(configuration.limits.maximumLegacyBodyBytes == 16_777_216)
        #expect(configuration.limits.handshakeTimeout == .seconds(10))
        #expect(configuration.limits.headTimeout == .seconds(10))
        #expect(configuration.limits.idleTimeout == .seconds(75))
        #expect(configuration.limits.minimumBytesPerSecond == 500)
        #expect(configuration.limits.minimumRateAfter == .seconds(20))
        #expect(configuration.limits.responseTimeout == .seconds(120))
        #expect(configuration.limits.maximumExchanges == 128)
        #expect(configuration.limits.maximumExchangesPerAddress == 160)
        #expect(configuration.limits.maximumWrongKeys == 60)
        #expect(configuration.limits.maximumConnections == 16_384)
        #expect(configuration.limits.heartbeatInterval == .seconds(15))
        #expect(configuration.limits.heartbeatTimeout == .seconds(10))
        #expect(configuration.limits.workers == 256)
        #expect(configuration.limits.drainTimeout == .seconds(30))
        #expect(configuration.trustedProxies.isEmpty)
        #expect(configuration.domain == nil)
        #expect(configuration.adminListening == nil)
        #expect(configuration.controlSocket == nil)
        #expect(configuration.mirrors.isEmpty)
    }

    @Test func `an option stands before the key`() throws {
        let text = Self.least + "log-level = error\n"
        #expect(try read(text).logLevel == .error)
        #expect(try read(text, "--log-level", "debug").logLevel == .debug)
    }

    @Test(arguments: [
        (
            "listen = 443", 3,
            "key 'listen': '443' is not an address (write 127.0.0.1:8443, [::]:443 or unix:/PATH)"
        ),
        (
            "listen = example.com:443", 3,
            "key 'listen': 'example.com' is not an address in figures (0.0.0.0 or [::] for all)"
        ),
        (
            "listen = 1.2.3.4:70000", 3,
            "key 'listen': '1.2.3.4:70000' is not an address (write 127.0.0.1:8443, [::]:443 or unix:/PATH)"
        ),
        (
            "listen = systemd\nlisten = systemd", 4,
            "key 'listen': 'systemd' stands twice (it takes all sockets at once)"
        ),
        (
            "certificate = /c", 3,
            "key 'certificate': it has no use beside 'plaintext = yes' (take one of them away)"
        ),
        (
            "trusted-proxies = 10.0.0.1/8", 3,
            "key 'trusted-proxies': '10.0.0.1/8' is no address or network such as 10.0.0.0/8,"
                + " nor 'unix'"
        ),
        (
            "proxy-protocol = yes", 3,
            "key 'proxy-protocol': it needs 'trusted-proxies' (those that send the header)"
        ),
        ("trusted-proxies = ::1,", 3, "key 'trusted-proxies': its list has an empty part"),
        (
            "domain = https://x", 3,
            "key 'domain': 'https://x' is not a host name (no scheme, port or path)"
        ),
        ("domain = a..b", 3, "key 'domain': 'a..b' is not a host name (no scheme, port or path)"),
        ("domain =", 3, "key 'domain': '' is not a host name (no scheme, port or path)"),
        (
            "admin-listen = 0.0.0.0:9480", 3,
            "key 'admin-listen': '0.0.0.0:9480' is not on this machine alone (such as 127.0.0.1:9480, [::1]:9480, unix:/PATH)"
        ),
        ("keys =", 3, "key 'keys': it is empty"),
        ("agent-path = mirror", 3, "key 'agent-path': 'mirror' is not a path such as /mirror"),
        ("agent-path = /", 3, "key 'agent-path': '/' is not a path such as /mirror"),
        ("agent-path = /a?b", 3, "key 'agent-path': '/a?b' is not a path such as /mirror"),
        (
            "agent-path = /m/x", 3,
            "key 'agent-path': '/m/x' is in use by the relay itself (below '/m/')"
        ),
        ("workers = 0", 3, "key 'workers': '0' is too small (the least is 1)"),
        ("workers = many", 3, "key 'workers': 'many' is not a whole number"),
        ("workers = 1\nworkers = 2", 4, "key 'workers' stands twice (see key 'workers' in line 3)"),
        (
            "maximum-head-bytes = 64KiB", 3,
            "key 'maximum-head-bytes': '64KiB' is too large (the most is 56KiB)"
        ),
        (
            "maximum-head-bytes = 8KiB\nmaximum-target-bytes = 9KiB", 4,
            "key 'maximum-target-bytes': '9KiB' is too large (the most is 8KiB)"
        ),
        (
            "head-timeout = 10", 3,
            "key 'head-timeout': '10' is not a time such as 500ms, 90s, 10m, 12h or 90d"
        ),
        ("head-timeout = 0s", 3, "key 'head-timeout': '0s' is too small (the least is 1ms)"),
        (
            "log-level = loud", 3,
            "key 'log-level': 'loud' is none of 'error', 'warning', 'info', 'debug'"
        ),
        ("plaintxt = yes", 3, "unknown key 'plaintxt' (did you mean 'plaintext'?)"),
        ("access = public", 3, "key 'access' belongs in a section [mirror NAME]"),
        ("[mirror alice]", 3, "'alice' is not USER/NAME (each \(MirrorName.rule))"),
        ("[mirror alice/a--b]", 3, "'alice/a--b' is not USER/NAME (each \(MirrorName.rule))"),
        ("[mirror a/b]\naccess = all", 4, "key 'access': 'all' is none of 'key', 'public'"),
        (
            "[mirror a/b]\nhosts = x:80", 4,
            "key 'hosts': 'x:80' is not a host name (no scheme, port or path)"
        ),
        (
            "[mirror a/b]\nhosts = x\n[mirror a/c]\nhosts = X", 6,
            "key 'hosts': 'x' already leads to mirror 'a/b'"
        ),
    ])
    func `a wrong value is named with its line`(text: String, line: Int, message: String) throws {
        let place = directory.path + "/relay.conf:\(line)"
        #expect(throws: StartError.configuration(place: place, message: message)) {
            try read(Self.least + text)
        }
    }

    @Test(arguments: [
        ("plaintext = yes", nil, "key 'listen' is missing (such as: listen = [::]:443)"),
        (
            "listen = [::]:443", nil,
            "keys 'certificate' and 'private-key' are missing (behind a proxy that has TLS: plaintext = yes)"
        ),
        (
            "listen = [::]:443\ncertificate = /c", 2,
            "key 'certificate': its 'private-key' is missing"
        ),
        (
            "listen = [::]:443\nprivate-key = /c", 2,
            "key 'private-key': its 'certificate' is missing"
        ),
        (
            "plaintext = maybe\nlisten = [::]:443", 1,
            "key 'plaintext': 'maybe' is neither 'yes' nor 'no'"
        ),
    ])
    func `what is missing is named with its file`(text: String, line: Int?, message: String) throws
    {
        let place = directory.path + "/relay.conf" + (line.map { ":\($0)" } ?? "")
        #expect(throws: StartError.configuration(place: place, message: message)) {
            try read(text)
        }
    }

    // MARK: The command line

    @Test func `check reads all and runs nothing`() throws {
        let path = try directory.file("relay.conf", Self.least)
        guard case .check = try RelayCommandLine.parse(["m", "--config", path, "--check"]) else {
            Issue.record("not to be checked")
            return
        }
    }

    @Test func `the quickstart has its own addresses and files`() throws {
        guard case .quickstart(let plain) = try RelayCommandLine.parse(["m", "--quickstart"]) else {
            Issue.record("not a quickstart")
            return
        }
        #expect(plain.listening == .tcp(HostPort(host: "127.0.0.1", port: 8443)))
        #expect(plain.stateDirectory == "magicmirror-quickstart")
        let line = try RelayCommandLine.parse([
            "m", "--quickstart", "--listen", "127.0.0.1:0", "--state", "/s/", "--log-level=debug",
        ])
        guard case .quickstart(let set) = line else {
            Issue.record("not a quickstart")
            return
        }
        let configuration = set.configuration
        #expect(configuration.listening == [.address(.tcp(HostPort(host: "127.0.0.1", port: 0)))])
        #expect(configuration.keysFile == "/s/keys")
        #expect(configuration.certificate?.chainFile == "/s/certificate.pem")
        #expect(configuration.certificate?.privateKeyFile == "/s/private-key.pem")
        #expect(configuration.logLevel == .debug)
        #expect(configuration.limits == RelayLimits())
    }

    @Test(arguments: [
        (["--listen", "[::]:1"], "option '--listen' needs '--quickstart'"),
        (["--state", "/s"], "option '--state' needs '--quickstart'"),
        (
            ["--quickstart", "--config", "/c"],
            "option '--config' cannot stand beside '--quickstart'"
        ),
        (["--quickstart", "--check"], "option '--check' cannot stand beside '--quickstart'"),
        (
            ["--quickstart", "--listen", "x"],
            "option '--listen': 'x' is not an address (write 127.0.0.1:8443, [::]:443 or unix:/PATH)"
        ),
        (
            ["--quickstart", "--listen", "[::]:1", "--listen", "[::]:2"],
            "option '--listen' is given twice"
        ),
        (["--quickstart", "--state", ""], "option '--state': it is empty"),
        (
            ["--quickstart", "--log-level", "x"],
            "option '--log-level': 'x' is none of 'error', 'warning', 'info', 'debug'"
        ),
        (["start"], "unexpected argument 'start'"),
        (["--conf"], "option '--config' needs a value: --config FILE"),
    ])
    func `a wrong command line is named`(arguments: [String], message: String) {
        #expect(throws: StartError.commandLine(message)) {
            try RelayCommandLine.parse(["magicmirrord"] + arguments)
        }
    }

    @Test func `a configuration that is not there is named`() {
        #expect(
            throws: StartError.configuration(
                place: nil, message: "cannot read '/nonexistent.conf': No such file or directory")
        ) { try RelayCommandLine.parse(["magicmirrord", "--config", "/nonexistent.conf"]) }
    }

    @Test func `without any configuration the ways to begin are named`() {
        let message = "there is no '/nonexistent' (give --config FILE, or try --quickstart)"
        #expect(throws: StartError.configuration(place: nil, message: message)) {
            try RelayCommandLine.parse(["magicmirrord"], defaultFile: "/nonexistent")
        }
    }

    @Test func `help and version are texts`() throws {
        guard case .print(let help) = try RelayCommandLine.parse(["m", "--help"]),
            case .print(let version) = try RelayCommandLine.parse(["m", "--version"])
        else {
            Issue.record("not to be printed")
            return
        }
        #expect(help.contains("--quickstart"))
        // With --quickstart, one is all there can be.
        #expect(help.contains("--listen ADDR:PORT"))
        #expect(!help.contains("may be repeated"))
        #expect(version == "magicmirrord \(Version.number)\n")
    }
}
