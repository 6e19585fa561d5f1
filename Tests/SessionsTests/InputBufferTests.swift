// Bytes that wait to be used, against an array that does the same.

import Connections
import Streams
import Testing
import Threads

@Suite struct InputBufferTests {
    @Test(arguments: 0..<20 as Range<UInt64>)
    func `what was read and not consumed is there, in order`(seed: UInt64) throws {
        var random = SeededGenerator(seed)
        let (first, second) = socketPair()
        let (far, near) = (first.take(), second.take())
        let body = Body(seed: 3, count: 1_000_000)
        var model = random.bytes(Int.random(in: 0...20, using: &random))
        var buffer = InputBuffer(model)
        var sent = 0
        for _ in 0..<300 {
            switch Int.random(in: 0..<4, using: &random) {
            case 0, 1:
                let count = Int.random(in: 1...500, using: &random)
                try far.append(body.bytes(from: sent, count: count))
                try far.send(until: soon)
                let room = Int.random(in: 1...700, using: &random)
                guard case .bytes(let arrived) = try buffer.fill(from: near, room: room) else {
                    Issue.record("nothing came")
                    return
                }
                #expect(arrived == min(count, room))
                model += body.bytes(from: sent, count: arrived)
                // The rest is dropped, so that each round knows what comes.
                if arrived < count {
                    var rest: [UInt8] = []
                    _ = try near.read(appendingTo: &rest, room: 1_000)
                }
                sent += count
            case 2:
                let count = Int.random(in: 0...model.count, using: &random)
                buffer.consume(to: buffer.range.lowerBound + count)
                model.removeFirst(count)
            default: buffer.trim()
            }
            #expect(buffer.count == model.count)
            #expect(buffer.isEmpty == model.isEmpty)
            #expect(Array(buffer.bytes[buffer.range]) == model)
        }
        // What was used does not pile up.
        #expect(buffer.bytes.count <= 2 * model.count + 1_500)
    }

    @Test func `an empty connection brings nothing, a closed one its end`() throws {
        let (first, second) = socketPair()
        let (far, near) = (first.take(), second.take())
        var buffer = InputBuffer()
        #expect(try buffer.fill(from: near, room: 10) == .nothing)
        #expect(throws: StreamError.timedOut) {
            try buffer.fill(from: near, room: 10, until: .after(milliseconds: 5))
        }
        far.end()
        #expect(try buffer.fill(from: near, room: 10) == .end)
        #expect(try buffer.fill(from: near, room: 10, until: soon) == .end)
    }
}
