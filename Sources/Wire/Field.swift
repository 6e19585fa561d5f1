// The field lines of a head or of trailers: offsets into one copy of the bytes.
//
// Called by: RequestHead, ResponseHead, ChunkedDecoder; everybody who reads a field.
// Hard: nothing is repaired here. What RFC 9112 lets a recipient read in two ways (a bare line
// feed, a folded line, a space before the colon) is an error, since the next server on the way may
// read it the other way (RFC 9112 §11.2, request smuggling).

/// One field line; the ranges are offsets into `Fields.bytes`.
package struct FieldLine: Sendable, Equatable {
    package let id: FieldName
    private let nameStart, nameEnd, valueStart, valueEnd: UInt32

    /// The offsets are below 2^32, as `parseLines` makes sure.
    @inline(__always)
    fileprivate init(
        id: FieldName, nameStart: Int, nameEnd: Int, valueStart: Int, valueEnd: Int
    ) {
        self.id = id
        self.nameStart = UInt32(truncatingIfNeeded: nameStart)
        self.nameEnd = UInt32(truncatingIfNeeded: nameEnd)
        self.valueStart = UInt32(truncatingIfNeeded: valueStart)
        self.valueEnd = UInt32(truncatingIfNeeded: valueEnd)
    }

    package var name: Range<Int> { Int(nameStart)..<Int(nameEnd) }

    /// The value without the blanks round it.
    package var value: Range<Int> { Int(valueStart)..<Int(valueEnd) }
}

/// Field lines in their order, with the bytes they point into.
package struct Fields: Sendable {
    /// The whole head, or the trailer section, as it came.
    package let bytes: [UInt8]
    package let lines: [FieldLine]
    /// The known names that occur.
    package let present: FieldSet

    /// The value of the first line of that name.
    package func value(_ id: FieldName) -> ArraySlice<UInt8>? {
        guard present.contains(id), let line = lines.first(where: { $0.id == id }) else {
            return nil
        }
        return bytes[line.value]
    }

    /// The value of the first line with that name, letter case aside, for names not in `FieldName`.
    package func value(named name: String) -> ArraySlice<UInt8>? {
        let span = bytes.span
        for line in lines where span.equalsIgnoringCase(line.name, name.utf8.span) {
            return bytes[line.value]
        }
        return nil
    }

    /// How many lines have that name.
    package func count(_ id: FieldName) -> Int {
        guard present.contains(id) else { return 0 }
        var count = 0
        for line in lines where line.id == id { count += 1 }
        return count
    }

    /// Whether a comma-separated list over all lines of that name has `token`, letter case aside.
    package func contains(_ id: FieldName, token: String) -> Bool {
        guard present.contains(id) else { return false }
        let span = bytes.span
        for line in lines where line.id == id {
            var list = ListElements(of: line.value)
            while let element = list.next(in: span) {
                if span.equalsIgnoringCase(element, token.utf8.span) { return true }
            }
        }
        return false
    }

    /// Reads a trailer section: field lines and the empty line that ends them.
    ///
    /// - Throws: also where bytes follow the empty line, or where it is missing.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>, limits: HeadLimits = HeadLimits()
    ) throws(HeadError) -> Fields {
        guard range.count <= limits.maximumHeadBytes else { throw .headTooLarge }
        return try Fields(Array(buffer[range]), linesFrom: 0, limits: limits)
    }

    /// Reads the lines of a TRAILERS message, which has no empty line behind them.
    package static func parse(trailers: ArraySlice<UInt8>) throws(HeadError) -> Fields {
        var lines = Array(trailers)
        HeadWriter.end(to: &lines)
        return try Fields(lines, linesFrom: 0, limits: HeadLimits())
    }

    /// Reads the field lines that begin at `start` in `bytes` and end with it.
    @inline(__always)
    init(_ bytes: [UInt8], linesFrom start: Int, limits: HeadLimits) throws(HeadError) {
        var lines: [FieldLine] = []
        lines.reserveCapacity(min(limits.maximumFields, 16))
        present = try Self.parseLines(
            bytes.span, from: start, maximumFields: limits.maximumFields, into: &lines)
        self.bytes = bytes
        self.lines = lines
    }

    private static func parseLines(
        _ bytes: Span<UInt8>, from start: Int, maximumFields: Int, into lines: inout [FieldLine]
    ) throws(HeadError) -> FieldSet {
        let names = FieldNameTable.known
        let end = bytes.count
        guard end <= Int(UInt32.max) else { throw .headTooLarge }
        var present = FieldSet()
        var at = start
        while true {
            guard at &+ 2 <= end else { throw .malformed(.unfinished) }
            if bytes[at] == 0x0D {
                guard bytes[at &+ 1] == 0x0A else { throw .malformed(.bareCarriageReturn) }
                guard at &+ 2 == end else { throw .malformed(.bytesAfterEnd) }
                return present
            }
            let name = at
            let colon = bytes.indexOfNameEnd(from: name, to: end)
            guard colon < end, bytes[colon] == 0x3A, colon > name else {
                throw .malformed(.fieldName(bytes, name..<colon))
            }
            let id = names.find(in: bytes, from: name, to: colon)
            // The known names are tokens.
            guard id != .other || bytes.isToken(name..<colon) else {
                throw .malformed(.fieldName)
            }

            var value = colon &+ 1
            while value < end, bytes[value].isBlank { value &+= 1 }
            let lineEnd = bytes.indexOfControl(from: value, to: end)
            try bytes.requireLineEnd(at: lineEnd)
            var valueEnd = lineEnd
            while valueEnd > value, bytes[valueEnd &- 1].isBlank { valueEnd &-= 1 }

            guard lines.count < maximumFields else { throw .tooManyFields }
            present.insert(id)
            lines.append(
                FieldLine(
                    id: id, nameStart: name, nameEnd: colon, valueStart: value, valueEnd: valueEnd))
            at = lineEnd &+ 2
        }
    }
}

