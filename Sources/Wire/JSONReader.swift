// Reads JSON (RFC 8259), strictly and within limits: the messages of protocol v1.
//
// Called by: V1Request and V1Response, for each message of a session.
// Hard: the sender is not trusted. Nesting and the number of values are bounded, so that a message
// costs no more than a few times its size; a string without escapes is not copied.

/// Why a document is refused.
package enum JSONError: String, Error, Equatable, Sendable {
    case malformed = "malformed JSON"
    case tooDeep = "JSON nested too deep"
    case tooManyValues = "too many values in JSON"
    case wrongType = "a JSON value of the wrong type"
    case repeatedKey = "a JSON key repeated"
}

/// A position in a document, which moves behind each value as it is read.
///
///     var json = JSONReader(bytes, maximumValues: 100)
///     try json.object { json, key in
///         if key.elementsEqual("name".utf8) { name = try json.string() } else { try json.skip() }
///     }
///     try json.finish()
package struct JSONReader: Sendable {
    private static let maximumDepth = 16

    private let bytes: [UInt8]
    private var at = 0
    private var depth = 0
    private var valuesLeft: Int

    /// - Parameter maximumValues: how many values, keys and nested ones among them, may stand here.
    package init(_ bytes: [UInt8], maximumValues: Int) {
        self.bytes = bytes
        valuesLeft = maximumValues
    }

    /// Reads an object; `member` reads exactly one value, that of the key.
    package mutating func object(
        _ member: (inout JSONReader, ArraySlice<UInt8>) throws(JSONError) -> Void
    ) throws(JSONError) {
        try open(0x7B)
        if !take(0x7D) {
            repeat {
                skipBlanks()
                guard at < bytes.count, bytes[at] == 0x22 else { throw .malformed }
                let key = try string()
                try expect(0x3A)
                try member(&self, key)
            } while take(0x2C)
            try expect(0x7D)
        }
        depth -= 1
    }

    /// Reads an array; `element` reads exactly one value.
    package mutating func array(
        _ element: (inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        try open(0x5B)
        if !take(0x5D) {
            repeat { try element(&self) } while take(0x2C)
            try expect(0x5D)
        }
        depth -= 1
    }

    /// Reads a string: its UTF-8, with the escapes resolved.
    package mutating func string() throws(JSONError) -> ArraySlice<UInt8> {
        try begin()
        guard take(0x22) else { throw wrongType }
        var text: [UInt8] = []
        while true {
            let start = at
            at = bytes.span.firstIndex(from: at, to: bytes.count) {
                $0.below(0x20) | $0.equal(0x22) | $0.equal(0x5C)
            }
            guard at < bytes.count else { throw .malformed }
            let run = bytes[start..<at]
            at += 1
            switch bytes[at - 1] {
            case 0x22:
                if text.isEmpty { return try validated(run) }
                text.append(contentsOf: run)
                return try validated(text[...])
            case 0x5C:
                text.append(contentsOf: run)
                try unescape(to: &text)
            default: throw .malformed
            }
        }
    }

    /// Reads a whole number, without fraction and exponent.
    package mutating func integer() throws(JSONError) -> Int {
        try begin()
        let start = at
        try number()
        let isNegative = bytes[start] == 0x2D
        let digits = (isNegative ? start + 1 : start)..<at
        guard let magnitude = bytes.span.decimal(digits) else { throw .wrongType }
        return isNegative ? -magnitude : magnitude
    }

    /// Takes a `null`, if one stands here.
    package mutating func null() throws(JSONError) -> Bool {
        skipBlanks()
        guard at < bytes.count, bytes[at] == 0x6E else { return false }
        try skip()
        return true
    }

    /// Reads over one value of any type.
    package mutating func skip() throws(JSONError) {
        skipBlanks()
        guard at < bytes.count else { throw .malformed }
        switch bytes[at] {
        case 0x7B: try object { json, _ throws(JSONError) in try json.skip() }
        case 0x5B: try array { json throws(JSONError) in try json.skip() }
        case 0x22: _ = try string()
        case 0x74: try word("true")
        case 0x66: try word("false")
        case 0x6E: try word("null")
        default:
            try begin()
            try number()
        }
    }

    /// Throws unless nothing but blanks follows.
    package mutating func finish() throws(JSONError) {
        skipBlanks()
        guard at == bytes.count else { throw .malformed }
    }

    // MARK: - Parts

    /// The next byte begins a value.
    private mutating func begin() throws(JSONError) {
        skipBlanks()
        valuesLeft -= 1
        if valuesLeft < 0 { throw .tooManyValues }
    }

    private mutating func open(_ bracket: UInt8) throws(JSONError) {
        try begin()
        guard take(bracket) else { throw wrongType }
        depth += 1
        if depth > Self.maximumDepth { throw .tooDeep }
    }

    /// What is wrong where another type was wanted: perhaps no value begins here at all.
    private var wrongType: JSONError {
        guard at < bytes.count else { return .malformed }
        switch bytes[at] {
        case 0x22, 0x2D, 0x30...0x39, 0x5B, 0x66, 0x6E, 0x74, 0x7B: return .wrongType
        default: return .malformed
        }
    }

    private mutating func skipBlanks() {
        while at < bytes.count {
            switch bytes[at] {
            case 0x20, 0x09, 0x0A, 0x0D: at += 1
            default: return
            }
        }
    }

    private mutating func take(_ byte: UInt8) -> Bool {
        skipBlanks()
        guard at < bytes.count, bytes[at] == byte else { return false }
        at += 1
        return true
    }

    private mutating func expect(_ byte: UInt8) throws(JSONError) {
        guard take(byte) else { throw .malformed }
    }

    private mutating func word(_ word: String) throws(JSONError) {
        try begin()
        guard bytes[at...].starts(with: word.utf8) else { throw .malformed }
        at += word.utf8.count
    }

    /// RFC 8259 §6: `-`, digits without a leading zero, a fraction, an exponent.
    private mutating func number() throws(JSONError) {
        guard at < bytes.count else { throw .malformed }
        if bytes[at] == 0x2D { at += 1 }
        guard at < bytes.count, bytes[at].isDigit else {
            throw at > 0 && bytes[at - 1] == 0x2D ? .malformed : wrongType
        }
        if bytes[at] == 0x30 { at += 1 } else { digits() }
        if at < bytes.count, bytes[at].isDigit { throw .malformed }
        if at < bytes.count, bytes[at] == 0x2E {
            at += 1
            if !digits() { throw .malformed }
        }
        if at < bytes.count, bytes[at] | 0x20 == 0x65 {
            at += 1
            if at < bytes.count, bytes[at] == 0x2B || bytes[at] == 0x2D { at += 1 }
            if !digits() { throw .malformed }
        }
    }

    /// - Returns: whether there was at least one.
    @discardableResult
    private mutating func digits() -> Bool {
        let start = at
        while at < bytes.count, bytes[at].isDigit { at += 1 }
        return at > start
    }

    /// Reads what follows a backslash (RFC 8259 §7).
    private mutating func unescape(to text: inout [UInt8]) throws(JSONError) {
        guard at < bytes.count else { throw .malformed }
        at += 1
        switch bytes[at - 1] {
        case 0x22: text.append(0x22)
        case 0x5C: text.append(0x5C)
        case 0x2F: text.append(0x2F)
        case 0x62: text.append(0x08)
        case 0x66: text.append(0x0C)
        case 0x6E: text.append(0x0A)
        case 0x72: text.append(0x0D)
        case 0x74: text.append(0x09)
        case 0x75:
            var unit = try hexadecimal()
            if 0xD800..<0xDC00 ~= unit {
                // A character beyond the first 65536 is a pair; half of one is none.
                guard bytes[at...].starts(with: [0x5C, 0x75]) else { throw .malformed }
                at += 2
                let low = try hexadecimal()
                guard 0xDC00..<0xE000 ~= low else { throw .malformed }
                unit = 0x1_0000 + (unit - 0xD800) << 10 + (low - 0xDC00)
            }
            guard let scalar = Unicode.Scalar(unit) else { throw .malformed }
            text.append(contentsOf: String(scalar).utf8)
        default: throw .malformed
        }
    }

    private mutating func hexadecimal() throws(JSONError) -> UInt32 {
        guard at + 4 <= bytes.count else { throw .malformed }
        var unit: UInt32 = 0
        for _ in 0..<4 {
            guard let digit = bytes[at].hexadecimalValue else { throw .malformed }
            unit = unit << 4 | UInt32(digit)
            at += 1
        }
        return unit
    }

    private func validated(_ text: ArraySlice<UInt8>) throws(JSONError) -> ArraySlice<UInt8> {
        let span = text.span
        if span.firstIndex(from: 0, to: span.count, marks: { $0 & .tops }) == span.count {
            return text
        }
        guard String(validating: text, as: UTF8.self) != nil else { throw .malformed }
        return text
    }
}
