// The keys file: one line per key, fields separated by tabs, digests instead of secrets.
//
//     # magicmirror keys 1
//     ID  ROLE  USER  NAMEPATTERN  SHA256HEX  CREATED  EXPIRES  COMMENT
//
// Times are seconds since 1970, EXPIRES is `-` for never, the comment may be empty. Lines that
// begin with `#` and empty lines are kept as they are.

package enum KeyRole: String, Sendable, CaseIterable {
    case agent, client
}

/// What one line says of a key.
package struct KeyRecord: Sendable, Equatable {
    package static let digestLength = 32

    /// 1...64 of `A-Z a-z 0-9 _ -`.
    package let id: String
    package let role: KeyRole
    package let user: MirrorName
    package let pattern: NamePattern
    /// SHA-256 of the secret, 32 bytes.
    package let digest: [UInt8]
    /// Seconds since 1970.
    package let created: Int
    /// Seconds since 1970; nil: never.
    package let expires: Int?
    /// Without control characters; others are made spaces.
    package let comment: String

    package init(
        id: String, role: KeyRole, user: MirrorName, pattern: NamePattern, digest: [UInt8],
        created: Int, expires: Int?, comment: String
    ) {
        precondition(digest.count == Self.digestLength && Self.isID(id))
        self.id = id
        self.role = role
        self.user = user
        self.pattern = pattern
        self.digest = digest
        self.created = created
        self.expires = expires
        let bytes = comment.utf8.map { $0.isControl || $0 == 0x09 ? 0x20 : $0 }
        self.comment = String(decoding: bytes, as: UTF8.self).trimmed
    }

    /// Whether `text` can be the id of a key.
    package static func isID(_ text: some StringProtocol) -> Bool {
        1...64 ~= text.utf8.count
            && text.utf8.allSatisfy { $0.isLetter || $0.isDigit || $0 == 0x5F || $0 == 0x2D }
    }

    fileprivate static func parse(_ text: String) throws(TextError) -> KeyRecord {
        let parts = text.split(separator: "\t", maxSplits: 7, omittingEmptySubsequences: false)
        guard parts.count >= 7 else {
            throw TextError("\(parts.count) fields in a key (7 or 8, separated by tabs)")
        }
        guard isID(parts[0]) else { throw TextError("'\(parts[0])' is not a key id") }
        guard let role = KeyRole(rawValue: String(parts[1])) else {
            throw TextError("'\(parts[1])' is not a role (agent or client)")
        }
        guard let user = MirrorName(String(parts[2])) else {
            throw TextError("'\(parts[2])' is not a user (\(MirrorName.rule))")
        }
        guard let pattern = NamePattern(String(parts[3])) else {
            throw TextError("'\(parts[3])' is not a name pattern")
        }
        // Not repeated in the message: it might be a secret in the wrong place.
        guard let digest = Hexadecimal.decode(parts[4]), digest.count == digestLength else {
            throw TextError("the fifth field of a key is not 64 hexadecimal digits")
        }
        guard let created = seconds(parts[5]) else {
            throw TextError("'\(parts[5])' is not a time in seconds since 1970")
        }
        let expires = parts[6] == "-" ? nil : seconds(parts[6])
        guard expires != nil || parts[6] == "-" else {
            throw TextError("'\(parts[6])' is not a time in seconds since 1970, and not '-'")
        }
        return KeyRecord(
            id: String(parts[0]), role: role, user: user, pattern: pattern, digest: digest,
            created: created, expires: expires, comment: parts.count == 8 ? String(parts[7]) : "")
    }

    private static func seconds(_ text: Substring) -> Int? {
        let bytes = Array(text.utf8)
        return bytes.span.decimal(bytes.indices)
    }

    fileprivate var text: String {
        let times = "\(created)\t\(expires.map(String.init) ?? "-")"
        return
            "\(id)\t\(role.rawValue)\t\(user)\t\(pattern)\t\(Hexadecimal.encode(digest))\t\(times)"
            + "\t\(comment)"
    }
}

package struct KeysText: Sendable, Equatable {
    private enum Line: Sendable, Equatable {
        case key(KeyRecord)
        case comment(String)
    }

    package static let firstLine = "# magicmirror keys 1"

    /// Without the first line.
    private var lines: [Line] = []

    package init() {}

    /// The keys in the order of their lines; ids and digests are unique.
    package var records: [KeyRecord] {
        lines.compactMap { if case .key(let record) = $0 { record } else { nil } }
    }

    /// Reads a file; an empty one has no keys.
    package static func parse(_ bytes: [UInt8]) throws(LineError) -> KeysText {
        var keys = KeysText()
        var lineOfID: [String: Int] = [:]
        var lineOfDigest: [[UInt8]: Int] = [:]
        for (number, text) in try textLines(of: bytes) {
            if number == 1 {
                guard text == firstLine else {
                    throw LineError(line: 1, "not a keys file (the first line is '\(firstLine)')")
                }
                continue
            }
            if text.trimmed.isEmpty || text.utf8.first == 0x23 {
                keys.lines.append(.comment(text))
                continue
            }
            do throws(TextError) {
                let record = try KeyRecord.parse(text)
                if let first = lineOfID.updateValue(number, forKey: record.id) {
                    throw TextError("key id '\(record.id)' stands in line \(first) already")
                }
                if let first = lineOfDigest.updateValue(number, forKey: record.digest) {
                    throw TextError("key '\(record.id)' has the same secret as line \(first)")
                }
                keys.lines.append(.key(record))
            } catch {
                throw LineError(line: number, error.message)
            }
        }
        return keys
    }

    package mutating func append(_ record: KeyRecord) { lines.append(.key(record)) }

    /// - Returns: the removed key, or nil where there is none of that id.
    package mutating func remove(id: String) -> KeyRecord? {
        for (index, line) in lines.enumerated() {
            guard case .key(let record) = line, record.id == id else { continue }
            lines.remove(at: index)
            return record
        }
        return nil
    }

    /// The file as it is written back.
    package var bytes: [UInt8] {
        var text = Self.firstLine + "\n"
        for line in lines {
            switch line {
            case .key(let record): text += record.text + "\n"
            case .comment(let comment): text += comment + "\n"
            }
        }
        return Array(text.utf8)
    }
}

/// Bytes as hexadecimal digits.
package enum Hexadecimal {
    /// Lower-case digits, two per byte.
    package static func encode(_ bytes: some Sequence<UInt8>) -> String {
        var digits: [UInt8] = []
        for byte in bytes {
            digits.append(.hexadecimalDigit(byte >> 4))
            digits.append(.hexadecimalDigit(byte & 0xF))
        }
        return String(decoding: digits, as: UTF8.self)
    }

    /// Digits of either case; nil for anything else or an odd number of them.
    package static func decode(_ text: some StringProtocol) -> [UInt8]? {
        guard text.utf8.count.isMultiple(of: 2) else { return nil }
        var bytes: [UInt8] = []
        var digits = text.utf8.makeIterator()
        while let digit = digits.next() {
            guard let high = digit.hexadecimalValue, let low = digits.next()?.hexadecimalValue
            else { return nil }
            bytes.append(high << 4 | low)
        }
        return bytes
    }
}
