// What agent.conf(5), the options and the environment say together, checked and as values.
//
// Called by: AgentCommandLine, at the start and for each reload. Then a constant that every thread
// may read.

import Program
import Streams
import Wire

/// Everything that the operator of an agent can set.
package struct AgentConfiguration: Sendable {
    /// A relay, and the proxy on the way to it.
    package struct Remote: Sendable, Equatable {
        package let url: RemoteURL
        package let proxy: ProxyURL?
    }

    /// What the origin sees in Host.
    package enum HostField: Sendable, Equatable {
        /// What the client sent.
        case preserve
        /// The host of `--local`.
        case local
        case value(String)
    }

    /// One mirror: a name at the relays, and the origin behind it.
    package struct Mirror: Sendable {
        package let name: MirrorName
        /// At least one; all are kept connected.
        package let remotes: [Remote]
        package let local: LocalURL
        package let key: APIKey
        package let policy: Policy
        package let hostField: HostField
        /// Certificates to trust for the relays; nil: the system's.
        package let trustFile: String?
        /// Certificates to trust for the origin; nil: the system's.
        package let localTrustFile: String?
        /// Take any certificate of the origin.
        package let localIsInsecure: Bool
        /// The certificate to show to the origin.
        package let localIdentity: TLSContext.Identity?
        /// Log lines have the query with the path.
        package let logsQueries: Bool
        /// The files as they were written, to say where one stands that is of no use.
        package let written: SettingValues
    }

    /// At least one.
    package let mirrors: [Mirror]
    package let limits: AgentLimits
    package let metricsListening: SocketAddressText?
    /// Where that stands.
    package let metricsWritten: SettingValue?
    package let logLevel: Journal.Level
    /// What a reload cannot change, as it was written.
    private let startOnly: SettingValues
    /// What the operator should know though nothing is wrong, one line each.
    package let warnings: [String]

    /// What a mirror has: each may be an option, or stand at the top of the file for all mirrors.
    static let mirrorSettings: [Setting] = [
        Setting(
            "remote", "URL", "a relay, such as wss://relay.example.com/mirror",
            in: [.option, .key, .sectionKey], repeatable: true),
        Setting(
            "local", "URL", "the private service: http://…, https://…, unix:/…, HOST:PORT, PORT",
            in: [.option, .key, .sectionKey]),
        Setting(
            "apikey-file", "FILE", "file with the key for the relay",
            in: [.option, .key, .sectionKey]),
        Setting(
            "apikey", "KEY", "the key itself; others can see it in the process list",
            in: [.option, .key, .sectionKey]),
        Setting(
            "policy", "NAME", "allow what a service needs: prometheus, read-only",
            in: [.option, .key, .sectionKey]),
        Setting(
            "allow", "RULE", "allow methods and paths, such as 'GET,HEAD /api/v1/*'",
            in: [.option, .key, .sectionKey], repeatable: true),
        Setting(
            "host-header", "WORD", "the Host that the service sees: preserve, local or a name",
            in: [.option, .key, .sectionKey]),
        Setting(
            "ca-file", "FILE", "certificates to trust for the relay",
            in: [.option, .key, .sectionKey]),
        Setting(
            "local-ca-file", "FILE", "certificates to trust for the service",
            in: [.option, .key, .sectionKey]),
        Setting(
            "local-insecure", nil, "take any certificate of the service",
            in: [.option, .key, .sectionKey]),
        Setting(
            "local-certificate", "FILE", "certificate to show to the service",
            in: [.option, .key, .sectionKey]),
        Setting(
            "local-private-key", "FILE", "the private key of that certificate",
            in: [.option, .key, .sectionKey]),
        Setting(
            "proxy", "URL", "HTTP proxy on the way to the relay",
            in: [.option, .key, .sectionKey]),
        Setting(
            "log-query", nil, "log the query, too, which may hold secrets",
            in: [.option, .key, .sectionKey]),
    ]

    static let programSettings: [Setting] = [
        Setting("name", "NAME", "the mirror's name at the relay", in: [.option, .key]),
        Setting("metrics-listen", "ADDR:PORT", "where /metrics is served", in: [.option, .key]),
        Setting("log-level", "LEVEL", "error, warning, info or debug (info)", in: [.option, .key]),
    ]

    /// - Parameter file: nil where there is none.
    init(
        options: SettingValues, file: ConfigurationFile?, _ environment: Environment
    ) throws(StartError) {
        let values = options.over(file?.values ?? SettingValues())
        var warnings: [String] = []
        var mirrors: [Mirror] = []
        for source in try MirrorSource.all(options: options, file: file) {
            mirrors.append(try Mirror(source, environment, &warnings))
        }
        self.mirrors = mirrors
        limits = try AgentLimits(values)
        metricsWritten = values.first("metrics-listen")
        metricsListening = try metricsWritten.map { value throws(StartError) in
            try value.localListeningAddress(port: 9481)
        }
        logLevel = try Journal.Level.setting(values)
        startOnly = values.only(AgentLimits.settings.map(\.name) + ["metrics-listen"])
        if let file, file.status.isReadableByOthers, file.holdsKey {
            warnings.append(
                "'\(file.path)' holds a key and is readable by everybody (chmod 640 '\(file.path)')"
            )
        }
        self.warnings = warnings
    }

    /// Holds this configuration against that of a running agent.
    ///
    /// - Throws: where they differ in what is only set up at the start, naming the key.
    func requireNoRestart(after running: AgentConfiguration) throws(StartError) {
        guard let key = startOnly.namesDiffering(from: running.startOnly).first,
            // Where it was taken away, it is named where it stood.
            let value = startOnly.first(key) ?? running.startOnly.first(key)
        else { return }
        throw value.error("a reload cannot change it (restart magicmirror)")
    }
}

