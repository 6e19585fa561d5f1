// What the tests of this target share: deadlines, threads, random numbers that are always the same,
// bodies whose every byte is known.

import Connections
import Glibc
import Streams
import Threads

/// For a wait that succeeds where the code is right: long enough for a busy machine and a sanitizer.
var soon: Deadline { .after(seconds: 300) }

/// Threads of a test, and the wait for their end.
final class Crew: Sendable {
    private let running = Monitor(0)

    /// Runs `body` on `count` new threads, with the numbers from 0.
    func start(_ count: Int = 1, _ body: @escaping @Sendable (Int) -> Void) throws {
        for number in 0..<count {
            running.withLock { $0 += 1 }
            try Threads.Thread.start(name: "test-\(number)") { [running] in
                body(number)
                running.withLock { $0 -= 1 }
                running.broadcast()
            }
        }
    }

    /// Whether all have ended in time.
    func hasEnded() -> Bool {
        running.wait(until: soon) { $0 == 0 ? true : nil } ?? false
    }
}

/// Looks again and again until `condition` holds, for what nobody signals.
func eventually(_ condition: () -> Bool) -> Bool {
    let deadline = soon
    while !condition() {
        if deadline.hasPassed { return false }
        sched_yield()
    }
    return true
}

/// SplitMix64: small, and the same sequence everywhere for one seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int) -> [UInt8] {
        (0..<count).map { _ in UInt8.random(in: 0...255, using: &self) }
    }

    /// Cuts `bytes` at random places into pieces that are not empty.
    mutating func split(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let largest = Bool.random(using: &self) ? 3 : 200
            let piece = rest.prefix(Int.random(in: 1...largest, using: &self))
            pieces.append(Array(piece))
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }
}

extension [UInt8] {
    init(_ text: String) { self = Array(text.utf8) }
}

extension Collection<UInt8> {
    var text: String { String(decoding: self, as: UTF8.self) }
}

/// A body of which every byte follows from its place: no two bodies of a test are alike, and no
/// piece of one fits another place of it.
struct Body: Sendable {
    let seed: Int
    let count: Int

    /// Random bytes that repeat after a prime number, so that no size of pieces hides a mix-up; and
    /// once more, so that each run of up to `longest` stands in one piece.
    private static let period = 65_521
    private static let longest = 65_536
    private static let table: [UInt8] = {
        var random = SeededGenerator(42)
        let once = random.bytes(period)
        return once + once + once
    }()

    private func place(of index: Int) -> Int { (index + seed * 7_919) % Body.period }

    func bytes(from start: Int, count: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(count)
        while bytes.count < count {
            let first = place(of: start + bytes.count)
            bytes += Body.table[first..<(first + min(Body.longest, count - bytes.count))]
        }
        return bytes
    }

    /// Whether `bytes` is what the body has from `start` on.
    func holds(_ bytes: ArraySlice<UInt8>, at start: Int) -> Bool {
        if start + bytes.count > count { return false }
        if bytes.isEmpty { return true }
        let expected = self.bytes(from: start, count: bytes.count)
        return bytes.withUnsafeBytes { bytes in
            expected.withUnsafeBytes { memcmp($0.baseAddress!, bytes.baseAddress!, $0.count) == 0 }
        }
    }
}
