// The ring against an array that does the same.

import Testing
import Threads

@Suite struct RingBufferTests {
    @Test(arguments: 0..<50 as Range<UInt64>)
    func `a ring is what an array would be`(seed: UInt64) {
        var random = SeededGenerator(seed)
        var ring = RingBuffer<Int>()
        var model: [Int] = []
        // Some seeds mostly fill, some mostly empty, so that the ring wraps at every size.
        let share = Int.random(in: 3...7, using: &random)
        for step in 0..<2_000 {
            switch Int.random(in: 0..<10, using: &random) {
            case 0 where Int.random(in: 0..<50, using: &random) == 0:
                ring.removeAll()
                model.removeAll()
            case 1:
                ring.prepend(step)
                model.insert(step, at: 0)
            case ..<share:
                ring.append(step)
                model.append(step)
            default:
                #expect(ring.popFirst() == (model.isEmpty ? nil : model.removeFirst()))
            }
            #expect(ring.count == model.count)
            #expect(ring.isEmpty == model.isEmpty)
            #expect(ring.first == model.first)
        }
        while let expected = model.first {
            #expect(ring.popFirst() == expected)
            model.removeFirst()
        }
        #expect(ring.popFirst() == nil)
    }

    @Test func `a copy goes its own way`() {
        var ring = RingBuffer<Int>()
        for number in 0..<6 { ring.append(number) }
        var copy = ring
        #expect(copy.popFirst() == 0)
        copy.append(6)
        #expect(ring.count == 6)
        for number in 0..<6 { #expect(ring.popFirst() == number) }
        for number in 1..<7 { #expect(copy.popFirst() == number) }
    }

    @Test func `what was taken out is not held`() {
        final class Probe {}
        weak var seen: Probe?
        var ring = RingBuffer<Probe>()
        do {
            let probe = Probe()
            seen = probe
            ring.append(probe)
        }
        #expect(seen != nil)
        _ = ring.popFirst()
        #expect(seen == nil)
        ring.append(Probe())
    }
}
