// Step 2: where connections rest that have nothing to say, without a thread each.
//
// Called by: the acceptors and the workers park; the thread `parking` watches.
// Waits for: a parked connection to become readable, or its deadline, on one epoll.
// Hard: a connection is put into the table before its socket is armed, for it may speak at once;
// and one-shot arming means that only this thread ever takes it out.

import Streams
import Threads

/// Connections at rest. Thread-safe: all state is in one monitor, epoll is the kernel's.
final class ParkingLot: Sendable {
    private struct Parked: Sendable {
        let connection: Handover<ClientConnection>
        let deadline: Deadline
    }

    private let parked = Monitor<[Int32: Parked]>([:])
    private let poller: Poller
    /// All are to wake.
    private let alarm: Doorbell
    /// Somebody asks whether the thread still watches.
    private let question: Doorbell

    init() throws {
        poller = try Poller()
        alarm = try Doorbell()
        question = try Doorbell()
        try poller.arm(alarm.descriptor, isKnown: false)
        try poller.arm(question.descriptor, isKnown: false)
    }

    /// How many rest now.
    var count: Int { parked.withLock { $0.count } }

    /// Lets a connection rest until it is readable or its deadline passes. Does not block.
    func park(_ connection: sending ClientConnection) {
        connection.rest()
        let descriptor = connection.stream.descriptor
        let isKnown = connection.isKnownToParkingLot
        connection.isKnownToParkingLot = true
        let deadline = connection.deadline
        let entry = Parked(connection: Handover(connection), deadline: deadline)
        parked.withLock { $0[descriptor] = entry }
        do {
            try poller.arm(descriptor, isKnown: isKnown)
        } catch {
            // Out of memory for the kernel's table: the connection is closed.
            _ = parked.withLock { $0.removeValue(forKey: descriptor) }?.connection.take()
        }
    }

    /// Wakes all that rest now, once. Does not block.
    func wakeAll() { alarm.ring() }

    /// Makes the thread that watches answer once, if it does. Does not block.
    func ask() { question.ring() }

    /// Watches for ever; the body of the thread `parking`.
    ///
    /// - Parameters:
    ///   - answer: called when somebody asks.
    ///   - wake: gets each connection that has become readable, whose deadline has passed, or that
    ///     `wakeAll` found.
    func watch(answer: () -> Void, _ wake: (Handover<ClientConnection>) -> Void) {
        var nextSweep = Deadline.after(seconds: 1)
        while true {
            for descriptor in poller.wait(until: nextSweep) {
                if descriptor == alarm.descriptor {
                    sweep(until: .distantFuture, wake)
                } else if descriptor == question.descriptor {
                    question.clear()
                    // The kernel knows it: nothing is taken that could be missing.
                    try? poller.arm(descriptor, isKnown: true)
                    answer()
                } else if let entry = parked.withLock({ $0.removeValue(forKey: descriptor) }) {
                    wake(entry.connection)
                }
            }
            if nextSweep.hasPassed {
                sweep(until: .now, wake)
                nextSweep = .after(seconds: 1)
            }
        }
    }

    /// Wakes the connections whose deadline is not after `limit`: their worker knows what that means.
    private func sweep(until limit: Deadline, _ wake: (Handover<ClientConnection>) -> Void) {
        let expired = parked.withLock { parked -> [Parked] in
            let keys = parked.compactMap { $0.value.deadline <= limit ? $0.key : nil }
            return keys.compactMap { parked.removeValue(forKey: $0) }
        }
        for entry in expired { wake(entry.connection) }
    }
}
