// The command line, read by getopt_long(3) over the table of settings.
//
// Called by: the programs' main threads, once, at the start.
// Hard: getopt_long keeps its place in globals. A monitor around the whole call keeps two threads
// (only tests have two) from sharing them.

import CLinux
import Glibc
import Threads

/// A command line, taken apart.
package struct Options: Sendable {
    /// The verb, or nil where none was given.
    package let verb: String?
    /// What follows the verb.
    package let operands: [String]
    package let values: SettingValues

    /// The verbs and options that need nothing else to be right.
    package var wantsHelp: Bool { values.isSet("help") }
    package var wantsVersion: Bool { values.isSet("version") }

    private static let getopt = Monitor(())

    /// - Parameter arguments: with the program's name first.
    package init(_ arguments: [String], _ table: SettingTable) throws(StartError) {
        let settings = table.settings(in: .option)
        var values = SettingValues()
        let found = Self.getopt.withLock { _ in Self.scan(arguments, settings) }
        for option in found.options {
            switch option {
            case .value(let index, let text):
                let setting = settings[index]
                if values.isSet(setting.name) && !setting.isRepeatable {
                    throw .commandLine("option '--\(setting.name)' is given twice")
                }
                values.append(setting.name, SettingValue(text ?? "yes", .option(setting.name)))
            case .missingValue(let index):
                let (name, argument) = (settings[index].name, settings[index].argument ?? "")
                throw .commandLine("option '--\(name)' needs a value: --\(name) \(argument)")
            case .unwantedValue(let index):
                throw .commandLine("option '--\(settings[index].name)' takes no value")
            case .unknown(let argument):
                throw Self.unknown(argument, settings, program: table.program)
            }
        }
        self.values = values
        if values.isSet("help") || values.isSet("version") {
            (verb, operands) = (nil, [])
            return
        }
        (verb, operands) = try Self.verb(of: found.operands, table)
        for setting in settings where values.isSet(setting.name) {
            guard let verbs = setting.verbs, !verbs.contains(verb ?? "") else { continue }
            let names = verbs.map { "'\($0)'" }.joined(separator: " or ")
            throw .commandLine("option '--\(setting.name)' needs the verb \(names)")
        }
    }

    /// One or two words at the start of the operands, and the rest.
    private static func verb(
        of words: [String], _ table: SettingTable
    ) throws(StartError) -> (String?, [String]) {
        guard let first = words.first else { return (nil, []) }
        let two = words.prefix(2).joined(separator: " ")
        guard let verb = table.verbs.first(where: { $0.name == two || $0.name == first }) else {
            if table.verbs.isEmpty { throw .commandLine("unexpected argument '\(first)'") }
            let longer = table.verbs.filter { $0.name.hasPrefix(first + " ") }
            if !longer.isEmpty && words.count == 1 {
                let names = longer.map { "'\($0.name)'" }.joined(separator: ", ")
                throw .commandLine("verb '\(first)' is not whole (there are \(names))")
            }
            let written = longer.isEmpty ? first : two
            let near = suggestion(for: written, among: table.verbs.map(\.name))
            let hint = near.isEmpty ? " (see '\(table.program) --help')" : near
            throw .commandLine("unknown verb '\(written)'" + hint)
        }
        let operands = Array(words.dropFirst(verb.name == first ? 1 : 2))
        if operands.count > verb.operandCount {
            throw .commandLine("unexpected argument '\(operands[verb.operandCount])'")
        }
        if operands.count < verb.operandCount {
            let count = verb.operandCount == 1 ? "1 operand" : "\(verb.operandCount) operands"
            throw .commandLine(
                "verb '\(verb.name)' needs \(count): \(verb.name)\(verb.operands)")
        }
        return (verb.name, operands)
    }

    /// Says what is wrong with an option that is none, or that could be several.
    private static func unknown(
        _ argument: String, _ settings: [Setting], program: String
    ) -> StartError {
        let name = String(argument.drop { $0 == "-" }.prefix { $0 != "=" })
        let meant = settings.map(\.name).filter { $0.hasPrefix(name) }
        if argument.hasPrefix("--") && meant.count > 1 {
            let names = meant.map { "'--\($0)'" }.joined(separator: ", ")
            return .commandLine("option '--\(name)' is ambiguous (\(names))")
        }
        let near = suggestion(for: name, among: settings.map(\.name), prefix: "--")
        let hint = near.isEmpty ? " (see '\(program) --help')" : near
        return .commandLine("unknown option '\(argument.prefix { $0 != "=" })'" + hint)
    }

    private enum Found {
        /// An option by its index in the table, and its value.
        case value(Int, String?)
        case missingValue(Int)
        case unwantedValue(Int)
        /// As it was written.
        case unknown(String)
    }

    /// Runs getopt_long(3) over the arguments.
    private static func scan(
        _ arguments: [String], _ settings: [Setting]
    ) -> (options: [Found], operands: [String]) {
        // C strings that outlive the calls: getopt_long moves and returns pointers into them.
        var argv = unsafe arguments.map { unsafe strdup($0) } + [nil]
        let names = unsafe settings.map { unsafe strdup($0.name) }
        // getopt_long moves the pointers in `argv`; these are the ones to free.
        let owned = unsafe argv + names
        defer { unsafe owned.forEach { unsafe free($0) } }
        var table = unsafe zip(names, settings.indices).map { name, index in
            unsafe option(
                name: name, has_arg: settings[index].argument == nil ? 0 : 1, flag: nil,
                val: firstValue + Int32(index))
        }
        unsafe table.append(option())

        linux_getopt_restart()
        var found: [Found] = []
        while true {
            // The leading colon: a missing value gives ':', and nothing is printed.
            let value = unsafe getopt_long(Int32(arguments.count), &argv, ":h", table, nil)
            switch value {
            case -1:
                let rest = unsafe argv[Int(linux_optind())..<arguments.count]
                let operands = unsafe rest.map { unsafe String(cString: $0!) }
                return (found, operands)
            case Int32(UInt8(ascii: "h")):
                guard let index = settings.firstIndex(where: { $0.name == "help" }) else { break }
                found.append(.value(index, nil))
            case firstValue...:
                let text = unsafe linux_optarg().map { unsafe String(cString: $0) }
                found.append(.value(Int(value - firstValue), text))
            default:
                return (
                    found + [
                        refused(value, unsafe String(cString: argv[Int(linux_optind()) - 1]!))
                    ], []
                )
            }
        }
    }

    /// What getopt_long means by `:` or `?`: its `optopt` has the option where it knows one.
    private static func refused(_ value: Int32, _ argument: String) -> Found {
        let option = linux_optopt()
        if option >= firstValue {
            let index = Int(option - firstValue)
            return value == Int32(UInt8(ascii: ":")) ? .missingValue(index) : .unwantedValue(index)
        }
        // Short options stand in clusters, so `argument` may be the one before. The letter is sure.
        if option > 0 {
            return .unknown("-\(Character(UnicodeScalar(UInt8(truncatingIfNeeded: option))))")
        }
        return .unknown(argument)
    }

    /// Above every character, so that long options never look like short ones.
    private static let firstValue: Int32 = 256
}
