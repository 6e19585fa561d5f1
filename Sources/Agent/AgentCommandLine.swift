// The command line of magicmirror(1): what to do, with which configuration.
//
// Called by: the program, first of all, and by each reload. Reads the configuration file and the
// key files.

import Program
import Wire

/// What the operator asked for.
package enum AgentCommandLine: Sendable {
    /// Connect and serve.
    case run(AgentConfiguration)
    /// The configuration is right: say so and stop.
    case check(AgentConfiguration)
    /// Try everything that serving needs, say what does not hold, and stop.
    case doctor(AgentConfiguration)
    /// Print this text and stop with this code.
    case print(String, ExitCode)

    package static let defaultConfigurationFile = "/etc/magicmirror/agent.conf"

    package static let table = SettingTable(
        program: "magicmirror", purpose: "The agent of magicmirror.", manual: "magicmirror(1)",
        verbs: [
            SettingTable.Verb("run", "connect to the relays and serve (without a verb, too)"),
            SettingTable.Verb("check", "read the configuration, say what is wrong, stop"),
            SettingTable.Verb("doctor", "try relays and origins, say what to do, stop"),
            SettingTable.Verb("policy show", "print the rules of each mirror"),
            SettingTable.Verb(
                "policy test", operands: ["METHOD", "PATH"], "say what the rules do with a request"),
        ],
        settings: AgentConfiguration.mirrorSettings + AgentConfiguration.programSettings
            + AgentLimits.settings + [
                Setting(
                    "config", "FILE",
                    "configuration (\(defaultConfigurationFile) where it exists)", in: .option),
                Setting("version", nil, "print the version and stop", in: .option),
                Setting("help", nil, "print this and stop", in: .option),
            ],
        section: "mirror")

    /// - Parameter arguments: with the program's name first.
    package static func parse(
        _ arguments: [String], _ environment: Environment,
        defaultFile: String = defaultConfigurationFile
    ) throws(StartError) -> AgentCommandLine {
        let options = try Options(arguments, table)
        if options.wantsHelp { return .print(table.help, .stopped) }
        if options.wantsVersion { return .print(Version.line(program: table.program), .stopped) }
        let file = try configurationFile(options.values, defaultFile)
        switch options.verb {
        case "policy show":
            return .print(try policies(options.values, file).map(shown).joined(), .stopped)
        case "policy test":
            return try test(
                method: options.operands[0], target: options.operands[1],
                try policies(options.values, file))
        default:
            let configuration = try AgentConfiguration(
                options: options.values, file: file, environment)
            switch options.verb {
            case "check": return .check(configuration)
            case "doctor": return .doctor(configuration)
            default: return .run(configuration)
            }
        }
    }

    /// What a reload reads: the configuration that the same command line names now.
    package static func configuration(
        _ arguments: [String], _ environment: Environment
    ) throws(StartError) -> AgentConfiguration {
        switch try parse(arguments, environment) {
        case .run(let configuration), .check(let configuration), .doctor(let configuration):
            return configuration
        case .print: preconditionFailure("such a command line starts no agent")
        }
    }

    /// The file that is named, or the default one where it exists.
    private static func configurationFile(
        _ options: SettingValues, _ defaultFile: String
    ) throws(StartError) -> ConfigurationFile? {
        if let path = try options.path("config") { return try ConfigurationFile.read(path, table) }
        guard File.exists(defaultFile) else { return nil }
        return try ConfigurationFile.read(defaultFile, table)
    }

    // MARK: policy show, policy test

    private typealias NamedPolicy = (name: String?, policy: Policy)

    /// The policies of all mirrors. They can be shown before anything else is set.
    private static func policies(
        _ options: SettingValues, _ file: ConfigurationFile?
    ) throws(StartError) -> [NamedPolicy] {
        let top = file?.values ?? SettingValues()
        guard options.isSet("name") || top.isSet("name") || file?.sections.isEmpty == false else {
            return [(nil, try Policy(MirrorSource.joined(options, SettingValues(), top)))]
        }
        var policies: [NamedPolicy] = []
        for source in try MirrorSource.all(options: options, file: file) {
            policies.append((source.name.text, try Policy(source.values)))
        }
        return policies
    }

    private static func shown(_ named: NamedPolicy) -> String {
        let heading = named.name.map { "[mirror \($0)]\n" } ?? ""
        return heading + named.policy.text
    }

    /// Exit code 0: every policy allows the request; 1: one refuses it.
    private static func test(
        method: String, target: String, _ policies: [NamedPolicy]
    ) throws(StartError) -> AgentCommandLine {
        guard target.hasPrefix("/") || target == "*" else {
            throw .commandLine("path '\(target)' does not begin with '/'")
        }
        let path = target == "*" ? [] : Array(target.utf8.prefix { $0 != UInt8(ascii: "?") })
        var text = ""
        var code = ExitCode.stopped
        for (name, policy) in policies {
            text += name.map { "[mirror \($0)] " } ?? ""
            switch policy.decide(method: Array(method.utf8)[...], path: path[...]) {
            case .allowed(let rule?): text += "allowed by '\(rule)'\n"
            case .allowed(nil): text += "allowed: there are no rules\n"
            case .refused(let reason):
                text += "refused: \(reason)\n"
                code = .failed
            }
        }
        return .print(text, code)
    }
}
