// What every parser here needs of bytes: eight at a time, character classes, comparing without case.
//
// Called by: the other files of this target, on any thread.
// Waits for: nothing; pure functions over `Span<UInt8>`, each access checked against its bounds.
// Hard: the bit tricks; each has a test against the plain loop over all bytes.

extension Span<UInt8> {
    /// The eight bytes from `index`, the first one lowest.
    @inline(__always)
    func word(at index: Int) -> UInt64 {
        // Unsafe by name only: any eight bytes are a UInt64, and the bounds are checked.
        let word = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: index, as: UInt64.self)
        return UInt64(littleEndian: word)
    }

    /// The bytes from `index` to `end`, at most eight, the first one lowest, zeros above them.
    @inline(__always)
    func word(at index: Int, end: Int) -> UInt64 {
        let length = end &- index
        if length >= 8 { return word(at: index) }
        if end >= 8, length > 0 {
            return word(at: end &- 8) &>> UInt64(truncatingIfNeeded: 64 &- 8 &* length)
        }
        var word: UInt64 = 0
        for at in stride(from: end &- 1, through: index, by: -1) {
            word = word << 8 | UInt64(self[at])
        }
        return word
    }

    /// The index of the first byte from `index` that `marks` marks, or `end`.
    ///
    /// - Parameter marks: sets the highest bit of bytes of a word. Only the lowest mark need be
    ///   right, and for zero bytes it does not matter.
    @inline(__always)
    func firstIndex(from index: Int, to end: Int, marks: (UInt64) -> UInt64) -> Int {
        var at = index
        while at &+ 8 <= end {
            let found = marks(word(at: at))
            if found != 0 { return at &+ found.trailingZeroBitCount &>> 3 }
            at &+= 8
        }
        guard at < end else { return end }
        return Swift.min(at &+ marks(word(at: at, end: end)).trailingZeroBitCount &>> 3, end)
    }

    /// The index of the first line feed from `index`, or `end`.
    @inline(__always)
    func indexOfLineFeed(from index: Int, to end: Int) -> Int {
        firstIndex(from: index, to: end) { $0.equal(0x0A) }
    }

    /// The index of the first `byte`, which is below 0x80, from `index`, or `end`.
    package func firstIndex(of byte: UInt8, from index: Int, to end: Int) -> Int {
        firstIndex(from: index, to: end) { $0.equal(UInt64(byte)) }
    }

    /// The index of the first control byte (0x00...0x1F but the tab, and 0x7F), or `end`.
    @inline(__always)
    func indexOfControl(from index: Int, to end: Int) -> Int {
        var at = index
        while true {
            at = firstIndex(from: at, to: end) { $0.below(0x20) | $0.equal(0x7F) }
            guard at < end, self[at] == 0x09 else { return at }
            at &+= 1
        }
    }

    /// Whether the first `count` bytes can stand in a log line as they are: visible ASCII without
    /// the three bytes that mean something there, `"`, `=` and the backslash.
    package func isPlainWord(first count: Int) -> Bool {
        firstIndex(from: 0, to: count) {
            $0.below(0x21) | $0.equal(0x22) | $0.equal(0x3D) | $0.equal(0x5C) | $0.equal(0x7F)
                | $0 & UInt64.tops
        } == count
    }

    /// Whether both are the same bytes.
    package func isEqual(to other: Span<UInt8>) -> Bool {
        guard count == other.count else { return false }
        var at = 0
        while at &+ 8 <= count {
            if word(at: at) != other.word(at: at) { return false }
            at &+= 8
        }
        return word(at: at, end: count) == other.word(at: at, end: count)
    }

    /// Whether the bytes of `range` are `text`, letter case aside.
    @inline(__always)
    func equalsIgnoringCase(_ range: Range<Int>, _ text: Span<UInt8>) -> Bool {
        guard range.count == text.count else { return false }
        for offset in text.indices
        where self[range.lowerBound &+ offset].lowercased != text[offset].lowercased {
            return false
        }
        return true
    }

    /// The decimal number in `range`: digits only, at least one, no leading zero, at most `Int.max`.
    ///
    /// A leading zero is refused because some software reads such a number in base eight.
    func decimal(_ range: Range<Int>) -> Int? {
        guard !range.isEmpty, range.count == 1 || self[range.lowerBound] != 0x30 else { return nil }
        var number = 0
        for index in range {
            guard self[index].isDigit else { return nil }
            let (tenfold, overflow) = number.multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(Int(self[index] &- 0x30))
            guard !overflow, !carry else { return nil }
            number = sum
        }
        return number
    }
}

// Bit tricks on eight bytes, after "Hacker's Delight" §6-1. A borrow can only come from a byte that
// is a hit, so the lowest bit set is one.
extension UInt64 {
    static var ones: UInt64 { 0x0101_0101_0101_0101 }

    /// The highest bits of all bytes; with `&` those that are set.
    static var tops: UInt64 { 0x8080_8080_8080_8080 }

    /// Marks bytes below `limit`, which is at most 0x80.
    @inline(__always)
    func below(_ limit: UInt64) -> UInt64 { (self &- Self.ones &* limit) & ~self & Self.tops }

    /// Marks bytes equal to `byte`, which is below 0x80.
    @inline(__always)
    func equal(_ byte: UInt64) -> UInt64 { (self ^ Self.ones &* byte).below(1) }
}

extension UInt8 {
    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }
    @inline(__always) var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }
    @inline(__always) package var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
    @inline(__always) var isBlank: Bool { self == 0x20 || self == 0x09 }
    @inline(__always) var isControl: Bool { self < 0x20 && self != 0x09 || self == 0x7F }

    /// The value of a hexadecimal digit of either case, or nil.
    @inline(__always) var hexadecimalValue: UInt8? {
        if isDigit { return self &- 0x30 }
        let letter = (self | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// The digit of a value below 16, in lower case.
    @inline(__always) package static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 &+ value : 0x57 &+ value
    }

    /// RFC 9110 §5.6.2 `tchar`: ``!#$%&'*+-.^_`|~``, digits and letters.
    @inline(__always) var isTokenCharacter: Bool {
        isIn(low: 0x03FF_6CFA_0000_0000, high: 0x57FF_FFFF_C7FF_FFFE)
    }

    /// A host name or IPv4 address: `-._~`, digits and letters.
    @inline(__always) var isHostCharacter: Bool {
        isIn(low: 0x03FF_6000_0000_0000, high: 0x47FF_FFFE_87FF_FFFE)
    }

    /// Whether the bit of this byte is set in 64 + 64 bits.
    @inline(__always) private func isIn(low: UInt64, high: UInt64) -> Bool {
        let half = self < 0x40 ? low : high
        return self < 0x80 && half &>> UInt64(self & 0x3F) & 1 == 1
    }
}
