// IP addresses and networks that the operator names: whose word is believed, what is loopback.

import Wire

/// One address or a network of them: `127.0.0.1`, `10.0.0.0/8`, `fd00::/8`.
package struct AddressRange: Sendable, Equatable {
    /// Four or sixteen bytes; those of the host part are zero.
    private let bytes: [UInt8]
    private let prefixBits: Int

    /// Nil where the text is no address, or has bits set behind its prefix.
    package init?(_ text: String) {
        let parts = text.split(separator: "/", maxSplits: 1, omittingEmptySubsequences: false)
        guard let bytes = IPAddress(String(parts[0]))?.bytes else { return nil }
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
        guard let other = IPAddress(address)?.bytes, other.count == bytes.count else {
            return false
        }
        return Self.masked(other, prefixBits) == bytes
    }

    /// Whether an address in figures is one of this machine alone.
    package static func isLoopback(_ address: String) -> Bool {
        [AddressRange("127.0.0.0/8"), AddressRange("::1")].contains { $0!.contains(address) }
    }

    private static func masked(_ bytes: [UInt8], _ bits: Int) -> [UInt8] {
        bytes.enumerated().map { index, byte in
            let kept = min(8, max(0, bits - index * 8))
            return kept == 0 ? 0 : byte & (0xFF << (8 - kept))
        }
    }
}
