// IP addresses as values: read strictly, written in one form only.
//
// Called by: whoever reads an address that a configuration, a proxy or a field names.
// Hard: addresses are compared to decide whose word is believed. So one address has one value: an
// IPv4 address inside IPv6 is the IPv4 address, and nothing is read in octal or with parts missing.

/// An IPv4 or IPv6 address.
package struct IPAddress: Hashable, Sendable, CustomStringConvertible {
    /// Four or sixteen.
    package let bytes: [UInt8]

    /// - Parameter bytes: four or sixteen; of an IPv4 address inside IPv6 (RFC 4291 §2.5.5.2) the
    ///   last four are taken.
    package init(bytes: some Collection<UInt8>) {
        let bytes = Array(bytes)
        precondition(bytes.count == 4 || bytes.count == 16)
        let isMapped =
            bytes.count == 16 && bytes[..<10].allSatisfy { $0 == 0 }
            && bytes[10...11] == [255, 255]
        self.bytes = isMapped ? Array(bytes[12...]) : bytes
    }

    /// An address in figures, without brackets, port or zone.
    package init?(_ text: ArraySlice<UInt8>) {
        // The longest: eight groups of which the last two are written as IPv4.
        guard (2...45).contains(text.count) else { return nil }
        let bytes = text.contains(0x3A) ? Self.sixteen(text) : Self.four(text)
        guard let bytes else { return nil }
        self.init(bytes: bytes)
    }

    package init?(_ text: String) { self.init(Array(text.utf8)[...]) }

    /// An address as the elements of X-Forwarded-For have it: alone, with a port, in brackets.
    package init?(element: ArraySlice<UInt8>) {
        // 45, two brackets, a colon, five digits of a port.
        guard element.count <= 53 else { return nil }
        var host = element
        if element.first == 0x5B {
            guard let end = element.firstIndex(of: 0x5D) else { return nil }
            host = element[(element.startIndex + 1)..<end]
            guard host.contains(0x3A), Self.isPort(element[(end + 1)...]) else { return nil }
        } else if let colon = element.firstIndex(of: 0x3A),
            !element[(colon + 1)...].contains(0x3A)
        {
            // One colon: an IPv4 address and a port.
            host = element[..<colon]
            guard Self.isPort(element[colon...]) else { return nil }
        }
        self.init(host)
    }

    /// Nothing, or a colon and one to five digits.
    private static func isPort(_ text: ArraySlice<UInt8>) -> Bool {
        guard let first = text.first else { return true }
        return first == 0x3A && (2...6).contains(text.count)
            && text.dropFirst().allSatisfy { $0.isDigit }
    }

    private static func four(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        let parts = text.split(separator: 0x2E, omittingEmptySubsequences: false)
        guard parts.count == 4 else { return nil }
        var bytes: [UInt8] = []
        for part in parts {
            guard (1...3).contains(part.count), part.allSatisfy({ $0.isDigit }),
                part.count == 1 || part.first != 0x30
            else { return nil }
            let number = part.reduce(0) { $0 * 10 + Int($1 - 0x30) }
            guard number < 256 else { return nil }
            bytes.append(UInt8(number))
        }
        return bytes
    }

    private static func sixteen(_ text: ArraySlice<UInt8>) -> [UInt8]? {
        var groups = text.split(separator: 0x3A, omittingEmptySubsequences: false)[...]
        // Two colons at an end make two empty groups, of which one is the gap.
        if groups.prefix(2).allSatisfy({ $0.isEmpty }) {
            groups = groups.dropFirst()
        } else if groups.first?.isEmpty == true {
            return nil
        }
        if groups.count > 1, groups.suffix(2).allSatisfy({ $0.isEmpty }) {
            groups = groups.dropLast()
        } else if groups.count > 1, groups.last?.isEmpty == true {
            return nil
        }
        var bytes: [UInt8] = []
        var gap: Int?
        for (number, group) in groups.enumerated() {
            if group.isEmpty {
                guard gap == nil else { return nil }
                gap = bytes.count
            } else if group.contains(0x2E) {
                guard number == groups.count - 1, let four = four(group) else { return nil }
                bytes += four
            } else {
                guard group.count <= 4 else { return nil }
                var value: UInt16 = 0
                for digit in group {
                    guard let digit = digit.hexadecimalValue else { return nil }
                    value = value << 4 | UInt16(digit)
                }
                bytes += [UInt8(value >> 8), UInt8(value & 0xFF)]
            }
        }
        guard let gap else { return bytes.count == 16 ? bytes : nil }
        // The gap stands for one group at least.
        guard bytes.count <= 14 else { return nil }
        bytes.insert(contentsOf: [UInt8](repeating: 0, count: 16 - bytes.count), at: gap)
        return bytes
    }

    /// In figures, as RFC 5952 wants it.
    package var description: String {
        if bytes.count == 4 { return bytes.map { String($0) }.joined(separator: ".") }
        let groups = (0..<8).map { UInt16(bytes[2 * $0]) << 8 | UInt16(bytes[2 * $0 + 1]) }
        // The first of the longest runs of zeros, where it has two groups at least.
        var gap = 0..<1
        var start = 0
        for end in 1...8 where end == 8 || groups[end] != 0 || groups[start] != 0 {
            if groups[start] == 0, end - start > gap.count { gap = start..<end }
            start = end
        }
        let text = { (groups: ArraySlice<UInt16>) in
            groups.map { String($0, radix: 16) }.joined(separator: ":")
        }
        if gap.count < 2 { return text(groups[...]) }
        return text(groups[..<gap.lowerBound]) + "::" + text(groups[gap.upperBound...])
    }
}
