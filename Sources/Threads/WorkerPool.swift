// A fixed number of threads that take jobs from one bounded queue.

/// The pool. Thread-safe: its queue is a monitor, the rest is set once.
public final class WorkerPool<Job: Sendable>: Sendable {
    @usableFromInline let queue: BlockingQueue<Job>

    /// A pool without workers yet.
    ///
    /// - Parameter capacity: how many jobs may wait.
    @inlinable
    public init(capacity: Int) { queue = BlockingQueue(capacity: capacity) }

    /// Starts `workers` threads called `NAME-1`… that run `body` for each job, one at a time.
    ///
    /// Each worker has a doorbell of its own, for jobs that must wait on a socket and on another
    /// thread at once. It may still be rung from the job before: look again, then wait again.
    @inlinable
    public func start(
        name: String, workers: Int, _ body: @escaping @Sendable (Job, Doorbell) -> Void
    ) throws {
        let queue = queue
        for number in 1...workers {
            let doorbell = try Doorbell()
            try Thread.start(name: "\(name)-\(number)") {
                while true {
                    if let job = queue.take(until: .distantFuture) {
                        body(job, doorbell)
                    } else if queue.isClosed {
                        return
                    }
                }
            }
        }
    }

    /// Queues a job. Does not block.
    ///
    /// - Returns: false where the queue is full or the pool is closed.
    @inlinable
    public func submit(_ job: Job) -> Bool { queue.offer(job) }

    /// Workers that have nothing to do and nothing waiting for them.
    @inlinable
    public var idleWorkers: Int { queue.idleTakers }

    /// Lets the workers end once the queue is empty. Jobs that run are not interrupted.
    @inlinable
    public func close() { queue.close() }
}
