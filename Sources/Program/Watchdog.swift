// When the service manager is to get a sign of life.
//
// Called by: `housekeeping`, in each of its rounds. Before a sign goes out, it looks whether all
// that it has asked since the one before has answered; whatever has not is looked at again in the
// next round. So a sign says that this thread moves, and everything that it asks.
// Waits for: nothing.

import Threads

/// The pace of the signs of life. It belongs to the thread `housekeeping`.
package struct Watchdog {
    private let socket: NotifySocket
    private var next = Deadline.now

    package init(_ socket: NotifySocket) { self.socket = socket }

    /// Half of the time that the service manager allows has passed.
    package var isDue: Bool { socket.watchdogTimeout != nil && next.hasPassed }

    /// Sends a sign of life.
    package mutating func feed() {
        guard let timeout = socket.watchdogTimeout else { return }
        next = .after(timeout / 2)
        socket.alive()
    }
}
