// What the operator set, each value with the place where it stands, and its reading as a number, a
// time, a choice. So whatever is wrong with a value is said with its file and line, or its option.

/// One value as it was written.
package struct SettingValue: Sendable, Equatable {
    /// Where a value was written.
    package enum Origin: Sendable, Equatable {
        case option(String)
        case line(file: String, number: Int, key: String)
        case environment(String)
        case file(String)
    }

    package let text: String
    package let origin: Origin

    package init(_ text: String, _ origin: Origin) {
        self.text = text
        self.origin = origin
    }

    /// An error that says where the value stands, then what is wrong with it.
    package func error(_ message: String) -> StartError {
        switch origin {
        case .option(let name): .commandLine("option '--\(name)': \(message)")
        case .line(let file, let number, let key):
            .configuration(place: "\(file):\(number)", message: "key '\(key)': \(message)")
        case .environment(let name):
            .configuration(place: nil, message: "environment variable '\(name)': \(message)")
        case .file(let path): .configuration(place: path, message: message)
        }
    }

    /// An error of what the value names: a file, a certificate. The message names it.
    package func unusable(_ message: String) -> StartError {
        .configuration(place: line, message: optionPrefix + message)
    }

    /// The machine does not give what the value names.
    package func failure(_ message: String) -> StartError {
        .failed(place: line, message: optionPrefix + message)
    }

    /// `FILE:LINE`; nil where the value does not stand in a file.
    private var line: String? {
        if case .line(let file, let number, _) = origin { return "\(file):\(number)" }
        return nil
    }

    private var optionPrefix: String {
        if case .option(let name) = origin { return "option '--\(name)': " }
        return ""
    }

    /// Where the value stands, for a message about another one.
    package var place: String {
        switch origin {
        case .option(let name): "option '--\(name)'"
        case .line(_, let number, let key): "key '\(key)' in line \(number)"
        case .environment(let name): "environment variable '\(name)'"
        case .file(let path): "file '\(path)'"
        }
    }
}

