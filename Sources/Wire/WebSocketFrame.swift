// WebSocket frames (RFC 6455 §5): their headers, masks, and the payload of Close.
//
// Called by: whoever owns a WebSocket, with its read and write buffers.
// Hard: masking touches every byte of every body, so it runs eight bytes at a time.

package enum Opcode: UInt8, Sendable {
    case continuation = 0
    case text = 1
    case binary = 2
    case close = 8
    case ping = 9
    case pong = 10

    package var isControl: Bool { rawValue >= 8 }
}

/// Why a frame is refused; the connection is closed with `closeCode`.
package enum FrameError: String, Error, Equatable, Sendable {
    case reservedBits = "reserved bits set in a frame"
    case opcode = "unknown frame opcode"
    case fragmentedControl = "fragmented control frame"
    case longControl = "control frame longer than 125 bytes"
    case nonMinimalLength = "frame length not in its shortest form"
    case tooLarge = "frame too large"
    case closePayload = "malformed close frame"

    package var closeCode: UInt16 { self == .tooLarge ? 1009 : 1002 }
}

package struct FrameHeader: Sendable, Equatable {
    package static let maximumLength = 14
    package static let maximumControlPayload = 125

    package let isFinal: Bool
    package let opcode: Opcode
    /// The key's bytes in their order, the first one lowest; nil where the frame is not masked.
    ///
    /// Clients must mask and servers must not (RFC 6455 §5.1): the caller knows which it hears.
    package let maskingKey: UInt32?
    package let payloadLength: Int
    package let headerLength: Int

    /// Reads the header that begins at `range`.
    ///
    /// - Returns: nil where more bytes are needed.
    /// - Throws: as soon as the bytes there are enough to know.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>, maximumPayload: Int
    ) throws(FrameError) -> FrameHeader? {
        let bytes = buffer.span.extracting(range)
        guard bytes.count >= 2 else { return nil }
        guard bytes[0] & 0x70 == 0 else { throw .reservedBits }
        guard let opcode = Opcode(rawValue: bytes[0] & 0x0F) else { throw .opcode }
        let isFinal = bytes[0] & 0x80 != 0
        let isMasked = bytes[1] & 0x80 != 0
        var length = Int(bytes[1] & 0x7F)
        if opcode.isControl {
            guard isFinal else { throw .fragmentedControl }
            guard length <= maximumControlPayload else { throw .longControl }
        }
        var at = 2
        if length >= 126 {
            let extra = length == 126 ? 2 : 8
            guard bytes.count >= at + extra else { return nil }
            // RFC 6455 §5.2: the most significant bit of the long form is 0.
            guard extra == 2 || bytes[at] & 0x80 == 0 else { throw .tooLarge }
            length = 0
            for index in at..<(at + extra) { length = length << 8 | Int(bytes[index]) }
            guard length > (extra == 2 ? 125 : 0xFFFF) else { throw .nonMinimalLength }
            at += extra
        }
        guard length <= maximumPayload else { throw .tooLarge }
        var key: UInt32?
        if isMasked {
            guard bytes.count >= at + 4 else { return nil }
            key =
                UInt32(bytes[at]) | UInt32(bytes[at + 1]) << 8 | UInt32(bytes[at + 2]) << 16
                | UInt32(bytes[at + 3]) << 24
            at += 4
        }
        return FrameHeader(
            isFinal: isFinal, opcode: opcode, maskingKey: key, payloadLength: length,
            headerLength: at)
    }

    /// How many bytes the header of such a frame has.
    package static func length(payloadLength: Int, isMasked: Bool) -> Int {
        (payloadLength < 126 ? 2 : payloadLength <= 0xFFFF ? 4 : 10) + (isMasked ? 4 : 0)
    }

    /// Appends a header; the payload follows.
    package static func append(
        opcode: Opcode, payloadLength: Int, maskingKey: UInt32?, isFinal: Bool = true,
        to out: inout [UInt8]
    ) {
        let length = length(payloadLength: payloadLength, isMasked: maskingKey != nil)
        for _ in 0..<length { out.append(0) }
        _ = write(
            opcode: opcode, payloadLength: payloadLength, maskingKey: maskingKey, isFinal: isFinal,
            endingAt: out.count, in: &out)
    }

    /// Writes a header into the room kept in front of a payload that begins at `index`.
    ///
    /// - Returns: where the header begins.
    package static func write(
        opcode: Opcode, payloadLength: Int, maskingKey: UInt32?, isFinal: Bool = true,
        endingAt index: Int, in buffer: inout [UInt8]
    ) -> Int {
        let start = index - length(payloadLength: payloadLength, isMasked: maskingKey != nil)
        let maskBit: UInt8 = maskingKey == nil ? 0 : 0x80
        buffer[start] = opcode.rawValue | (isFinal ? 0x80 : 0)
        if payloadLength < 126 {
            buffer[start + 1] = UInt8(payloadLength) | maskBit
        } else {
            let extra = payloadLength <= 0xFFFF ? 2 : 8
            buffer[start + 1] = (extra == 2 ? 126 : 127) | maskBit
            for place in 0..<extra {
                let shift = 8 * (extra - 1 - place)
                buffer[start + 2 + place] = UInt8(truncatingIfNeeded: payloadLength >> shift)
            }
        }
        if let maskingKey {
            for place in 0..<4 {
                buffer[index - 4 + place] = UInt8(truncatingIfNeeded: maskingKey >> (8 * place))
            }
        }
        return start
    }
}

