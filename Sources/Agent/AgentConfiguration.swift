// What agent.conf(5), the options and the environment say together, checked and as values.
//
// Called by: AgentCommandLine, once, at the start. Then a constant that every thread may read.

import Program
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
    }

    /// At least one.
    package let mirrors: [Mirror]
    package let limits: AgentLimits
    package let metricsListening: SocketAddressText?
    package let logLevel: Journal.Level
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
            "proxy", "URL", "HTTP proxy on the way to the relay",
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
        metricsListening = try values.first("metrics-listen").map(Self.socketAddress)
        logLevel = try Journal.Level.setting(values)
        if let file, file.status.isReadableByOthers, file.holdsKey {
            warnings.append(
                "'\(file.path)' holds a key and is readable by everybody (chmod 640 '\(file.path)')"
            )
        }
        self.warnings = warnings
    }

    private static func socketAddress(
        _ value: SettingValue
    ) throws(StartError) -> SocketAddressText {
        do throws(TextError) {
            return try SocketAddressText.parse(value.text)
        } catch {
            throw value.error(error.message)
        }
    }
}

extension ConfigurationFile {
    fileprivate var holdsKey: Bool {
        values.isSet("apikey") || sections.contains { $0.values.isSet("apikey") }
    }
}

/// Where the settings of one mirror stand: options before its section before the top of the file.
struct MirrorSource {
    let name: MirrorName
    let options: SettingValues
    let section: SettingValues
    let top: SettingValues
    /// Where to say that something is missing; nil: nothing was read but the command line.
    let place: String?

    /// Settings that hold together: the level that sets one of them sets them all.
    private static let groups = [["policy", "allow"], ["apikey", "apikey-file"]]

    /// The settings of the mirror, of each the first that is set.
    var values: SettingValues { Self.joined(options, section, top) }

    static func joined(
        _ options: SettingValues, _ section: SettingValues, _ top: SettingValues
    ) -> SettingValues {
        var section = section
        var top = top
        for group in groups {
            let isInOptions = group.contains(where: options.isSet)
            let isInSection = group.contains(where: section.isSet)
            for name in group {
                if isInOptions { section.remove(name) }
                if isInOptions || isInSection { top.remove(name) }
            }
        }
        return options.over(section).over(top)
    }

    func missing(_ name: String, _ example: String) -> StartError {
        guard let place else {
            return .commandLine("option '--\(name)' is missing (such as --\(name) \(example))")
        }
        return .configuration(
            place: place, message: "key '\(name)' is missing (such as: \(name) = \(example))")
    }

    /// The mirrors to run: the one that `--name` names, or those of the file.
    static func all(
        options: SettingValues, file: ConfigurationFile?
    ) throws(StartError) -> [MirrorSource] {
        let top = file?.values ?? SettingValues()
        let sections = file?.sections ?? []
        if let value = options.first("name") ?? top.first("name") {
            if case .line = value.origin, !sections.isEmpty {
                throw value.error("it cannot stand beside sections [mirror NAME]")
            }
            let section = sections.first { $0.name == value.text }
            return [
                MirrorSource(
                    name: try name(value), options: options,
                    section: section?.values ?? SettingValues(), top: top,
                    place: section?.place ?? file?.path)
            ]
        }
        guard !sections.isEmpty else {
            let nothing = SettingValues()
            let source = MirrorSource(
                name: MirrorName("none")!, options: nothing, section: nothing, top: nothing,
                place: file?.path)
            throw source.missing("name", "localprometheus")
        }
        for setting in AgentConfiguration.mirrorSettings where options.isSet(setting.name) {
            // Which mirror is meant? With one section it is clear.
            guard sections.count > 1 else { break }
            throw .commandLine(
                "option '--\(setting.name)' needs '--name': the file has \(sections.count) mirrors")
        }
        var sources: [MirrorSource] = []
        for section in sections {
            guard let name = MirrorName(section.name) else {
                throw .configuration(
                    place: section.place,
                    message: "'\(section.name)' is not a name (\(MirrorName.rule))")
            }
            sources.append(
                MirrorSource(
                    name: name, options: options, section: section.values, top: top,
                    place: section.place))
        }
        return sources
    }

    private static func name(_ value: SettingValue) throws(StartError) -> MirrorName {
        guard let name = MirrorName(value.text) else {
            throw value.error("'\(value.text)' is not a name (\(MirrorName.rule))")
        }
        return name
    }
}

extension AgentConfiguration.Mirror {
    fileprivate init(
        _ source: MirrorSource, _ environment: Environment, _ warnings: inout [String]
    ) throws(StartError) {
        let values = source.values
        name = source.name
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
