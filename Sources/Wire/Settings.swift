// SETTINGS, the first message of both sides in protocol v2: lines of `key: value`.
//
// Called by: the owner of a session, once per direction.

package struct Settings: Sendable, Equatable {
    package static let maximumPayload = 4096

    /// Name and version of the program, for the journal: printable ASCII, at most 128 characters.
    package var program: String
    /// How many exchanges the sender takes at once, 1...65535.
    package var maximumExchanges: Int
    /// How many bytes of DATA the sender takes on a new exchange, 1...2^31 - 1.
    package var initialCredit: Int
    /// The random id of the agent process: at most 64 of `A-Z a-z 0-9 _ -`. Empty from a relay.
    package var instance: String

    package init(
        program: String = "", maximumExchanges: Int = 128, initialCredit: Int = 256 * 1024,
        instance: String = ""
    ) {
        self.program = program
        self.maximumExchanges = maximumExchanges
        self.initialCredit = initialCredit
        self.instance = instance
    }

    /// Reads a payload; keys that are missing keep their defaults, unknown ones are ignored.
    ///
    /// - Throws: for a line without `: `, a repeated key, a value beyond its limits.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>
    ) throws(MessageError) -> Settings {
        guard range.count <= maximumPayload,
            range.isEmpty || buffer[range.upperBound - 1] == 0x0A
        else { throw .settings }
        let bytes = buffer.span
        var settings = Settings()
        var seen: [String] = []
        var at = range.lowerBound
        while at < range.upperBound {
            let end = bytes.indexOfLineFeed(from: at, to: range.upperBound)
            var colon = at
            while colon < end, bytes[colon] != 0x3A { colon += 1 }
            guard colon > at, colon + 1 < end, bytes[colon + 1] == 0x20 else { throw .settings }
            let value = (colon + 2)..<end
            for index in at..<end where !(0x20...0x7E ~= bytes[index]) { throw .settings }
            let key = String(decoding: buffer[at..<colon], as: UTF8.self)
            guard !seen.contains(key) else { throw .settings }
            seen.append(key)
            try settings.take(key, buffer, value)
            at = end + 1
        }
        return settings
    }

    private mutating func take(
        _ key: String, _ buffer: [UInt8], _ value: Range<Int>
    ) throws(MessageError) {
        switch key {
        case "version":
            guard value.count <= 128 else { throw .settings }
            program = String(decoding: buffer[value], as: UTF8.self)
        case "maximum-exchanges":
            maximumExchanges = try Self.number(buffer, value, within: 1...0xFFFF)
        case "initial-credit":
            initialCredit = try Self.number(buffer, value, within: 1...0x7FFF_FFFF)
        case "instance":
            guard value.count <= 64, buffer[value].allSatisfy(\.isInstanceCharacter) else {
                throw .settings
            }
            instance = String(decoding: buffer[value], as: UTF8.self)
        default: break
        }
    }

    private static func number(
        _ buffer: [UInt8], _ range: Range<Int>, within limits: ClosedRange<Int>
    ) throws(MessageError) -> Int {
        guard let number = buffer.span.decimal(range), limits ~= number else { throw .settings }
        return number
    }

    package func append(to out: inout [UInt8]) {
        if !program.isEmpty { Self.line("version", program, to: &out) }
        Self.line("maximum-exchanges", "\(maximumExchanges)", to: &out)
        Self.line("initial-credit", "\(initialCredit)", to: &out)
        if !instance.isEmpty { Self.line("instance", instance, to: &out) }
    }

    private static func line(_ key: StaticString, _ value: String, to out: inout [UInt8]) {
        HeadWriter.text(key, to: &out)
        HeadWriter.text(": ", to: &out)
        out.append(contentsOf: value.utf8)
        out.append(0x0A)
    }
}

extension UInt8 {
    fileprivate var isInstanceCharacter: Bool {
        isLetter || isDigit || self == 0x5F || self == 0x2D
    }
}
