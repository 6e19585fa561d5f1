import Testing

@testable import Wire

@Suite struct WebSocketFrameTests {
    private func parse(_ bytes: [UInt8], maximumPayload: Int = 1 << 20) throws -> FrameHeader? {
        // Behind other bytes, as in a buffer.
        try FrameHeader.parse([0xFF] + bytes, 1..<(1 + bytes.count), maximumPayload: maximumPayload)
    }

    @Test(
        arguments: [
            ([0x81, 0x05], true, .text, nil, 5, 2),
            ([0x81, 0x85, 0x37, 0xFA, 0x21, 0x3D], true, .text, 0x3D21_FA37, 5, 6),
            ([0x01, 0x03], false, .text, nil, 3, 2),
            ([0x80, 0x02], true, .continuation, nil, 2, 2),
            ([0x89, 0x05], true, .ping, nil, 5, 2),
            ([0x8A, 0x85, 0x37, 0xFA, 0x21, 0x3D], true, .pong, 0x3D21_FA37, 5, 6),
            ([0x82, 0x7E, 0x01, 0x00], true, .binary, nil, 256, 4),
            ([0x82, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0], true, .binary, nil, 65536, 10),
            ([0x88, 0x00], true, .close, nil, 0, 2),
        ] as [([UInt8], Bool, Opcode, UInt32?, Int, Int)])
    func `the examples of RFC 6455 are read`(
        bytes: [UInt8], isFinal: Bool, opcode: Opcode, key: UInt32?, length: Int, headerLength: Int
    ) throws {
        let expected = FrameHeader(
            isFinal: isFinal, opcode: opcode, maskingKey: key, payloadLength: length,
            headerLength: headerLength)
        #expect(try parse(bytes) == expected)
        #expect(try parse(bytes + [1, 2, 3]) == expected)
        for count in bytes.indices { #expect(try parse(Array(bytes[..<count])) == nil) }
        var out: [UInt8] = []
        FrameHeader.append(
            opcode: opcode, payloadLength: length, maskingKey: key, isFinal: isFinal, to: &out)
        #expect(out == bytes)
    }

    @Test func `the masked greeting of RFC 6455 is unmasked`() {
        var payload: [UInt8] = [0x7F, 0x9F, 0x4D, 0x51, 0x58]
        applyMask(0x3D21_FA37, phase: 0, to: &payload, payload.indices)
        #expect(payload.text == "Hello")
    }

    @Test(
        arguments: [
            ([0xC1, 0x00], .reservedBits),
            ([0xA1, 0x00], .reservedBits),
            ([0x91, 0x00], .reservedBits),
            ([0x83, 0x00], .opcode),
            ([0x87, 0x00], .opcode),
            ([0x8B, 0x00], .opcode),
            ([0x8F, 0x00], .opcode),
            ([0x08, 0x00], .fragmentedControl),
            ([0x09, 0x00], .fragmentedControl),
            ([0x0A, 0x00], .fragmentedControl),
            ([0x89, 0x7E], .longControl),
            ([0x88, 0xFF], .longControl),
            ([0x82, 0x7E, 0x00, 0x7D], .nonMinimalLength),
            ([0x82, 0x7E, 0x00, 0x00], .nonMinimalLength),
            ([0x82, 0x7F, 0, 0, 0, 0, 0, 0, 0xFF, 0xFF], .nonMinimalLength),
            ([0x82, 0x7F, 0x80, 0, 0, 0, 0, 0, 0, 0], .tooLarge),
            ([0x82, 0x7F, 0x7F, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF], .tooLarge),
            ([0x82, 0x7F, 0, 0, 0, 0, 0, 0x10, 0, 1], .tooLarge),
        ] as [([UInt8], FrameError)])
    func `a malformed header is refused`(bytes: [UInt8], expected: FrameError) {
        #expect(throws: expected) { try parse(bytes) }
        #expect(expected.closeCode == (expected == .tooLarge ? 1009 : 1002))
    }

    @Test func `the largest payload passes, one byte more does not`() throws {
        #expect(try parse([0x82, 0x7E, 0x10, 0x00], maximumPayload: 4096)?.payloadLength == 4096)
        #expect(throws: FrameError.tooLarge) {
            try parse([0x82, 0x7E, 0x10, 0x01], maximumPayload: 4096)
        }
    }

