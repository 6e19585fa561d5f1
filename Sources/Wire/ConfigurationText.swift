// The syntax of relay.conf and agent.conf; what the keys mean is not known here.
//
//     # a comment
//     key = value            # blanks before the number sign
//     key = "a value # with everything in it"
//     [mirror alice/prometheus]
//     key = value
//
// In quotes, \" is a quotation mark and \\ a backslash.

package struct ConfigurationEntry: Sendable, Equatable {
    package let key: String
    package let value: String
    package let line: Int
}

/// The entries below a heading `[kind name]`, in their order; keys may repeat.
package struct ConfigurationSection: Sendable, Equatable {
    /// Empty for the entries before the first heading.
    package let kind: String
    /// What stands behind the kind, empty where nothing does.
    package let name: String
    /// The line of the heading, 0 before the first one.
    package let line: Int
    package internal(set) var entries: [ConfigurationEntry] = []

    /// The heading as it is written.
    package var heading: String { name.isEmpty ? "[\(kind)]" : "[\(kind) \(name)]" }
}

package struct ConfigurationText: Sendable, Equatable {
    /// The entries before the first heading.
    package private(set) var top = ConfigurationSection(kind: "", name: "", line: 0)
    package private(set) var sections: [ConfigurationSection] = []

    package static func parse(_ bytes: [UInt8]) throws(LineError) -> ConfigurationText {
        var configuration = ConfigurationText()
        for (number, text) in try textLines(of: bytes) {
            do throws(TextError) {
                try configuration.take(text, line: number)
            } catch {
                throw LineError(line: number, error.message)
            }
        }
        return configuration
    }

    private mutating func take(_ text: String, line: Int) throws(TextError) {
        let content = text.trimmed
        // By bytes, here and below: a character of Swift's may be a sign of ours and accents on it.
        if content.isEmpty || content.utf8.first == 0x23 { return }
        if content.utf8.first == 0x5B {
            try takeHeading(Self.withoutComment(content), line: line)
            return
        }
        guard let equals = content.utf8.firstIndex(of: 0x3D) else {
            throw TextError("no '=' in '\(content)' (write 'key = value')")
        }
        let key = content[..<equals].trimmed
        guard !key.isEmpty, key.utf8.allSatisfy({ $0.isLetter || $0.isDigit || $0 == 0x2D }) else {
            throw TextError("'\(key)' is not a key (letters, digits and '-')")
        }
        let value = try Self.value(content[content.utf8.index(after: equals)...].trimmed)
        let entry = ConfigurationEntry(key: key, value: value, line: line)
        if sections.isEmpty {
            top.entries.append(entry)
        } else {
            sections[sections.count - 1].entries.append(entry)
        }
    }

    private mutating func takeHeading(_ content: String, line: Int) throws(TextError) {
        guard content.utf8.last == 0x5D else {
            throw TextError("no ']' at the end of '\(content)'")
        }
        let inside = String(content.unicodeScalars.dropFirst().dropLast()).trimmed
        let blank = inside.utf8.firstIndex(where: \.isBlank) ?? inside.endIndex
        let kind = String(inside[..<blank])
        let name = inside[blank...].trimmed
        guard !kind.isEmpty, !inside.utf8.contains(0x5B), !inside.utf8.contains(0x5D) else {
            throw TextError("'\(content)' is not a section (write '[kind name]')")
        }
        if let first = sections.first(where: { $0.kind == kind && $0.name == name }) {
            throw TextError("section '\(first.heading)' stands in line \(first.line) already")
        }
        sections.append(ConfigurationSection(kind: kind, name: name, line: line))
    }

    /// The value in `text`, which may be quoted and may be followed by a comment.
    private static func value(_ text: String) throws(TextError) -> String {
        guard text.utf8.first == 0x22 else { return withoutComment(text) }
        var value = String.UnicodeScalarView()
        var rest = text.unicodeScalars.dropFirst()
        while let scalar = rest.popFirst() {
            switch scalar {
            case "\"":
                let behind = String(rest)
                let isBlank = behind.utf8.first.map(\.isBlank) ?? true
                guard isBlank, withoutComment(behind).isEmpty else {
                    throw TextError("'\(behind.trimmed)' behind the closing quotation mark")
                }
                return String(value)
            case "\\":
                guard let escaped = rest.popFirst(), escaped == "\"" || escaped == "\\" else {
                    throw TextError("backslash before neither '\"' nor '\\' in a quoted value")
                }
                value.append(escaped)
            default: value.append(scalar)
            }
        }
        throw TextError("quotation mark not closed")
    }

    /// Cuts a comment off: a number sign at the beginning or behind a blank.
    private static func withoutComment(_ text: String) -> String {
        var previous: UInt8 = 0x20
        for index in text.utf8.indices {
            if text.utf8[index] == 0x23, previous.isBlank { return text[..<index].trimmed }
            previous = text.utf8[index]
        }
        return text.trimmed
    }
}
