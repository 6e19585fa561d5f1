// One line of the journal: constant words, then fields.
//
// Made by: `Journal`, on the thread that has something to say. No lock, no I/O, no strings.
// Hard: bytes from the network stand in fields. They must not be able to end the line, begin
// another field or speak to the operator's terminal, so everything but plain ASCII is escaped.

/// A line while it is built: `request MIRROR=alice/prom STATUS=200 TARGET="/a b"`.
package struct JournalLine: Sendable {
    /// Bytes of a value that a line keeps. A request target may be 16 KiB long.
    package static let maximumValueBytes = 1024

    private(set) var bytes: [UInt8]

    init(prefix: StaticString, message: StaticString) {
        bytes = []
        bytes.reserveCapacity(512)
        append(prefix)
        append(message)
    }

    /// Adds a field whose value came from anywhere.
    package mutating func field(_ name: StaticString, _ value: ArraySlice<UInt8>) {
        append(name, value)
    }

    package mutating func field(_ name: StaticString, _ value: [UInt8]) {
        append(name, value)
    }

    package mutating func field(_ name: StaticString, _ value: String) {
        append(name, value.utf8)
    }

    /// Adds a field whose value is a word of ours.
    package mutating func field(_ name: StaticString, _ value: StaticString) {
        begin(name)
        append(value)
    }

    package mutating func field(_ name: StaticString, _ value: Int) {
        begin(name)
        append(decimal: value)
    }

    /// Adds a length of time in milliseconds, with three decimals: `DURATION_MS=12.345`.
    package mutating func field(_ name: StaticString, milliseconds nanoseconds: Int) {
        begin(name)
        let microseconds = max(0, nanoseconds / 1000)
        append(decimal: microseconds / 1000)
        bytes.append(UInt8(ascii: "."))
        let fraction = microseconds % 1000
        if fraction < 100 { bytes.append(UInt8(ascii: "0")) }
        if fraction < 10 { bytes.append(UInt8(ascii: "0")) }
        append(decimal: fraction)
    }

    mutating func end() {
        bytes.append(UInt8(ascii: "\n"))
    }

    /// One body for all that is bytes; the compiler makes it three, none of which copies the value.
    private mutating func append(_ name: StaticString, _ value: some Collection<UInt8>) {
        begin(name)
        let kept = value.prefix(Self.maximumValueBytes)
        let isWhole = kept.endIndex == value.endIndex
        if isWhole && !kept.isEmpty && kept.allSatisfy(Self.isPlain) {
            bytes.append(contentsOf: kept)
            return
        }
        bytes.append(UInt8(ascii: "\""))
        for byte in kept { appendEscaped(byte) }
        if !isWhole { append("...") }
        bytes.append(UInt8(ascii: "\""))
    }

    private mutating func begin(_ name: StaticString) {
        bytes.append(UInt8(ascii: " "))
        append(name)
        bytes.append(UInt8(ascii: "="))
    }

    private mutating func append(_ text: StaticString) {
        // A StaticString's bytes are constant and live as long as the program.
        text.withUTF8Buffer { unsafe bytes.append(contentsOf: $0) }
    }

    private mutating func append(decimal value: Int) {
        if value < 0 { bytes.append(UInt8(ascii: "-")) }
        var rest = value.magnitude
        let start = bytes.count
        repeat {
            bytes.append(UInt8(ascii: "0") + UInt8(rest % 10))
            rest /= 10
        } while rest > 0
        bytes[start...].reverse()
    }

    /// What may stand without quotes: visible ASCII but the three bytes that mean something.
    private static func isPlain(_ byte: UInt8) -> Bool {
        byte > 0x20 && byte < 0x7F && byte != UInt8(ascii: "\"") && byte != UInt8(ascii: "=")
            && byte != UInt8(ascii: "\\")
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
            bytes.append(Self.hexadecimal[Int(byte >> 4)])
            bytes.append(Self.hexadecimal[Int(byte & 15)])
        }
    }

    private static let hexadecimal = Array("0123456789abcdef".utf8)
}