extension ConfigurationFile {
    fileprivate var holdsKey: Bool {
        values.isSet("apikey") || sections.contains { $0.values.isSet("apikey") }
    }
}

extension AgentConfiguration.Mirror {
    fileprivate init(
        _ source: MirrorSource, _ environment: Environment, _ warnings: inout [String]
    ) throws(StartError) {
        let values = source.values
        name = source.name
        // No more than that: the key must not be printed with the rest.
        written = values.only([
            "ca-file", "local-ca-file", "local-certificate", "local-private-key",
        ])
        guard let localValue = values.first("local") else {
            throw source.missing("local", "http://127.0.0.1:9090")
        }
        local = try Self.parse(localValue, LocalURL.parse)
        guard values.isSet("remote") else {
            throw source.missing("remote", "wss://relay.example.com/mirror")
        }
        let proxy = try values.first("proxy").map { value throws(StartError) in
            try Self.parse(value, ProxyURL.parse)
        }
        var remotes: [AgentConfiguration.Remote] = []
        for value in values.all("remote") {
            let url = try Self.parse(value, RemoteURL.parse)
            if remotes.contains(where: { $0.url == url }) {
                throw value.error("'\(url)' is given twice")
            }
            var proxy = proxy
            if proxy == nil { proxy = try ProxyURL.fromEnvironment(environment, for: url) }
            remotes.append(AgentConfiguration.Remote(url: url, proxy: proxy))
            if !url.isSecure && !AddressRange.isLoopback(url.address.host) && proxy == nil {
                warnings.append("'\(url)' is without TLS: key and answers can be read on the way")
            }
        }
        self.remotes = remotes
        let found = try APIKey.find(
            options: source.options, section: source.section, top: source.top, environment,
            warnings: &warnings)
        guard let found else {
            throw source.missing("apikey-file", "/etc/magicmirror/apikey")
        }
        key = found
        policy = try Policy(values)
        hostField = try values.first("host-header").map(Self.hostField) ?? .preserve
        trustFile = try values.path("ca-file")
        localTrustFile = try values.path("local-ca-file")
        localIsInsecure = try values.flag("local-insecure")
        if localIsInsecure, localTrustFile != nil, let value = values.first("local-ca-file") {
            throw value.error("it has no use beside 'local-insecure'")
        }
        localIdentity = try Self.identity(values)
        logsQueries = try values.flag("log-query")
    }

    /// The certificate for the origin and its key: both or none.
    private static func identity(
        _ values: SettingValues
    ) throws(StartError) -> TLSContext.Identity? {
        let certificate = try values.path("local-certificate")
        let privateKey = try values.path("local-private-key")
        if let certificate, let privateKey {
            return TLSContext.Identity(certificate: certificate, privateKey: privateKey)
        }
        for (name, other) in [
            ("local-certificate", "local-private-key"), ("local-private-key", "local-certificate"),
        ] {
            if let value = values.first(name) {
                throw value.error("it needs '\(other)' beside it")
            }
        }
        return nil
    }

    private static func parse<Value>(
        _ value: SettingValue, _ parse: (String) throws(TextError) -> Value
    ) throws(StartError) -> Value {
        do throws(TextError) { return try parse(value.text) } catch {
            throw value.error(error.message)
        }
    }

    private static func hostField(
        _ value: SettingValue
    ) throws(StartError) -> AgentConfiguration.HostField {
        switch value.text {
        case "preserve": return .preserve
        case "local": return .local
        default:
            guard HostPort(value.text, defaultPort: 0) != nil else {
                throw value.error(
                    "'\(value.text)' is neither 'preserve' nor 'local' nor a host name")
            }
            return .value(value.text)
        }
    }
}
