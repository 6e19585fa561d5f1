// Writes JSON (RFC 8259): problem bodies, the list of mirrors, `--json` of the programs.
//
// Called by: relay, agent and magicmirrorctl, for small documents.

/// A document built from the outside in; commas come by themselves.
///
///     var json = JSONWriter()
///     json.object {
///         $0.member("name", "prom")
///         $0.key("sessions")
///         $0.array { $0.integer(1) }
///     }
package struct JSONWriter: Sendable {
    package private(set) var bytes: [UInt8] = []
    /// Whether a value was written before in the current array or object.
    private var needsComma = false

    package init() {}

    package mutating func object(_ members: (inout JSONWriter) -> Void) {
        nest(0x7B, 0x7D, members)
    }

    package mutating func array(_ elements: (inout JSONWriter) -> Void) {
        nest(0x5B, 0x5D, elements)
    }

    /// The name of a member; exactly one value follows.
    package mutating func key(_ name: String) {
        string(name)
        bytes.append(0x3A)
        needsComma = false
    }

    package mutating func string(_ value: String) {
        separate()
        bytes.append(0x22)
        for byte in value.utf8 { append(byte) }
        bytes.append(0x22)
    }

    /// Bytes that should be UTF-8; what is not is replaced by U+FFFD.
    package mutating func string(_ value: some Collection<UInt8>) {
        string(String(decoding: value, as: UTF8.self))
    }

    /// A string of bytes of which none needs an escape, such as base64.
    package mutating func plain(_ bytes: [UInt8]) {
        separate()
        self.bytes.append(0x22)
        self.bytes.append(contentsOf: bytes)
        self.bytes.append(0x22)
    }

    package mutating func integer(_ value: Int) {
        separate()
        HeadWriter.decimal(value, to: &bytes)
    }

    package mutating func boolean(_ value: Bool) {
        separate()
        HeadWriter.text(value ? "true" : "false", to: &bytes)
    }

    package mutating func null() {
        separate()
        HeadWriter.text("null", to: &bytes)
    }

    package mutating func member(_ name: String, _ value: String) {
        key(name)
        string(value)
    }

    package mutating func member(_ name: String, _ value: Int) {
        key(name)
        integer(value)
    }

    package mutating func member(_ name: String, _ value: Bool) {
        key(name)
        boolean(value)
    }

    private mutating func nest(
        _ open: UInt8, _ close: UInt8, _ content: (inout JSONWriter) -> Void
    ) {
        separate()
        bytes.append(open)
        needsComma = false
        content(&self)
        bytes.append(close)
        needsComma = true
    }

    private mutating func separate() {
        if needsComma { bytes.append(0x2C) }
        needsComma = true
    }

    /// RFC 8259 §7: quotation mark, backslash and control characters are escaped.
    private mutating func append(_ byte: UInt8) {
        switch byte {
        case 0x22, 0x5C: bytes.append(contentsOf: [0x5C, byte])
        case 0x0A: HeadWriter.text("\\n", to: &bytes)
        case 0x0D: HeadWriter.text("\\r", to: &bytes)
        case 0x09: HeadWriter.text("\\t", to: &bytes)
        case 0..<0x20:
            HeadWriter.text("\\u00", to: &bytes)
            bytes.append(.hexadecimalDigit(byte >> 4))
            bytes.append(.hexadecimalDigit(byte & 0xF))
        default: bytes.append(byte)
        }
    }
}
