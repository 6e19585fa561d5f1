// The queue between threads: its order, its bound, its idle takers, its end.

import Testing
import Threads

@Suite struct BlockingQueueTests {
    @Test func `what is first in is first out`() {
        let queue = BlockingQueue<Int>(capacity: 100)
        for number in 0..<100 { #expect(queue.offer(number)) }
        for number in 0..<100 { #expect(queue.take(until: .now) == number) }
        #expect(queue.take(until: .now) == nil)
    }

    @Test func `a full queue refuses, until there is room again`() {
        let queue = BlockingQueue<Int>(capacity: 2)
        #expect(queue.offer(1))
        #expect(queue.offer(2))
        #expect(!queue.offer(3))
        #expect(queue.take(until: .now) == 1)
        #expect(queue.offer(4))
        #expect(!queue.offer(5))
        #expect(queue.take(until: .now) == 2)
        #expect(queue.take(until: .now) == 4)
        #expect(queue.take(until: .now) == nil)
    }

    @Test func `a take ends at its deadline, not before`() {
        let queue = BlockingQueue<Int>(capacity: 1)
        let deadline = Deadline.after(milliseconds: 20)
        #expect(queue.take(until: deadline) == nil)
        #expect(deadline.hasPassed)
    }

    @Test func `idle takers are those for whom nothing waits`() throws {
        let queue = BlockingQueue<Int>(capacity: 10)
        #expect(queue.idleTakers == 0)
        #expect(queue.offer(1))
        #expect(queue.idleTakers == -1)
        #expect(queue.take(until: .now) == 1)
        // A taker that went away at its deadline is idle no longer.
        #expect(queue.take(until: .after(milliseconds: 1)) == nil)
        #expect(queue.idleTakers == 0)
        let crew = Crew()
        try crew.start(3) { _ in _ = queue.take(until: soon) }
        #expect(eventually { queue.idleTakers == 3 })
        #expect(queue.offer(2))
        // Whether its taker has it yet or not.
        #expect(queue.idleTakers == 2)
        #expect(queue.offer(3))
        #expect(queue.offer(4))
        #expect(crew.hasEnded())
        #expect(queue.idleTakers == 0)
    }

    @Test func `a closed queue gives what it holds, then nothing, and takes no more`() {
        let queue = BlockingQueue<Int>(capacity: 10)
        #expect(queue.offer(1))
        #expect(queue.offer(2))
        #expect(!queue.isClosed)
        queue.close()
        #expect(queue.isClosed)
        #expect(!queue.offer(3))
        #expect(queue.take(until: .distantFuture) == 1)
        #expect(queue.take(until: .distantFuture) == 2)
        #expect(queue.take(until: .distantFuture) == nil)
    }

    @Test func `closing wakes whoever waits`() throws {
        let queue = BlockingQueue<Int>(capacity: 10)
        let crew = Crew()
        try crew.start(4) { _ in _ = queue.take(until: .distantFuture) }
        #expect(eventually { queue.idleTakers == 4 })
        queue.close()
        #expect(crew.hasEnded())
        #expect(queue.idleTakers == 0)
    }

    @Test func `many producers and consumers lose nothing and double nothing`() throws {
        struct Element: Sendable {
            let producer: Int
            let number: Int
        }
        let producers = 4
        let each = 3_000
        // Small, so that both sides meet its ends all the time.
        let queue = BlockingQueue<Element>(capacity: 8)
        let takenBy = Monitor([Int: [Element]]())
        let crew = Crew()
        try crew.start(3) { number in
            var taken: [Element] = []
            while true {
                // Short waits: takers that give up must not take a wake-up with them.
                if let element = queue.take(until: .after(.microseconds(number * 50))) {
                    taken.append(element)
                } else if queue.isClosed {
                    break
                }
            }
            takenBy.withLock { $0[number] = taken }
        }
        let producing = Crew()
        try producing.start(producers) { producer in
            for number in 0..<each {
                let element = Element(producer: producer, number: number)
                _ = eventually { queue.offer(element) }
            }
        }
        #expect(producing.hasEnded())
        queue.close()
        #expect(crew.hasEnded())
        let taken = takenBy.withLock { $0 }
        for (_, elements) in taken {
            // What one producer put is seen in its order by each consumer.
            for producer in 0..<producers {
                let numbers = elements.filter { $0.producer == producer }.map(\.number)
                #expect(zip(numbers, numbers.dropFirst()).allSatisfy(<))
            }
        }
        let all = taken.values.joined().map { $0.producer * each + $0.number }
        #expect(all.sorted() == Array(0..<(producers * each)))
    }
}