    @Test(arguments: [0, 1, 125, 126, 127, 255, 256, 65535, 65536, 65537, 1 << 32, Int.max])
    func `a header reads back as it was written, wherever it stands`(length: Int) throws {
        for opcode in [Opcode.continuation, .text, .binary] {
            for key in [nil, 0, 0xDEAD_BEEF] as [UInt32?] {
                for isFinal in [true, false] {
                    var appended: [UInt8] = []
                    FrameHeader.append(
                        opcode: opcode, payloadLength: length, maskingKey: key, isFinal: isFinal,
                        to: &appended)
                    let count = FrameHeader.length(payloadLength: length, isMasked: key != nil)
                    #expect(appended.count == count && count <= FrameHeader.maximumLength)
                    #expect(
                        try parse(appended, maximumPayload: .max)
                            == FrameHeader(
                                isFinal: isFinal, opcode: opcode, maskingKey: key,
                                payloadLength: length, headerLength: count))

                    var buffer = [UInt8](repeating: 0xEE, count: 40)
                    let start = FrameHeader.write(
                        opcode: opcode, payloadLength: length, maskingKey: key, isFinal: isFinal,
                        endingAt: 20, in: &buffer)
                    #expect(Array(buffer[start..<20]) == appended)
                    #expect(buffer[..<start].allSatisfy { $0 == 0xEE })
                    #expect(buffer[20...].allSatisfy { $0 == 0xEE })
                }
            }
        }
    }

    @Test func `any two bytes are a header, the beginning of one or an error, never a trap`() {
        var wrong: [[UInt8]] = []
        for first in UInt8.min...UInt8.max {
            for second in UInt8.min...UInt8.max {
                let header = try? parse([first, second] + [UInt8](repeating: 0x7F, count: 12))
                guard let header else { continue }
                if header.isFinal != (first >= 0x80) || header.opcode.rawValue != first & 0x7F
                    || (header.maskingKey != nil) != (second >= 0x80)
                {
                    wrong.append([first, second])
                }
            }
        }
        #expect(wrong == [])
    }

    @Test func `any split of a stream of frames gives the same messages`() throws {
        var generator = SeededGenerator(8)
        for _ in 0..<500 {
            var stream: [UInt8] = []
            var sent: [[UInt8]] = []
            for _ in 0..<Int.random(in: 1...6, using: &generator) {
                let edge = [0, 1, 125, 126, 300].randomElement(using: &generator) ?? 0
                let payload = generator.bytes(edge)
                let key: UInt32? = Bool.random(using: &generator) ? generator.next() : nil
                FrameHeader.append(
                    opcode: .binary, payloadLength: payload.count, maskingKey: key, to: &stream)
                let start = stream.count
                stream += payload
                if let key { applyMask(key, phase: 0, to: &stream, start..<stream.count) }
                sent.append(payload)
            }
            var buffer: [UInt8] = []
            var received: [[UInt8]] = []
            for piece in generator.split(stream) {
                buffer += piece
                while let header = try FrameHeader.parse(
                    buffer, buffer.indices, maximumPayload: 1000),
                    buffer.count >= header.headerLength + header.payloadLength
                {
                    let end = header.headerLength + header.payloadLength
                    var payload = Array(buffer[header.headerLength..<end])
                    if let key = header.maskingKey {
                        // In two parts, as it would come.
                        let middle = Int.random(in: 0...payload.count, using: &generator)
                        applyMask(key, phase: 0, to: &payload, 0..<middle)
                        applyMask(key, phase: middle, to: &payload, middle..<payload.count)
                    }
                    received.append(payload)
                    buffer.removeFirst(end)
                }
            }
            #expect(received == sent)
        }
    }

    @Test
    func `a mask is laid over each byte of the range, for every phase and length, and no other`() {
        let key: [UInt8] = [0x11, 0x22, 0x33, 0x44]
        var wrong: [[Int]] = []
        for length in 0...70 {
            for phase in 0...7 {
                let before = (0..<(length + 6)).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                var after = before
                applyMask(0x4433_2211, phase: phase, to: &after, 3..<(3 + length))
                for index in before.indices {
                    let isInside = 3..<(3 + length) ~= index
                    let mask = isInside ? key[(index - 3 + phase) % 4] : 0
                    if after[index] != before[index] ^ mask {
                        wrong.append([length, phase, index])
                    }
                }
            }
        }
        #expect(wrong == [])
    }
}

@Suite struct ClosePayloadTests {
    @Test(
        arguments: [
            ([], nil, ""),
            ([0x03, 0xE8], 1000, ""),
            ([0x03, 0xF3] + [UInt8]("bye é"), 1011, "bye é"),
            ([0x0B, 0xB8], 3000, ""),
            ([0x13, 0x87], 4999, ""),
        ] as [([UInt8], UInt16?, String)])
    func `a payload is read and written back`(bytes: [UInt8], code: UInt16?, reason: String) throws
    {
        let close = ClosePayload(code: code, reason: reason)
        #expect(try ClosePayload.parse([9] + bytes, 1..<(1 + bytes.count)) == close)
        var out: [UInt8] = []
        close.append(to: &out)
        #expect(out == bytes)
    }

    @Test(
        arguments: [
            [0x03], [0x03, 0xE8, 0xFF], [0x03, 0xE8, 0xC3], [0x03, 0xE8, 0xED, 0xA0, 0x80],
        ] as [[UInt8]])
    func `half a code or a reason that is not UTF-8 is refused`(bytes: [UInt8]) {
        #expect(throws: FrameError.closePayload) { try ClosePayload.parse(bytes, bytes.indices) }
    }

    @Test func `codes that may not be sent are refused`() {
        var wrong: [UInt16] = []
        for code in UInt16.min...UInt16.max {
            let bytes = [UInt8(code >> 8), UInt8(code & 0xFF)]
            let isAllowed =
                1000...1003 ~= code || 1007...1014 ~= code || 3000...4999 ~= code
            if ((try? ClosePayload.parse(bytes, 0..<2)) != nil) != isAllowed { wrong.append(code) }
        }
        #expect(wrong == [])
    }

    @Test func `a long reason is cut between two characters so that a control frame holds it`()
        throws
    {
        for reason in [
            String(repeating: "x", count: 200), String(repeating: "é", count: 100),
            "x" + String(repeating: "é", count: 100), String(repeating: "👩‍👩‍👧", count: 20),
        ] {
            var out: [UInt8] = []
            ClosePayload(code: 1002, reason: reason).append(to: &out)
            #expect(out.count <= FrameHeader.maximumControlPayload)
            let read = try ClosePayload.parse(out, out.indices)
            #expect(reason.hasPrefix(read.reason) && !read.reason.isEmpty)
        }
    }
}