/// Masks or unmasks `range` (RFC 6455 §5.3).
///
/// - Parameters:
///   - key: the first byte lowest, as in `FrameHeader.maskingKey`.
///   - phase: how many bytes of the payload came before this range; only its last two bits count.
package func applyMask(
    _ key: UInt32, phase: Int, to buffer: inout [UInt8], _ range: Range<Int>
) {
    let shift = UInt32(truncatingIfNeeded: phase & 3) &* 8
    let turned = key &>> shift | key &<< (32 &- shift)
    let word = UInt64(turned) | UInt64(turned) << 32
    let block = SIMD8<UInt64>(repeating: word)
    var span = buffer.mutableSpan
    // Unsafe by name only, here and below: any bytes are a UInt8 or a UInt64, and bounds are checked.
    var bytes = unsafe span.mutableBytes
    var at = range.lowerBound
    let end = range.upperBound
    while at &+ 64 <= end {
        let old = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: at, as: SIMD8<UInt64>.self)
        bytes.storeBytes(of: old ^ block, toByteOffset: at, as: SIMD8<UInt64>.self)
        at &+= 64
    }
    while at &+ 8 <= end {
        let old = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
        bytes.storeBytes(of: old ^ word, toByteOffset: at, as: UInt64.self)
        at &+= 8
    }
    var rest = word
    while at < end {
        let old = unsafe bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt8.self)
        bytes.storeBytes(
            of: old ^ UInt8(truncatingIfNeeded: rest), toByteOffset: at, as: UInt8.self)
        rest >>= 8
        at &+= 1
    }
}

/// What a Close frame says (RFC 6455 §5.5.1).
package struct ClosePayload: Sendable, Equatable {
    /// Nil where the frame has no payload.
    package let code: UInt16?
    package let reason: String

    package init(code: UInt16?, reason: String = "") {
        self.code = code
        self.reason = reason
    }

    /// Reads the unmasked payload of a Close frame.
    package static func parse(
        _ buffer: [UInt8], _ range: Range<Int>
    ) throws(FrameError) -> ClosePayload {
        if range.isEmpty { return ClosePayload(code: nil) }
        guard range.count >= 2 else { throw .closePayload }
        let code = UInt16(buffer[range.lowerBound]) << 8 | UInt16(buffer[range.lowerBound + 1])
        let text = buffer[(range.lowerBound + 2)..<range.upperBound]
        guard isAllowedOnWire(code), let reason = String(validating: text, as: UTF8.self) else {
            throw .closePayload
        }
        return ClosePayload(code: code, reason: reason)
    }

    /// Appends the payload; the reason is cut at a character so that a control frame can hold it.
    package func append(to out: inout [UInt8]) {
        guard let code else { return }
        out.append(UInt8(truncatingIfNeeded: code >> 8))
        out.append(UInt8(truncatingIfNeeded: code))
        out.append(contentsOf: reason.prefixByBytes(FrameHeader.maximumControlPayload - 2).utf8)
    }

    /// RFC 6455 §7.4 and the registry of close codes: 1004...1006 and 1015 are never sent.
    private static func isAllowedOnWire(_ code: UInt16) -> Bool {
        switch code {
        case 1000...1003, 1007...1014, 3000...4999: true
        default: false
        }
    }
}

extension String {
    /// The longest beginning of at most `count` bytes that ends between two characters.
    func prefixByBytes(_ count: Int) -> Substring {
        if utf8.count <= count { return self[...] }
        var end = utf8.index(startIndex, offsetBy: count)
        while String.Index(end, within: self) == nil { end = utf8.index(before: end) }
        return self[..<end]
    }
}
