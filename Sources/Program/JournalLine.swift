// One line of the journal: constant words, then fields.
//
// Made by: `Journal`, on the thread that has something to say. No lock, no I/O, no strings.
// Hard: bytes from the network stand in fields. They must not be able to end the line, begin
// another field or speak to the operator's terminal, so everything but plain ASCII is escaped.

import Wire

/// A line while it is built: `request MIRROR=alice/prom STATUS=200 TARGET="/a b"`.
package struct JournalLine: Sendable {
    /// Bytes of a value that a line keeps. A request target may be 16 KiB long.
    package static let maximumValueBytes = 1024
    /// A line of so many bytes gets no further field, so that twice of it fits any datagram: once as
    /// the message, once as fields. No line of an exchange comes near.
    static let maximumBytes = 32 * 1024

    private(set) var bytes: [UInt8]

    init(prefix: StaticString, message: StaticString) {
        bytes = []
        bytes.reserveCapacity(512)
        append(prefix)
        append(message)
    }

    /// Adds a field whose value came from anywhere.
    package mutating func field(_ name: StaticString, _ value: ArraySlice<UInt8>) {
        append(name, value.span)
    }

    package mutating func field(_ name: StaticString, _ value: [UInt8]) {
        append(name, value.span)
    }

    package mutating func field(_ name: StaticString, _ value: String) {
        append(name, value.utf8.span)
    }

    /// Adds a field `USER/NAME`; a name has nothing in it that would have to be escaped.
    package mutating func field(_ name: StaticString, _ user: MirrorName, _ mirror: MirrorName) {
        guard begin(name) else { return }
        bytes.append(contentsOf: user.text.utf8)
        bytes.append(UInt8(ascii: "/"))
        bytes.append(contentsOf: mirror.text.utf8)
    }

    /// Adds a field whose value is a word of ours.
    package mutating func field(_ name: StaticString, _ value: StaticString) {
        guard begin(name) else { return }
        append(value)
    }

    package mutating func field(_ name: StaticString, _ value: Int) {
        guard begin(name) else { return }
        HeadWriter.decimal(value, to: &bytes)
    }

    /// Adds a length of time in milliseconds, with three decimals: `DURATION_MS=12.345`.
    package mutating func field(_ name: StaticString, milliseconds nanoseconds: Int) {
        guard begin(name) else { return }
        let microseconds = max(0, nanoseconds / 1000)
        HeadWriter.decimal(microseconds / 1000, to: &bytes)
        let fraction = UInt16(truncatingIfNeeded: microseconds % 1000)
        bytes.append(UInt8(ascii: "."))
        bytes.append(0x30 + UInt8(truncatingIfNeeded: fraction / 100))
        bytes.append(0x30 + UInt8(truncatingIfNeeded: fraction / 10 % 10))
        bytes.append(0x30 + UInt8(truncatingIfNeeded: fraction % 10))
    }

    mutating func end() {
        bytes.append(UInt8(ascii: "\n"))
    }

    private mutating func append(_ name: StaticString, _ value: Span<UInt8>) {
        guard begin(name) else { return }
        let count = min(value.count, Self.maximumValueBytes)
        let isWhole = count == value.count
        if isWhole, count > 0, value.isPlainWord(first: count) {
            // Safe: the bytes are copied within the closure.
            unsafe value.withUnsafeBufferPointer { unsafe bytes.append(contentsOf: $0) }
            return
        }
        bytes.append(UInt8(ascii: "\""))
        for index in 0..<count { appendEscaped(value[index]) }
        if !isWhole { append("...") }
        bytes.append(UInt8(ascii: "\""))
    }

    /// - Returns: false where the line is full.
    private mutating func begin(_ name: StaticString) -> Bool {
        guard bytes.count < Self.maximumBytes else { return false }
        bytes.append(UInt8(ascii: " "))
        append(name)
        bytes.append(UInt8(ascii: "="))
        return true
    }

    private mutating func append(_ text: StaticString) {
        // A StaticString's bytes are constant and live as long as the program.
        text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
    }

    private mutating func appendEscaped(_ byte: UInt8) {
        switch byte {
        case UInt8(ascii: "\""), UInt8(ascii: "\\"):
            bytes.append(UInt8(ascii: "\\"))
            bytes.append(byte)
        case UInt8(ascii: "\n"): append("\\n")
        case UInt8(ascii: "\r"): append("\\r")
        case UInt8(ascii: "\t"): append("\\t")
        case 0x20..<0x7F: bytes.append(byte)
        default:
            append("\\x")
            bytes.append(.hexadecimalDigit(byte >> 4))
            bytes.append(.hexadecimalDigit(byte & 15))
        }
    }
}
