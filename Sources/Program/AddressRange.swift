// IP addresses and networks that the operator names: whose word is believed, what is loopback.

import Glibc

/// One address or a network of them: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
package struct AddressRange: Sendable, Equatable {
    /// Four or sixteen bytes; those of the host part are zero.
    private let bytes: [UInt8]
    private let prefixBits: Int

    /// Nil where the text is no address, or has bits set behind its prefix.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let bytes = Self.bytes(of: String(parts[0])) else { return nil }
        var bits = bytes.count * 8
        if parts.count == 2 {
            guard let number = Quantity.integer(parts[1]), number <= bits else { return nil }
            bits = number
        }
        self.bytes = bytes
        prefixBits = bits
        guard Self.masked(bytes, bits) == bytes else { return nil }
    }

    /// Whether an address in figures, without brackets, is in the range.
    package func contains(_ address: String) -> Bool {
        guard let other = Self.bytes(of: address), other.count == bytes.count else { return false }
        return Self.masked(other, prefixBits) == bytes
    }

    /// Whether an address in figures is one of this machine alone.
    package static func isLoopback(_ address: String) -> Bool {
        [AddressRange("127.0.0.0/8"), AddressRange("::1")].contains { $0!.contains(address) }
    }

    /// The bytes of an address, an IPv4 address inside IPv6 as IPv4 (RFC 4291 §2.5.5.2).
    private static func bytes(of text: String) -> [UInt8]? {
        var four = [UInt8](repeating: 0, count: 4)
        if unsafe inet_pton(AF_INET, text, &four) == 1 { return four }
        var sixteen = [UInt8](repeating: 0, count: 16)
        guard unsafe inet_pton(AF_INET6, text, &sixteen) == 1 else { return nil }
        let isMapped = sixteen[..<10].allSatisfy { $0 == 0 } && sixteen[10...11] == [255, 255]
        return isMapped ? Array(sixteen[12...]) : sixteen
    }

    private static func masked(_ bytes: [UInt8], _ bits: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in
            let kept = min(8, max(0, bits - index * 8))
            return kept == 0 ? 0 : byte & (0xFF << (8 - kept))
        }
    }
}
