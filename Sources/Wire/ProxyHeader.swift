// The PROXY protocol: what a TCP proxy says of its client before the client's first byte.
//
// Called by: the relay, for connections of the proxies that are trusted with it.
// Source: "The PROXY protocol", versions 1 and 2 (HAProxy's doc/proxy-protocol.txt).
// Hard: the header decides who the client is, so nothing in it is guessed or repaired. It is
// refused at the first byte that is wrong, and nothing behind its end is looked at.

/// Why a PROXY header is refused.
package enum ProxyHeaderError: String, Error, Equatable, Sendable {
    case missing = "no PROXY protocol header"
    case malformed = "malformed PROXY protocol header"
    case tooLong = "PROXY protocol header too long"
    case version = "unknown version or command of the PROXY protocol"
    case family = "PROXY protocol header for another transport than TCP"
}

package struct ProxyHeader: Sendable, Equatable {
    /// The most that is read: version 2 with all addresses and some 300 bytes of TLVs.
    package static let maximumLength = 536
    /// Version 1, with its line end.
    private static let maximumLineLength = 107
    private static let signature: [UInt8] = [
        0x0D, 0x0A, 0x0D, 0x0A, 0x00, 0x0D, 0x0A, 0x51, 0x55, 0x49, 0x54, 0x0A,
    ]
    private static let lineStart = Array("PROXY ".utf8)

    /// Bytes of the header; behind them the client speaks.
    package let length: Int
    /// Nil where the proxy names none: a connection of its own, or one of another family.
    package let client: IPAddress?

    /// Reads the header at the start of `bytes`.
    ///
    /// - Returns: nil where more bytes are needed; all that are there belong to the header.
    package static func parse(_ bytes: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader? {
        if bytes.prefix(signature.count).elementsEqual(signature.prefix(bytes.count)) {
            return try parseBinary(bytes)
        }
        guard bytes.prefix(lineStart.count).elementsEqual(lineStart.prefix(bytes.count)) else {
            throw .missing
        }
        return try parseLine(bytes)
    }

    // MARK: - Version 1

    private static func parseLine(_ bytes: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader? {
        let line = bytes.prefix(maximumLineLength)
        guard let end = line.firstIndex(where: { $0 == 0x0D || $0 == 0x0A }), end + 1 < line.count
        else {
            if line.last == 0x0A { throw .malformed }
            if line.count == maximumLineLength { throw .tooLong }
            return nil
        }
        guard line[end] == 0x0D, line[end + 1] == 0x0A else { throw .malformed }
        return ProxyHeader(length: end + 2, client: try client(ofLine: line[..<end]))
    }

    private static func client(
        ofLine line: ArraySlice<UInt8>
    ) throws(ProxyHeaderError) -> IPAddress? {
        let words = line.split(separator: 0x20, omittingEmptySubsequences: false)
        // What stands behind UNKNOWN is to be ignored.
        if words[1].elementsEqual("UNKNOWN".utf8) { return nil }
        let count = words[1].elementsEqual("TCP4".utf8) ? 4 : 16
        guard count == 4 || words[1].elementsEqual("TCP6".utf8) else { throw .family }
        guard words.count == 6, isAddress(words[2], count), isAddress(words[3], count),
            isPort(words[4]), isPort(words[5]), let client = IPAddress(words[2])
        else { throw .malformed }
        return client
    }

    private static func isAddress(_ word: ArraySlice<UInt8>, _ count: Int) -> Bool {
        // An IPv4 address inside IPv6 is written with colons too.
        IPAddress(word) != nil && word.contains(0x3A) == (count == 16)
    }

    private static func isPort(_ word: ArraySlice<UInt8>) -> Bool {
        guard word.count <= 5 else { return false }
        let word = Array(word)
        guard let port = word.span.decimal(0..<word.count) else { return false }
        return port < 65_536
    }

    // MARK: - Version 2

    private static func parseBinary(_ bytes: [UInt8]) throws(ProxyHeaderError) -> ProxyHeader? {
        let start = signature.count + 4
        guard bytes.count >= start else { return nil }
        guard bytes[12] == 0x20 || bytes[12] == 0x21 else { throw .version }
        let length = start + Int(bytes[14]) << 8 + Int(bytes[15])
        guard length <= maximumLength else { throw .tooLong }
        guard bytes.count >= length else { return nil }
        let isLocal = bytes[12] == 0x20
        // Of a LOCAL header nothing further counts.
        if isLocal { return ProxyHeader(length: length, client: nil) }
        // Source address, destination address, two ports; TLVs may follow.
        let addressLength: Int
        switch bytes[13] {
        case 0x00: return ProxyHeader(length: length, client: nil)
        case 0x11: addressLength = 4
        case 0x21: addressLength = 16
        case 0x31:
            guard length >= start + 216 else { throw .malformed }
            return ProxyHeader(length: length, client: nil)
        default: throw .family
        }
        guard length >= start + 2 * addressLength + 4 else { throw .malformed }
        return ProxyHeader(
            length: length, client: IPAddress(bytes: bytes[start..<(start + addressLength)]))
    }
}
