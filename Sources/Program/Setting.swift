// One table per program says what an operator can set: options, keys of the configuration file,
// verbs. The parser, --help and the check of the manuals all read it, so they cannot drift apart.

/// One thing that can be set: as an option, as a key of the configuration file, or both, under the
/// same name.
package struct Setting: Sendable {
    /// Where a setting may stand.
    package struct Places: OptionSet, Sendable {
        package let rawValue: UInt8
        package init(rawValue: UInt8) { self.rawValue = rawValue }

        /// `--name` on the command line.
        package static let option = Places(rawValue: 1)
        /// A key before the first section.
        package static let key = Places(rawValue: 2)
        /// A key inside a section.
        package static let sectionKey = Places(rawValue: 4)
    }

    /// Without dashes.
    package let name: String
    /// What stands for its value in the help; nil for a yes-or-no that an option merely names.
    package let argument: String?
    /// For the help: lower case, no full stop.
    package let summary: String
    package let places: Places
    package let isRepeatable: Bool
    /// The verbs that take the option; nil for all.
    package let verbs: [String]?

    package init(
        _ name: String, _ argument: String? = nil, _ summary: String, in places: Places,
        repeatable: Bool = false, verbs: [String]? = nil
    ) {
        self.name = name
        self.argument = argument
        self.summary = summary
        self.places = places
        self.isRepeatable = repeatable
        self.verbs = verbs
    }
}

/// All that can be set for one program.
package struct SettingTable: Sendable {
    /// A word before the options that says what to do.
    package struct Verb: Sendable {
        /// One word or two: `check`, `key add`.
        package let name: String
        /// What stands for its operands in the help.
        package let operands: String
        package let operandCount: Int
        package let summary: String

        package init(_ name: String, operands: [String] = [], _ summary: String) {
            self.name = name
            self.operands = operands.map { " " + $0 }.joined()
            self.operandCount = operands.count
            self.summary = summary
        }
    }

    package let program: String
    /// One line: what the program is.
    package let purpose: String
    package let manual: String
    package let verbs: [Verb]
    package let settings: [Setting]
    /// What a section is called in the configuration file: `mirror`; nil where there are none.
    package let section: String?

    package init(
        program: String, purpose: String, manual: String, verbs: [Verb] = [], settings: [Setting],
        section: String? = nil
    ) {
        self.program = program
        self.purpose = purpose
        self.manual = manual
        self.verbs = verbs
        self.settings = settings
        self.section = section
    }

    /// The settings that may stand in one of `places`.
    package func settings(in places: Setting.Places) -> [Setting] {
        settings.filter { !$0.places.isDisjoint(with: places) }
    }

    package func setting(named name: String, in places: Setting.Places) -> Setting? {
        settings(in: places).first { $0.name == name }
    }

    /// What --help prints.
    package var help: String {
        var rows: [(String, String)] = []
        for setting in settings(in: .option) {
            let argument = setting.argument.map { " " + $0 } ?? ""
            let again = setting.isRepeatable ? " (may be repeated)" : ""
            rows.append(("--\(setting.name)\(argument)", setting.summary + again))
        }
        var text = "usage: \(program)\(verbs.isEmpty ? "" : " [VERB]") [OPTION…]\n\(purpose)\n"
        if !verbs.isEmpty {
            text += "\nverbs:\n" + Self.columns(verbs.map { ($0.name + $0.operands, $0.summary) })
        }
        text += "\noptions:\n" + Self.columns(rows)
        return text + "\nThe manual is \(manual).\n"
    }

    private static func columns(_ rows: [(left: String, right: String)]) -> String {
        let width = min(30, (rows.map(\.left.count).max() ?? 0) + 2)
        return rows.map { row in
            let room = width - row.left.count
            let gap =
                room >= 2
                ? String(repeating: " ", count: room)
                : "\n" + String(repeating: " ", count: width + 2)
            return "  \(row.left)\(gap)\(row.right)\n"
        }.joined()
    }
}