extension Span<UInt8> {
    /// The index of the first colon, control byte or space, or `end`.
    @inline(__always)
    fileprivate func indexOfNameEnd(from index: Int, to end: Int) -> Int {
        firstIndex(from: index, to: end) { $0.below(0x21) | $0.equal(0x3A) }
    }

    @inline(__always)
    func isToken(_ range: Range<Int>) -> Bool {
        for index in range where !self[index].isTokenCharacter { return false }
        return !range.isEmpty
    }

    /// Throws unless a carriage return and a line feed stand at `index`.
    @inline(__always)
    func requireLineEnd(at index: Int) throws(HeadError) {
        guard index &+ 1 < count, self[index] == 0x0D, self[index &+ 1] == 0x0A else {
            throw .malformed(.lineEnd(self, index))
        }
    }
}

/// The elements of a comma-separated list (RFC 9110 §5.6.1), empty ones left out.
///
/// Quoted strings are not understood: no list read here may hold one.
struct ListElements {
    private var rest: Range<Int>

    init(of range: Range<Int>) { rest = range }

    mutating func next(in bytes: Span<UInt8>) -> Range<Int>? {
        while !rest.isEmpty {
            var end = rest.lowerBound
            while end < rest.upperBound, bytes[end] != 0x2C { end &+= 1 }
            let element = bytes.trimmingBlanks(rest.lowerBound..<end)
            rest = min(end &+ 1, rest.upperBound)..<rest.upperBound
            if !element.isEmpty { return element }
        }
        return nil
    }
}

extension Span<UInt8> {
    func trimmingBlanks(_ range: Range<Int>) -> Range<Int> {
        var start = range.lowerBound
        var end = range.upperBound
        while start < end, self[start].isBlank { start &+= 1 }
        while end > start, self[end &- 1].isBlank { end &-= 1 }
        return start..<end
    }
}
