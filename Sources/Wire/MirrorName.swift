// Names of users and mirrors, and the patterns that keys allow.

/// The name of a mirror or of a user: 1...63 of `A-Z a-z 0-9 _ . -`, the first one a letter or a
/// digit, the last one no hyphen, without `--`, which joins name and user in a host name.
package struct MirrorName: Hashable, Sendable, CustomStringConvertible {
    package static let maximumLength = 63

    package let text: String

    package init?(_ text: String) {
        self.init(bytes: Array(text.utf8)[...])
    }

    package init?(bytes: ArraySlice<UInt8>) {
        guard Self.isName(bytes, allowing: nil) else { return nil }
        text = String(decoding: bytes, as: UTF8.self)
    }

    package var description: String { text }

    /// What `init` accepts, for messages.
    package static let rule =
        "1 to 63 letters, digits, '_', '.' and '-', beginning with a letter or digit, not ending"
        + " with '-', without '--'"

    /// Whether `bytes` are such a name, or one with the further character `extra` anywhere.
    static func isName(_ bytes: ArraySlice<UInt8>, allowing extra: UInt8?) -> Bool {
        guard 1...maximumLength ~= bytes.count, let first = bytes.first,
            first.isLetter || first.isDigit || first == extra
        else { return false }
        var previous: UInt8 = 0
        for byte in bytes {
            guard byte.isNameCharacter || byte == extra, !(byte == 0x2D && previous == 0x2D) else {
                return false
            }
            previous = byte
        }
        return extra != nil || previous != 0x2D
    }
}

/// A name in which `*` stands for any run of characters, also an empty one.
package struct NamePattern: Hashable, Sendable, CustomStringConvertible {
    package static let any = NamePattern(unchecked: "*")

    package let text: String

    package init?(_ text: String) {
        guard MirrorName.isName(Array(text.utf8)[...], allowing: 0x2A) else { return nil }
        self.text = text
    }

    private init(unchecked text: String) { self.text = text }

    package var description: String { text }

    package func matches(_ name: MirrorName) -> Bool {
        Wildcard.matches(text.utf8.span, name.text.utf8.span)
    }
}

/// Matching with `*`, in time proportional to the product of the lengths at worst.
enum Wildcard {
    static func matches(_ pattern: Span<UInt8>, _ text: Span<UInt8>) -> Bool {
        var inPattern = 0
        var inText = 0
        // The last star seen, and where the text behind its run begins: on a mismatch the run
        // grows by one. An earlier star never needs to grow again.
        var star: (pattern: Int, text: Int)?
        while inText < text.count {
            if inPattern < pattern.count, pattern[inPattern] == 0x2A {
                star = (inPattern + 1, inText)
                inPattern += 1
            } else if inPattern < pattern.count, pattern[inPattern] == text[inText] {
                inPattern += 1
                inText += 1
            } else if let last = star {
                star = (last.pattern, last.text + 1)
                inPattern = last.pattern
                inText = last.text + 1
            } else {
                return false
            }
        }
        while inPattern < pattern.count, pattern[inPattern] == 0x2A { inPattern += 1 }
        return inPattern == pattern.count
    }
}

extension UInt8 {
    fileprivate var isNameCharacter: Bool {
        isLetter || isDigit || self == 0x5F || self == 0x2E || self == 0x2D
    }
}
