// State that threads share and wait for: a value, a lock and a condition in one.

import Foundation

/// Thread-safe: `value` is reached only under the lock of `condition`.
final class Signalled<Value>: @unchecked Sendable {
    private let condition = NSCondition()
    private var value: Value

    init(_ value: Value) { self.value = value }

    /// Reads or changes the value, and wakes all who wait for it.
    @discardableResult
    func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        condition.lock()
        defer {
            condition.broadcast()
            condition.unlock()
        }
        return try body(&value)
    }

    /// Waits until `take` gives something.
    ///
    /// - Returns: nil where `deadline` passed first.
    func wait<Result>(_ deadline: Deadline, for take: (inout Value) -> Result?) -> Result? {
        condition.lock()
        defer { condition.unlock() }
        while true {
            if let result = take(&value) { return result }
            if deadline.hasPassed { return nil }
            _ = condition.wait(until: Date(timeIntervalSinceNow: deadline.secondsLeft))
        }
    }
}

/// A door that one thread opens and others wait at.
struct Gate: Sendable {
    private let isOpen = Signalled(false)

    func open() { isOpen.withLock { $0 = true } }

    func wait(_ what: String, _ deadline: Deadline = .patient) throws {
        guard isOpen.wait(deadline, for: { $0 ? true : nil }) != nil else {
            throw Failure("waited in vain: \(what)")
        }
    }
}

/// Bounds how many heavy things run at once, whatever the number of tests beside each other.
struct Slots: Sendable {
    private let free: Signalled<Int>

    init(_ count: Int) { free = Signalled(count) }

    func take() throws {
        let taken = free.wait(.long) { left -> Bool? in
            guard left > 0 else { return nil }
            left -= 1
            return true
        }
        guard taken != nil else { throw Failure("no slot became free") }
    }

    func give() { free.withLock { $0 += 1 } }
}

/// Runs `body` for each of `0..<count`, each on a thread of its own, and waits for all.
func onThreads<Result: Sendable>(
    _ count: Int, _ deadline: Deadline = .long,
    _ body: @escaping @Sendable (Int) throws -> Result
) throws -> [Swift.Result<Result, any Error>] {
    let results = Signalled([Int: Swift.Result<Result, any Error>]())
    for index in 0..<count {
        Thread.detachNewThread {
            let result = Swift.Result { try body(index) }
            results.withLock { $0[index] = result }
        }
    }
    guard let all = results.wait(deadline, for: { $0.count == count ? $0 : nil }) else {
        throw Failure("not all of \(count) threads came to an end")
    }
    return (0..<count).compactMap { all[$0] }
}
