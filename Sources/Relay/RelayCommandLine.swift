// The command line of magicmirrord(8): what to do, with which configuration.
//
// Called by: the program, first of all, and by each reload. Reads the configuration file; keys and
// certificates are read by those who use them.

import Program
import Wire

/// What the operator asked for.
package enum RelayCommandLine: Sendable {
    /// Serve.
    case run(RelayConfiguration)
    /// Read everything, serve nothing.
    case check(RelayConfiguration)
    /// Serve with a certificate and keys of its own making.
    case quickstart(Quickstart)
    /// Print this text and stop.
    case print(String)

    /// A relay for trying out, without a file.
    package struct Quickstart: Sendable, Equatable {
        package let listening: SocketAddressText
        /// Where `listening` stands.
        package let written: SettingValue
        package let stateDirectory: String
        package let logLevel: Journal.Level

        /// Its configuration, once certificate and keys are in the state directory.
        package var configuration: RelayConfiguration {
            var configuration = RelayConfiguration(
                listening: [.address(listening)],
                certificate: RelayConfiguration.Certificate(
                    chainFile: file("certificate.pem"), privateKeyFile: file("private-key.pem")),
                keysFile: file("keys"))
            configuration.logLevel = logLevel
            configuration.written.append("listen", written)
            return configuration
        }

        /// The path of a file in the state directory.
        package func file(_ name: String) -> String { stateDirectory + "/" + name }
    }

    package static let defaultConfigurationFile = "/etc/magicmirror/relay.conf"

    package static let table = SettingTable(
        program: "magicmirrord", purpose: "The relay of magicmirror.", manual: "magicmirrord(8)",
        settings: [
            Setting(
                "config", "FILE", "configuration (\(defaultConfigurationFile))", in: .option),
            Setting("check", nil, "read the configuration, say what is wrong, stop", in: .option),
            Setting("quickstart", nil, "serve without any configuration", in: .option),
            Setting(
                "listen", "ADDR:PORT", "where --quickstart listens (127.0.0.1:8443)", in: .option),
            Setting(
                "state", "DIR", "where --quickstart keeps its files (./magicmirror-quickstart)",
                in: .option),
            Setting(
                "log-level", "LEVEL", "error, warning, info or debug (info)", in: [.option, .key]),
            Setting("version", nil, "print the version and stop", in: .option),
            Setting("help", nil, "print this and stop", in: .option),
        ] + RelayConfiguration.settings,
        section: "mirror")

    /// - Parameter arguments: with the program's name first.
    package static func parse(
        _ arguments: [String], defaultFile: String = defaultConfigurationFile
    ) throws(StartError) -> RelayCommandLine {
        let options = try Options(arguments, table)
        let values = options.values
        if options.wantsHelp { return .print(table.help) }
        if options.wantsVersion { return .print(Version.line(program: table.program)) }
        if try values.flag("quickstart") { return .quickstart(try quickstart(values)) }
        for name in ["listen", "state"] where values.isSet(name) {
            throw .commandLine("option '--\(name)' needs '--quickstart'")
        }
        let path = try values.path("config") ?? defaultFile
        guard values.isSet("config") || File.exists(path) else {
            throw .configuration(
                place: nil,
                message: "there is no '\(path)' (give --config FILE, or try --quickstart)")
        }
        let file = try ConfigurationFile.read(path, table)
        let configuration = try RelayConfiguration(
            file, logLevel: try Journal.Level.setting(values.over(file.values)))
        return try values.flag("check") ? .check(configuration) : .run(configuration)
    }

    /// What a reload reads: the configuration that the same command line names now.
    package static func configuration(
        _ arguments: [String]
    ) throws(StartError) -> RelayConfiguration {
        switch try parse(arguments) {
        case .run(let configuration), .check(let configuration): return configuration
        case .quickstart(let options): return options.configuration
        case .print: preconditionFailure("such a command line starts no relay")
        }
    }

    private static func quickstart(_ values: SettingValues) throws(StartError) -> Quickstart {
        for name in ["config", "check"] where values.isSet(name) {
            throw .commandLine("option '--\(name)' cannot stand beside '--quickstart'")
        }
        let address =
            values.first("listen") ?? SettingValue("127.0.0.1:8443", .option("listen"))
        var state = try values.path("state") ?? "magicmirror-quickstart"
        while state.count > 1 && state.hasSuffix("/") { state.removeLast() }
        return Quickstart(
            listening: try address.listeningAddress(), written: address, stateDirectory: state,
            logLevel: try Journal.Level.setting(values))
    }
}