/// Values by the names of their settings, in the order in which they were written.
package struct SettingValues: Sendable, Equatable {
    private var values: [String: [SettingValue]] = [:]

    package init() {}

    package var isEmpty: Bool { values.isEmpty }

    package func all(_ name: String) -> [SettingValue] { values[name] ?? [] }

    package func first(_ name: String) -> SettingValue? { values[name]?.first }

    package func isSet(_ name: String) -> Bool { values[name] != nil }

    /// What the value of `name` names cannot be used. Where it is a default, no place is told.
    package func unusable(_ name: String, _ message: String) -> StartError {
        first(name)?.unusable(message) ?? .configuration(place: nil, message: message)
    }

    package mutating func append(_ name: String, _ value: SettingValue) {
        values[name, default: []].append(value)
    }

    package mutating func remove(_ name: String) {
        values[name] = nil
    }

    /// These values, and of `lower` those whose names are not set here.
    package func over(_ lower: SettingValues) -> SettingValues {
        var merged = self
        merged.values.merge(lower.values) { upper, _ in upper }
        return merged
    }

    /// Of these values those with a name in `names`.
    package func only(_ names: [String]) -> SettingValues {
        var some = self
        some.values = values.filter { names.contains($0.key) }
        return some
    }

    /// The names of which `other` has other values, sorted.
    package func namesDiffering(from other: SettingValues) -> [String] {
        Set(values.keys).union(other.values.keys)
            .filter { all($0).map(\.text) != other.all($0).map(\.text) }
            .sorted()
    }

    // MARK: Readings

    package func text(_ name: String) throws(StartError) -> String? {
        guard let value = first(name) else { return nil }
        guard !value.text.isEmpty else { throw value.error("it is empty") }
        return value.text
    }

    /// The name of a file. In a configuration file, a relative one starts from that file's own
    /// directory: a daemon's working directory says nothing to its operator.
    package func path(_ name: String) throws(StartError) -> String? {
        guard let text = try text(name), let value = first(name) else { return nil }
        guard !text.utf8.contains(0) else { throw value.error("it has a zero byte") }
        guard case .line(let file, _, _) = value.origin, !text.hasPrefix("/"),
            let slash = file.lastIndex(of: "/")
        else { return text }
        return file[...slash] + text
    }

    /// `yes` or `no`. An option without a value counts as `yes`.
    package func flag(_ name: String) throws(StartError) -> Bool {
        switch first(name)?.text {
        case nil, "no": return false
        case "yes": return true
        case let other?: throw first(name)!.error("'\(other)' is neither 'yes' nor 'no'")
        }
    }

    package func integer(
        _ name: String, default standard: Int, _ range: ClosedRange<Int>
    ) throws(StartError) -> Int {
        guard let value = first(name) else { return standard }
        guard let number = Quantity.integer(value.text) else {
            throw value.error("'\(value.text)' is not a whole number")
        }
        return try value.bounded(number, range) { String($0) }
    }

    /// Bytes: `32KiB`, `16MiB`, `4096`.
    package func byteCount(
        _ name: String, default standard: Int, _ range: ClosedRange<Int>
    ) throws(StartError) -> Int {
        guard let value = first(name) else { return standard }
        guard let number = Quantity.byteCount(value.text) else {
            throw value.error("'\(value.text)' is not a size such as 4096, 32KiB or 16MiB")
        }
        return try value.bounded(number, range) { Quantity.describe(byteCount: $0) }
    }

    /// A length of time: `500ms`, `90s`, `10m`, `12h`, `90d`.
    package func duration(
        _ name: String, default standard: Duration, _ range: ClosedRange<Duration>
    ) throws(StartError) -> Duration {
        guard let value = first(name) else { return standard }
        return try value.duration(range)
    }

    /// One of some words.
    package func choice<Choice>(
        _ name: String, default standard: Choice, _ choices: [(name: String, value: Choice)]
    ) throws(StartError) -> Choice {
        guard let value = first(name) else { return standard }
        if let choice = choices.first(where: { $0.name == value.text }) { return choice.value }
        let names = choices.map(\.name)
        throw value.error(
            "'\(value.text)' is none of \(names.map { "'\($0)'" }.joined(separator: ", "))"
                + suggestion(for: value.text, among: names))
    }

    /// The parts of all values of a name, split at commas, without the white space around them.
    package func list(_ name: String) throws(StartError) -> [SettingValue] {
        var parts: [SettingValue] = []
        for value in all(name) {
            for part in value.text.split(separator: ",", omittingEmptySubsequences: false) {
                let part = trimmed(part)
                guard !part.isEmpty else { throw value.error("its list has an empty part") }
                parts.append(SettingValue(part, value.origin))
            }
        }
        return parts
    }
}

extension SettingValue {
    package func duration(_ range: ClosedRange<Duration>) throws(StartError) -> Duration {
        guard let duration = Quantity.duration(text) else {
            throw error("'\(text)' is not a time such as 500ms, 90s, 10m, 12h or 90d")
        }
        return try bounded(duration, range) { Quantity.describe(duration: $0) }
    }

    /// `number` where it is in the range.
    fileprivate func bounded<Number: Comparable>(
        _ number: Number, _ range: ClosedRange<Number>, _ describe: (Number) -> String
    ) throws(StartError) -> Number {
        if number < range.lowerBound {
            throw error("'\(text)' is too small (the least is \(describe(range.lowerBound)))")
        }
        if number > range.upperBound {
            throw error("'\(text)' is too large (the most is \(describe(range.upperBound)))")
        }
        return number
    }
}

/// A text without spaces and tabs at its ends.
package func trimmed(_ text: some StringProtocol) -> String {
    let isBlank = { (character: Character) in character == " " || character == "\t" }
    return String(text.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
}

extension Journal.Level {
    /// The setting `log-level`; without it `info`.
    package static func setting(_ values: SettingValues) throws(StartError) -> Journal.Level {
        try values.choice("log-level", default: .info, allCases.map { ($0.name, $0) })
    }
}
