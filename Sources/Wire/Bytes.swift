// What every parser here needs of bytes: eight at a time, character classes, comparing without case.
//
// Called by: the other files of this target, on any thread.
// Waits for: nothing; pure functions over `Span<UInt8>`, each access checked against its bounds.
// Hard: `word(at:)` is written byte by byte and compiled to one load; look at the machine code
// before changing its shape.

extension Span<UInt8> {
    /// The eight bytes from `index`, the first one lowest.
    @inline(__always)
    func word(at index: Int) -> UInt64 {
        let s = extracting(index..<(index &+ 8))
        let low =
            UInt64(s[0]) | UInt64(s[1]) << 8 | UInt64(s[2]) << 16 | UInt64(s[3]) << 24
        let high =
            UInt64(s[4]) | UInt64(s[5]) << 8 | UInt64(s[6]) << 16 | UInt64(s[7]) << 24
        return low | high << 32
    }

    /// Up to eight bytes from `index` to `end`, the first one lowest, the missing ones zero.
    @inline(__always)
    func word(at index: Int, end: Int) -> UInt64 {
        if index &+ 8 <= count {
            let word = word(at: index)
            return end &- index >= 8 ? word : word & ~(~0 << UInt64(8 &* (end &- index)))
        }
        var word: UInt64 = 0
        var at = end
        while at > index {
            at &-= 1
            word = word << 8 | UInt64(self[at])
        }
        return word
    }

    /// The index of the first line feed at or after `index`, or `end`.
    @inline(__always)
    func indexOfLineFeed(from index: Int, to end: Int) -> Int {
        var at = index
        while at &+ 8 <= end {
            let difference = word(at: at) ^ (UInt64.ones &* 0x0A)
            let found = (difference &- .ones) & ~difference & .tops
            if found != 0 { return at &+ found.trailingZeroBitCount >> 3 }
            at &+= 8
        }
        while at < end, self[at] != 0x0A { at &+= 1 }
        return at
    }

    /// The index of the first control byte (0x00...0x1F but the tab, and 0x7F) from `index`.
    ///
    /// - Returns: `end` where there is none.
    @inline(__always)
    func indexOfControl(from index: Int, to end: Int) -> Int {
        var at = index
        while at < end {
            // A word with no byte that could be a control is skipped whole. The test may also fire
            // for the byte after a true hit, never before one: the loop below decides.
            while at &+ 8 <= end {
                let word = word(at: at)
                let low = (word &- (UInt64.ones &* 0x20)) & ~word
                let difference = word ^ (UInt64.ones &* 0x7F)
                let delete = (difference &- .ones) & ~difference
                let found = (low | delete) & .tops
                if found != 0 {
                    at &+= found.trailingZeroBitCount >> 3
                    break
                }
                at &+= 8
            }
            if at >= end { break }
            if self[at].isControl { return at }
            at &+= 1
        }
        return end
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

extension UInt64 {
    static var ones: UInt64 { 0x0101_0101_0101_0101 }
    static var tops: UInt64 { 0x8080_8080_8080_8080 }
}

extension UInt8 {
    @inline(__always) var isDigit: Bool { self &- 0x30 < 10 }
    @inline(__always) var isLetter: Bool { (self | 0x20) &- 0x61 < 26 }
    @inline(__always) var lowercased: UInt8 { self &- 0x41 < 26 ? self | 0x20 : self }
    @inline(__always) var isBlank: Bool { self == 0x20 || self == 0x09 }
    @inline(__always) var isControl: Bool { self < 0x20 && self != 0x09 || self == 0x7F }

    /// The value of a hexadecimal digit of either case, or nil.
    @inline(__always) var hexadecimalValue: UInt8? {
        if isDigit { return self &- 0x30 }
        let letter = (self | 0x20) &- 0x61
        return letter < 6 ? letter &+ 10 : nil
    }

    /// The digit of a value below 16, in lower case.
    @inline(__always) static func hexadecimalDigit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 &+ value : 0x57 &+ value
    }

    /// RFC 9110 §5.6.2 `tchar`: ``!#$%&'*+-.^_`|~``, digits and letters.
    @inline(__always) var isTokenCharacter: Bool {
        let low: UInt64 = 0x03FF_6CFA_0000_0000
        let high: UInt64 = 0x57FF_FFFF_C7FF_FFFE
        let half = self < 0x40 ? low : high
        return self < 0x80 && half >> UInt64(self & 0x3F) & 1 == 1
    }
}
