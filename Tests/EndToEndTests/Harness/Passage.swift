// A TCP path between two programs that can go silent: nothing passes any more and nothing closes,
// as when a machine in the middle has forgotten the connection.
//
// Threads: one that accepts, and two for each connection.

import Foundation

final class Passage: Sendable {
    private let listener: Listener
    /// One for each connection made so far: whether it has gone silent.
    private let silences = Signalled([Signalled<Bool>]())

    var port: Int { listener.port }

    /// Leads from a port of its own to `target`.
    init(to target: Int) throws {
        let listener = try Listener()
        self.listener = listener
        let silences = self.silences
        Thread.detachNewThread {
            while let near = listener.accept(.long) {
                guard let far = try? Connection.to(port: target) else { continue }
                let silence = Signalled(false)
                silences.withLock { $0.append(silence) }
                nonisolated(unsafe) let ends = (near, far)
                // Each end is read by one thread and written by the other.
                Thread.detachNewThread { Passage.carry(ends.0, ends.1, silence) }
                Thread.detachNewThread { Passage.carry(ends.1, ends.0, silence) }
            }
        }
    }

    /// Silences the connections made so far. Later ones pass.
    func freeze() {
        for silence in silences.withLock({ $0 }) { silence.withLock { $0 = true } }
    }

    /// Carries bytes one way until either end is gone; from the silence on it drops them.
    private static func carry(_ from: Connection, _ to: Connection, _ silence: Signalled<Bool>) {
        while (try? from.fill(.long)) == true {
            let bytes = from.take(from.buffer.count)
            if silence.withLock({ $0 }) { continue }
            guard (try? to.write(bytes)) != nil else { return }
        }
        // A silent path doesn't tell either that one end has closed.
        if !silence.withLock({ $0 }) { to.shutdownWriting() }
    }

    deinit { listener.shut() }
}
