// The rules `GET,HEAD /api/v1/*` by which an agent allows requests.
//
// Called by: the agent, for each request before it goes to the origin.
// Hard: the rule and the origin must see the same path. A path is decoded once and then compared;
// one that some server could still read in another way (a dot segment, an empty segment, an encoded
// slash, a backslash, an escape of an escape) is refused, whatever the rules allow.

/// A path in which `*` stands for any run of characters, slashes among them.
package struct PathPattern: Hashable, Sendable, CustomStringConvertible {
    package let text: String
    private let bytes: [UInt8]

    /// Whether every target matches, also one whose path could be read in two ways.
    package var matchesAll: Bool { text == "*" || text == "/*" }

    package var description: String { text }

    /// Reads a pattern: `*`, or a decoded path that begins with a slash.
    package static func parse(_ text: String) throws(TextError) -> PathPattern {
        let bytes = Array(text.utf8)
        guard bytes.first == 0x2F || text == "*" else {
            throw TextError("path '\(text)' does not begin with '/'")
        }
        for byte in bytes where byte == 0x25 || byte == 0x3F || byte == 0x23 {
            let character = Character(Unicode.Scalar(byte))
            throw TextError(
                "path '\(text)' has a '\(character)' (write it decoded, without a query)")
        }
        if let doubt = PathDoubt.find(in: bytes, decodedFrom: bytes) {
            throw TextError("path '\(text)' can match no request: \(doubt.rawValue)")
        }
        return PathPattern(text: text, bytes: bytes)
    }

    /// Whether a path decoded by `PathDoubt.decode` matches.
    package func matches(_ path: [UInt8]) -> Bool { Wildcard.matches(bytes.span, path.span) }
}

/// Why a path could be read in two ways.
package enum PathDoubt: String, Error, Sendable {
    case notAbsolute = "path does not begin with '/'"
    case escape = "broken percent-encoding in the path"
    case encodedSlash = "encoded slash in the path"
    case backslash = "backslash in the path"
    case control = "control byte in the path"
    case twiceEncoded = "path is percent-encoded twice"
    case dotSegment = "'.' or '..' as a segment of the path"
    case emptySegment = "empty segment in the path"

    /// The decoded path that rules are held against.
    package static func decode(_ path: ArraySlice<UInt8>) throws(PathDoubt) -> [UInt8] {
        guard path.first == 0x2F else { throw .notAbsolute }
        guard let decoded = PercentEncoding.decode(path) else { throw .escape }
        if let doubt = find(in: decoded, decodedFrom: path) { throw doubt }
        return decoded
    }

    /// Whether some server could take the path for one that climbs: a segment `.` or `..`, however
    /// it is encoded.
    package static func climbs(_ path: ArraySlice<UInt8>) -> Bool {
        guard let decoded = PercentEncoding.decode(path) else { return true }
        return decoded.split(whereSeparator: { $0 == 0x2F || $0 == 0x5C }).contains { segment in
            let name = segment.prefix { $0 != 0x3B }
            return name.elementsEqual([0x2E]) || name.elementsEqual([0x2E, 0x2E])
        }
    }

    fileprivate static func find(
        in path: [UInt8], decodedFrom encoded: some Collection<UInt8>
    ) -> PathDoubt? {
        let slashes = path.reduce(into: 0) { $0 += $1 == 0x2F ? 1 : 0 }
        if slashes != encoded.reduce(into: 0, { $0 += $1 == 0x2F ? 1 : 0 }) { return .encodedSlash }
        for (index, byte) in path.enumerated() {
            if byte == 0x5C { return .backslash }
            if byte < 0x20 || byte == 0x7F { return .control }
            if byte == 0x25, path[index...].count > 2, path[index + 1].hexadecimalValue != nil,
                path[index + 2].hexadecimalValue != nil
            {
                return .twiceEncoded
            }
        }
        let segments = path.split(separator: 0x2F, omittingEmptySubsequences: false).dropFirst()
        for (index, segment) in segments.enumerated() {
            // Java servers cut `;parameters` off a segment before they look at it.
            let name = segment.prefix { $0 != 0x3B }
            if name.elementsEqual([0x2E]) || name.elementsEqual([0x2E, 0x2E]) {
                return .dotSegment
            }
            if name.isEmpty, index < segments.count - 1 { return .emptySegment }
        }
        return nil
    }
}

/// One rule: methods, or `*` for all, and a path pattern.
package struct AllowRule: Hashable, Sendable, CustomStringConvertible {
    /// Empty: every method.
    package let methods: [String]
    package let path: PathPattern

    /// The rule as it is written.
    package var description: String {
        "\(methods.isEmpty ? "*" : methods.joined(separator: ",")) \(path)"
    }

    /// Reads `GET,HEAD /api/v1/*`, `* /public/*` or `GET *`.
    package static func parse(_ text: String) throws(TextError) -> AllowRule {
        let words = text.split { $0 == " " || $0 == "\t" }
        guard words.count == 2 else {
            throw TextError("'\(text)' is not a rule (write 'GET,HEAD /path/*' or '* /path')")
        }
        var methods: [String] = []
        if words[0] != "*" {
            for method in words[0].split(separator: ",", omittingEmptySubsequences: false) {
                guard !method.isEmpty, method.utf8.allSatisfy(\.isTokenCharacter), method != "*"
                else { throw TextError("'\(method)' in rule '\(text)' is not a method") }
                guard method.uppercased() == method else {
                    throw TextError(
                        "method '\(method)' in rule '\(text)' is in lower case"
                            + " (did you mean '\(method.uppercased())'?)")
                }
                methods.append(String(method))
            }
        }
        return AllowRule(methods: methods, path: try PathPattern.parse(String(words[1])))
    }

    func allows(method: ArraySlice<UInt8>) -> Bool {
        methods.isEmpty || methods.contains { method.elementsEqual($0.utf8) }
    }
}

/// What a list of rules says of a request.
package enum RuleVerdict: Sendable, Equatable {
    /// Allowed by the rule of that index.
    case allowed(rule: Int)
    case noRule
    case doubtfulPath(PathDoubt)

    /// Finds the first rule that allows `method` and `path`.
    ///
    /// - Parameter path: as it stands in the request target, without its query; empty for
    ///   `OPTIONS *`, which only a rule for all paths allows.
    package static func find(
        in rules: [AllowRule], method: ArraySlice<UInt8>, path: ArraySlice<UInt8>
    ) -> RuleVerdict {
        for (index, rule) in rules.enumerated()
        where rule.path.matchesAll && rule.allows(method: method) {
            return .allowed(rule: index)
        }
        do {
            let decoded = try PathDoubt.decode(path)
            for (index, rule) in rules.enumerated()
            where rule.allows(method: method) && rule.path.matches(decoded) {
                return .allowed(rule: index)
            }
            return .noRule
        } catch {
            return .doubtfulPath(error)
        }
    }
}
