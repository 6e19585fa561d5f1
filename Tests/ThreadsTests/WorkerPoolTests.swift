// The fixed pool: every job once, no more at a time than workers, its bound, its end.

import Glibc
import Testing
import Threads

@Suite struct WorkerPoolTests {
    private struct State: Sendable {
        var running = 0
        var most = 0
        var done: [Int] = []
        var isOpen = true
        var bells: Set<Int32> = []
    }

    /// Starts workers whose jobs wait until the gate is open.
    private func start(
        _ pool: WorkerPool<Int>, workers: Int, waiting: Int, at gate: Monitor<State>
    ) throws {
        try pool.start(name: "worker", workers: workers, waiting: waiting) { job, _ in
            gate.withLock { $0.running += 1 }
            _ = gate.wait(until: soon) { $0.isOpen ? true : nil }
            gate.withLock { $0.done.append(job) }
        }
    }

    @Test func `each job is done once, by no more workers than there are`() throws {
        let state = Monitor(State())
        let pool = WorkerPool<Int>()
        try pool.start(name: "worker", workers: 3, waiting: 1_000) { job, doorbell in
            state.withLock {
                $0.running += 1
                $0.most = max($0.most, $0.running)
                $0.bells.insert(doorbell.descriptor)
            }
            sched_yield()
            state.withLock {
                $0.running -= 1
                $0.done.append(job)
            }
            state.signal()
        }
        for job in 0..<1_000 { #expect(pool.submit(job)) }
        #expect(state.wait(until: soon) { $0.done.count == 1_000 ? true : nil } == true)
        let end = state.withLock { $0 }
        #expect(end.done.sorted() == Array(0..<1_000))
        #expect(end.most <= 3)
        #expect(end.bells.count <= 3)
        pool.close()
    }

    @Test func `workers that have nothing to do are idle, and jobs beyond the line are refused`()
        throws
    {
        let gate = Monitor(State(isOpen: false))
        let pool = WorkerPool<Int>()
        try start(pool, workers: 2, waiting: 2, at: gate)
        #expect(eventually { pool.idleWorkers == 2 })
        #expect(pool.submit(1))
        #expect(pool.idleWorkers == 1)
        #expect(pool.submit(2))
        #expect(eventually { gate.withLock { $0.running } == 2 })
        #expect(pool.idleWorkers == 0)
        #expect(pool.submit(3))
        #expect(pool.submit(4))
        #expect(pool.idleWorkers == -2)
        #expect(!pool.submit(5))
        gate.withLock { $0.isOpen = true }
        gate.broadcast()
        #expect(eventually { gate.withLock { $0.done.count } == 4 })
        #expect(gate.withLock { $0.done.sorted() } == [1, 2, 3, 4])
        #expect(eventually { pool.idleWorkers == 2 })
        pool.close()
    }

    @Test func `a job that goes first passes all that wait, and has room where the line is full`()
        throws
    {
        let gate = Monitor(State(isOpen: false))
        let pool = WorkerPool<Int>()
        try start(pool, workers: 1, waiting: 2, at: gate)
        #expect(pool.submit(1))
        #expect(eventually { gate.withLock { $0.running } == 1 })
        #expect(pool.submit(2) && pool.submit(3) && !pool.submit(4))
        pool.submitFirst(0)
        gate.withLock { $0.isOpen = true }
        gate.broadcast()
        #expect(eventually { gate.withLock { $0.done.count } == 4 })
        #expect(gate.withLock { $0.done } == [1, 0, 2, 3])
        #expect(eventually { pool.idleWorkers == 1 })
        pool.submitFirst(5)
        #expect(eventually { gate.withLock { $0.done.last } == 5 })
        pool.close()
    }

    @Test func `workers that are added later add to how many jobs may wait`() throws {
        let gate = Monitor(State(isOpen: false))
        let pool = WorkerPool<Int>()
        #expect(!pool.submit(0))
        try start(pool, workers: 1, waiting: 2, at: gate)
        try start(pool, workers: 2, waiting: 1, at: gate)
        #expect(eventually { pool.idleWorkers == 3 })
        for job in 1...3 { #expect(pool.submit(job)) }
        #expect(eventually { gate.withLock { $0.running } == 3 })
        for job in 4...6 { #expect(pool.submit(job)) }
        #expect(!pool.submit(7))
        gate.withLock { $0.isOpen = true }
        gate.broadcast()
        #expect(eventually { gate.withLock { $0.done.count } == 6 })
        #expect(gate.withLock { $0.done.sorted() } == Array(1...6))
        pool.close()
    }

    @Test func `a closed pool finishes its line, then its workers end`() throws {
        final class Probe: Sendable {
            let done = Monitor(0)
        }
        weak var seen: Probe?
        let done: Monitor<Int>
        let pool = WorkerPool<Int>()
        do {
            let probe = Probe()
            seen = probe
            done = probe.done
            try pool.start(name: "worker", workers: 4, waiting: 100) { _, _ in
                probe.done.withLock { $0 += 1 }
            }
        }
        for job in 0..<100 { _ = pool.submit(job) }
        pool.close()
        #expect(!pool.submit(0))
        // What the threads hold goes with the last of them.
        #expect(eventually { seen == nil })
        #expect(done.withLock { $0 } == 100)
    }

    @Test func `a job goes to the worker that came to rest last`() throws {
        let state = Monitor(State())
        let pool = WorkerPool<Int>()
        try pool.start(name: "worker", workers: 4, waiting: 4) { _, doorbell in
            state.withLock { _ = $0.bells.insert(doorbell.descriptor) }
        }
        for job in 0..<100 {
            #expect(eventually { pool.idleWorkers == 4 })
            #expect(pool.submit(job))
        }
        #expect(eventually { pool.idleWorkers == 4 })
        #expect(state.withLock { $0.bells.count } == 1)
        pool.close()
    }

    @Test func `the bell of a worker is its own`() throws {
        let state = Monitor(State())
        let pool = WorkerPool<Int>()
        try pool.start(name: "worker", workers: 4, waiting: 4) { _, doorbell in
            state.withLock {
                $0.running += 1
                $0.bells.insert(doorbell.descriptor)
            }
            state.broadcast()
            _ = state.wait(until: soon) { $0.running == 4 ? true : nil }
        }
        for job in 0..<4 { _ = pool.submit(job) }
        #expect(state.wait(until: soon) { $0.running == 4 ? true : nil } == true)
        #expect(state.withLock { $0.bells.count } == 4)
        pool.close()
    }
}
