// A TCP path between two programs that can go silent: nothing passes any more and nothing closes,
// as when a machine in the middle has forgotten the connection. Or it resets both ends, as when that
// machine remembers no more.
//
// Threads: one that accepts, and two for each connection.

import Foundation

final class Passage: Sendable {
    private enum Mode { case passing, silent, reset }

    /// One connection: of two threads that carry, how many still do.
    private struct Path {
        var mode = Mode.passing
        var carrying = 2
        let descriptors: [Int32]
    }

    private let listener: Listener
    private let paths = Signalled([Signalled<Path>]())

    var port: Int { listener.port }

    /// Leads from a port of its own to `target`.
    init(to target: Int) throws {
        let listener = try Listener()
        self.listener = listener
        let paths = self.paths
        Thread.detachNewThread {
            while let near = listener.accept(.long) {
                guard let far = try? Connection.to(port: target) else { continue }
                let path = Signalled(Path(descriptors: [near.descriptor, far.descriptor]))
                paths.withLock { $0.append(path) }
                nonisolated(unsafe) let ends = (near, far)
                // Each end is read by one thread and written by the other.
                Thread.detachNewThread { Passage.carry(ends.0, ends.1, path) }
                Thread.detachNewThread { Passage.carry(ends.1, ends.0, path) }
            }
        }
    }

    /// Silences the connections made so far. Later ones pass.
    func freeze() {
        for path in paths.withLock({ $0 }) { path.withLock { $0.mode = .silent } }
    }

    /// Resets the connections made so far, at both ends. Later ones pass.
    func reset() {
        for path in paths.withLock({ $0 }) {
            path.withLock { path in
                // While both threads carry, the descriptors are those of the connection.
                guard path.carrying == 2 else { return }
                path.mode = .reset
                for descriptor in path.descriptors {
                    resetOnClose(descriptor)
                    shutdown(descriptor, Int32(SHUT_RD))
                }
            }
        }
    }

    /// Carries bytes one way until either end is gone; from the silence on it drops them.
    private static func carry(_ from: Connection, _ to: Connection, _ path: Signalled<Path>) {
        var isWritable = true
        while isWritable, (try? from.fill(.long)) == true {
            let bytes = from.take(from.buffer.count)
            if path.withLock({ $0.mode }) == .silent { continue }
            isWritable = (try? to.write(bytes)) != nil
        }
        path.withLock { path in
            path.carrying -= 1
            // A silent path doesn't tell either that one end has closed.
            if path.mode == .passing { to.shutdownWriting() }
        }
    }

    deinit { listener.shut() }
}
