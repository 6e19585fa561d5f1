import Testing

@testable import Wire

@Suite struct WebSocketFrameTests {
    @Test func `masking twice gives the bytes back, for every phase and length`() {
        for length in 0...70 {
            for phase in 0...7 {
                var bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 7) }
                bytes = [1, 2, 3] + bytes + [4, 5, 6]
                let before = bytes
                applyMask(0x44_33_22_11, phase: phase, to: &bytes, 3..<(3 + length))
                let key: [UInt8] = [0x11, 0x22, 0x33, 0x44]
                for index in bytes.indices {
                    let isInside = 3..<(3 + length) ~= index
                    let mask = isInside ? key[(index - 3 + phase) % 4] : 0
                    #expect(bytes[index] == before[index] ^ mask)
                }
            }
        }
    }
}
