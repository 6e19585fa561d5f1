// Points in time at the edges of what a number can say.

import Testing
import Threads

@Suite struct DeadlineTests {
    @Test func `time goes on, and a deadline passes when it is reached`() {
        let first = Deadline.now
        let second = Deadline.now
        #expect(first <= second)
        #expect(first.hasPassed)
        #expect(!Deadline.after(seconds: 1_000).hasPassed)
        #expect(!Deadline.distantFuture.hasPassed)
        #expect(nanosecondsSince(first) >= 0)
    }

    @Test func `a timeout becomes the same point however it is written`() {
        let start = Deadline.now
        let points = [
            Deadline.after(seconds: 3), .after(milliseconds: 3_000), .after(.seconds(3)),
            .now + 3_000_000_000,
        ]
        for point in points {
            #expect(point >= start + 3_000_000_000)
            #expect(point <= .now + 3_000_000_000)
        }
    }

    @Test(arguments: [
        (Int.max / 2, 1), (Int.max / 2, Int.max), (1, Int.max), (Int.max / 2 - 1, 2),
        (Int.max, 0), (Int.max, Int.max),
    ])
    func `a sum never goes beyond the distant future`(deadline: Int, nanoseconds: Int) {
        let sum = Deadline(nanoseconds: deadline) + nanoseconds
        #expect(sum == .distantFuture)
        #expect(!sum.hasPassed)
    }

    @Test(arguments: [(0, -1), (5, -6), (5, Int.min), (Int.min, Int.min), (Int.min, -1), (-1, 0)])
    func `a sum before the start of the machine has passed`(deadline: Int, nanoseconds: Int) {
        let sum = Deadline(nanoseconds: deadline) + nanoseconds
        #expect(sum.hasPassed)
        #expect(sum.millisecondsLeft == 0)
    }

    @Test(arguments: [Int.max, Int.max / 2, Int.max / 1_000_000 + 1, Int.max / 1_000_000_000 + 1])
    func `a timeout beyond counting is the distant future`(length: Int) {
        #expect(Deadline.after(seconds: length) == .distantFuture)
        if length > Int.max / 1_000_000 {
            #expect(Deadline.after(milliseconds: length) == .distantFuture)
        }
        #expect(Deadline.after(.seconds(length)) == .distantFuture)
    }

    @Test(arguments: [Int.min, -1])
    func `a negative timeout has passed`(length: Int) {
        #expect(Deadline.after(seconds: length).hasPassed)
        #expect(Deadline.after(milliseconds: length).hasPassed)
        #expect(Deadline.after(.seconds(length)).hasPassed)
    }

    @Test(arguments: [
        (Duration.zero, 0), (.nanoseconds(1), 1), (.nanoseconds(-1), -1),
        (.milliseconds(1), 1_000_000),
        (.seconds(-3), -3_000_000_000), (.milliseconds(1_500), 1_500_000_000),
        (.nanoseconds(Int64.max), Int.max), (.nanoseconds(Int64.min), Int.min),
        (.nanoseconds(Int64.max) + .nanoseconds(1), Int.max),
        (.nanoseconds(Int64.min) - .nanoseconds(1), Int.min),
        (.seconds(Int64.max), Int.max), (.seconds(Int64.min), Int.min),
        (Duration(secondsComponent: 0, attosecondsComponent: 999_999_999), 0),
        (Duration(secondsComponent: 0, attosecondsComponent: 1_999_999_999), 1),
    ])
    func `a duration has whole nanoseconds, and as many as a number can say`(
        duration: Duration, nanoseconds: Int
    ) {
        #expect(duration.nanoseconds == nanoseconds)
    }

    @Test func `milliseconds are rounded up, so that a wait never ends too soon`() {
        var random = SeededGenerator(1)
        for _ in 0..<2_000 {
            let length = Int.random(in: 0...3_000_000, using: &random)
            let before = Deadline.now
            let deadline = before + length
            let left = deadline.millisecondsLeft
            // 0 means that it has passed; and never more than asked, rounded up.
            if left == 0 { #expect(deadline.hasPassed) }
            #expect(left <= (length + 999_999) / 1_000_000)
            let after = Deadline.now + Int(left) * 1_000_000
            #expect(after >= deadline)
        }
    }

    @Test func `milliseconds are at most a day, and none once the deadline has passed`() {
        #expect(Deadline.distantFuture.millisecondsLeft == 86_400_000)
        #expect(Deadline(nanoseconds: .max).millisecondsLeft == 86_400_000)
        #expect(Deadline.now.millisecondsLeft == 0)
        #expect(Deadline(nanoseconds: 0).millisecondsLeft == 0)
        #expect(Deadline(nanoseconds: .min).millisecondsLeft == 0)
    }

    @Test func `the later of two deadlines is the greater one`() {
        let now = Deadline.now
        #expect(now < now + 1)
        #expect(!(now < now))
        #expect(max(now, .distantFuture) == .distantFuture)
        #expect(min(now + 5, now + 4) == now + 4)
    }
}
