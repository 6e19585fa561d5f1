// The command line of magicmirrorctl(8): which verb, on which keys file or control socket.
//
// Called by: that program, first of all.

import Program
import Wire

/// What the operator asked for.
package struct ControlCommandLine: Sendable {
    package enum Verb: Sendable {
        case addKey(NewKeyRequest)
        case listKeys
        case revokeKey(id: String)
        /// Ask the running relay.
        case control(ControlRequest)
        /// Print this text and stop.
        case print(String)
    }

    /// What `key add` asks for.
    package struct NewKeyRequest: Sendable, Equatable {
        package let role: KeyRole
        package let user: MirrorName
        package let pattern: NamePattern
        package let lifetime: Duration?
        package let comment: String
        /// Read the secret from standard input instead of making one.
        package let readsSecret: Bool
    }

    package let verb: Verb
    /// Empty where the verb needs none.
    package let keysFile: String
    /// Empty where the verb needs none.
    package let socket: String
    package let wantsJSON: Bool

    private static let keyVerbs = ["key add", "key list", "key revoke"]
    private static let controlVerbs = ["status", "mirrors", "disconnect", "drain", "reload"]

    package static let table = SettingTable(
        program: "magicmirrorctl", purpose: "Controls the relay of magicmirror.",
        manual: "magicmirrorctl(8)",
        verbs: [
            SettingTable.Verb("key add", "make a key, show its secret this once"),
            SettingTable.Verb("key list", "list the keys"),
            SettingTable.Verb("key revoke", operands: ["ID"], "take a key away"),
            SettingTable.Verb("status", "show what the relay does"),
            SettingTable.Verb("mirrors", "list the mirrors and their agents"),
            SettingTable.Verb(
                "disconnect", operands: ["USER/NAME"], "close the sessions of a mirror's agents"),
            SettingTable.Verb("drain", "let the relay finish what runs, then stop"),
            SettingTable.Verb(
                "reload", "let the relay read configuration, certificate and keys anew"),
        ],
        settings: [
            Setting("user", "USER", "whose key it is", in: .option, verbs: ["key add"]),
            Setting(
                "role", "agent|client", "who shows it: an agent or its clients", in: .option,
                verbs: ["key add"]),
            Setting(
                "name", "PATTERN", "the user's mirrors that it is for (*)", in: .option,
                verbs: ["key add"]),
            Setting(
                "expires", "TIME", "how long it is good, such as 90d (for ever)", in: .option,
                verbs: ["key add"]),
            Setting("comment", "TEXT", "for the list of keys", in: .option, verbs: ["key add"]),
            Setting(
                "secret-stdin", nil, "take the secret from standard input", in: .option,
                verbs: ["key add"]),
            Setting("json", nil, "answer in JSON", in: .option),
            Setting(
                "keys", "FILE", "the keys file (as the configuration says)", in: .option,
                verbs: keyVerbs),
            Setting(
                "socket", "PATH", "the control socket (as the configuration says)", in: .option,
                verbs: controlVerbs),
            Setting(
                "config", "FILE",
                "the relay's configuration (\(RelayCommandLine.defaultConfigurationFile))",
                in: .option),
            Setting("version", nil, "print the version and stop", in: .option),
            Setting("help", nil, "print this and stop", in: .option),
        ])

    /// - Parameter arguments: with the program's name first.
    package static func parse(
        _ arguments: [String], defaultFile: String = RelayCommandLine.defaultConfigurationFile
    ) throws(StartError) -> ControlCommandLine {
        let options = try Options(arguments, table)
        let verb: Verb
        switch options.verb {
        case _ where options.wantsHelp: verb = .print(table.help)
        case _ where options.wantsVersion:
            verb = .print(Version.line(program: table.program))
        case "key add": verb = .addKey(try request(options.values))
        case "key list": verb = .listKeys
        case "key revoke": verb = .revokeKey(id: options.operands[0])
        case "status": verb = .control(.status)
        case "mirrors": verb = .control(.mirrors)
        case "disconnect": verb = .control(.disconnect(try mirror(options.operands[0])))
        case "drain": verb = .control(.drain)
        case "reload": verb = .control(.reload)
        default: throw .commandLine("a verb is missing (see 'magicmirrorctl --help')")
        }
        let name = options.verb ?? ""
        return ControlCommandLine(
            verb: verb,
            keysFile: keyVerbs.contains(name) ? try keysFile(options.values, defaultFile) : "",
            socket: controlVerbs.contains(name) ? try socket(options.values, defaultFile) : "",
            wantsJSON: try options.values.flag("json"))
    }

    private static func mirror(_ text: String) throws(StartError) -> MirrorID {
        guard let id = MirrorID(text: text) else {
            throw .commandLine("'\(text)' is not USER/NAME (each \(MirrorName.rule))")
        }
        return id
    }

    private static func request(_ values: SettingValues) throws(StartError) -> NewKeyRequest {
        guard let userValue = values.first("user") else {
            throw .commandLine("option '--user' is missing (such as --user alice)")
        }
        guard let user = MirrorName(userValue.text) else {
            throw userValue.error("'\(userValue.text)' is not a name (\(MirrorName.rule))")
        }
        guard values.isSet("role") else {
            throw .commandLine("option '--role' is missing (--role agent or --role client)")
        }
        let role = try values.choice(
            "role", default: KeyRole.agent, KeyRole.allCases.map { ($0.rawValue, $0) })
        var pattern = NamePattern.any
        if let value = values.first("name") {
            guard let written = NamePattern(value.text) else {
                throw value.error("'\(value.text)' is not a name with '*' (\(MirrorName.rule))")
            }
            pattern = written
        }
        let second = Duration.seconds(1)
        return NewKeyRequest(
            role: role, user: user, pattern: pattern,
            lifetime: try values.first("expires").map { value throws(StartError) in
                try value.duration(second...second * 86_400 * 36_500)
            },
            comment: values.first("comment")?.text ?? "",
            readsSecret: try values.flag("secret-stdin"))
    }

    /// The file that `--keys` names, or the relay's configuration, or the default one.
    private static func keysFile(
        _ values: SettingValues, _ defaultFile: String
    ) throws(StartError) -> String {
        if let path = try values.path("keys") { return path }
        let named = try values.path("config")
        if named == nil, !File.exists(defaultFile) { return RelayConfiguration.defaultKeysFile }
        let file = try ConfigurationFile.read(named ?? defaultFile, RelayCommandLine.table)
        return try file.values.path("keys") ?? RelayConfiguration.defaultKeysFile
    }

    /// The socket that `--socket` names, or the relay's configuration.
    private static func socket(
        _ values: SettingValues, _ defaultFile: String
    ) throws(StartError) -> String {
        if let path = try values.path("socket") { return path }
        let path = try values.path("config") ?? defaultFile
        guard values.isSet("config") || File.exists(path) else {
            throw .configuration(
                place: nil, message: "there is no '\(path)' (give --socket PATH or --config FILE)")
        }
        let file = try ConfigurationFile.read(path, RelayCommandLine.table)
        guard let socket = try file.values.path("control-socket") else {
            throw .configuration(
                place: path,
                message: "key 'control-socket' is missing"
                    + " (such as: control-socket = /run/magicmirrord/control)")
        }
        return socket
    }

    /// Reads a secret from standard input; a line feed at its end does not belong to it.
    package static func readSecret() throws(StartError) -> String {
        let bytes: [UInt8]
        do throws(FileError) {
            bytes = try File.readStandardInput(maximumBytes: KeyFile.maximumSecretLength + 2)
        } catch {
            throw .commandLine(error.message)
        }
        return try checkedSecret(bytes)
    }

    static func checkedSecret(_ bytes: [UInt8]) throws(StartError) -> String {
        let text = String(decoding: bytes, as: UTF8.self).trimmingNewline
        let length = text.utf8.count
        guard length >= KeyFile.minimumSecretLength else {
            throw .commandLine(
                "the secret has \(length) characters (at least \(KeyFile.minimumSecretLength))")
        }
        guard length <= KeyFile.maximumSecretLength else {
            throw .commandLine(
                "the secret is longer than \(KeyFile.maximumSecretLength) characters")
        }
        guard text.utf8.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw .commandLine(
                "the secret has a space or another character that cannot be in a key")
        }
        return text
    }
}

extension String {
    fileprivate var trimmingNewline: String {
        var text = self[...]
        if text.hasSuffix("\r\n") || text.hasSuffix("\n") { text.removeLast() }
        return String(text)
    }
}
