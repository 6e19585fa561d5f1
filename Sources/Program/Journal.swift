// What a daemon tells its operator, line by line: on standard error, or to journald itself.
//
// Called by: every thread; a caller only ever appends to a bounded buffer. The thread `journal`
// writes the buffer out in batches, so a terminal or a journald that takes nothing stops this
// thread and nobody else. Only this thread knows which of both it is.
// Waits for: (the thread) the first line; then, while lines are only informative, 20 ms more, so
// that a busy relay makes one write(2) for many lines.
// Hard: what does not fit, or what is refused there, is lost and counted, but errors have room
// of their own: a flood of requests must not push out the line that says why the program ends.

import Glibc
import Synchronization
import Threads

/// The lines of a program. Thread-safe: all state is in one monitor and one atomic.
package final class Journal: Sendable {
    package enum Level: Int, CaseIterable, Comparable, Sendable {
        case error
        case warning
        case info
        case debug

        package static func < (left: Level, right: Level) -> Bool { left.rawValue < right.rawValue }

        /// The name as `log-level` has it.
        package var name: String {
            switch self {
            case .error: "error"
            case .warning: "warning"
            case .info: "info"
            case .debug: "debug"
            }
        }

        package init?(name: String) {
            guard let level = Level.allCases.first(where: { $0.name == name }) else { return nil }
            self = level
        }

        /// How a line of this level begins.
        fileprivate var prefix: StaticString {
            switch self {
            case .error: "error: "
            case .warning: "warning: "
            case .info: ""
            case .debug: "debug: "
            }
        }

        /// The same with the priority that systemd reads and takes away (sd-daemon(3)).
        fileprivate var systemdPrefix: StaticString {
            switch self {
            case .error: "<3>error: "
            case .warning: "<4>warning: "
            case .info: "<6>"
            case .debug: "<7>debug: "
            }
        }
    }

    private struct State: Sendable {
        var pending: [UInt8] = []
        var pendingLines = 0
        var droppedLines = 0
        /// A warning or error waits, or somebody who flushes: write at once.
        var isUrgent = false
        /// A batch is on its way to the descriptor.
        var isWriting = false
    }

    private let state = Monitor(State())
    /// The last level that is written.
    private let lastLevel: Atomic<Int>
    private let descriptor: Int32
    private let systemd: Bool
    private let maximumBytes: Int
    /// Lines that nobody can read: none were taken at their time.
    package let lostLines = Counter()

    /// Room above `maximumBytes` that only errors and warnings may take.
    private static let reservedBytes = 64 * 1024
    private static let gatheringMilliseconds = 20

    /// Starts the thread that writes.
    ///
    /// - Parameters:
    ///   - program: its name, for journald.
    ///   - level: the last level that is written.
    ///   - descriptor: standard error, for where systemd does not read it, or nobody is at `socket`.
    package init(
        program: String, level: Level, descriptor: Int32 = 2, maximumBytes: Int = 256 * 1024,
        systemd: Bool = Journal.systemdReadsStandardError(), socket: String = Journal.socket
    ) throws(ThreadError) {
        lastLevel = Atomic(level.rawValue)
        self.descriptor = descriptor
        self.maximumBytes = maximumBytes
        self.systemd = systemd
        try Thread.start(name: "journal") { [self] in
            var journald = systemd ? NativeJournal(program: program, path: socket) : nil
            var batch: [UInt8] = []
            var refusedLines = 0
            while true { writeNextBatch(&batch, &refusedLines, &journald) }
        }
    }

    /// Whether lines of this level are written: ask before work that only a line needs.
    package func writes(_ level: Level) -> Bool {
        level.rawValue <= lastLevel.load(ordering: .relaxed)
    }

    /// From now on `level` is the last that is written.
    package func setLevel(_ level: Level) { lastLevel.store(level.rawValue, ordering: .relaxed) }

    package func error(_ message: StaticString, _ fields: (inout JournalLine) -> Void = { _ in }) {
        write(.error, message, fields)
    }

    package func warning(_ message: StaticString, _ fields: (inout JournalLine) -> Void = { _ in })
    {
        write(.warning, message, fields)
    }

    package func info(_ message: StaticString, _ fields: (inout JournalLine) -> Void = { _ in }) {
        write(.info, message, fields)
    }

    package func debug(_ message: StaticString, _ fields: (inout JournalLine) -> Void = { _ in }) {
        write(.debug, message, fields)
    }

    /// Adds a line: constant words, then the fields that the closure appends. Never blocks.
    package func write(
        _ level: Level, _ message: StaticString, _ fields: (inout JournalLine) -> Void
    ) {
        guard writes(level) else { return }
        var line = JournalLine(
            prefix: systemd ? level.systemdPrefix : level.prefix, message: message)
        fields(&line)
        line.end()
        let isUrgent = level <= .warning
        let room = isUrgent ? maximumBytes + Self.reservedBytes : maximumBytes
        let wakes = state.withLock { state in
            guard state.pending.count + line.bytes.count <= room else {
                state.droppedLines += 1
                lostLines.add()
                return false
            }
            // The writer sleeps on an empty buffer, gathers on a filling one. Wake it for the
            // first line, the first urgent one, and when half the room is taken.
            let half = maximumBytes / 2
            let before = state.pending.count
            let wakes =
                before == 0 || (isUrgent && !state.isUrgent)
                || (before < half && before + line.bytes.count >= half)
            state.isUrgent = state.isUrgent || isUrgent
            state.pending.append(contentsOf: line.bytes)
            state.pendingLines += 1
            return wakes
        }
        if wakes { state.broadcast() }
    }

    /// Blocks until every line so far is written, or `deadline` passes. False: it passed.
    package func flush(until deadline: Deadline) -> Bool {
        state.withLock { $0.isUrgent = true }
        state.broadcast()
        return state.wait(until: deadline) { state in
            state.pending.isEmpty && !state.isWriting && state.droppedLines == 0 ? true : nil
        } ?? false
    }

    /// Flushes for at most two seconds and ends the program.
    package func exit(_ code: ExitCode) -> Never {
        _ = flush(until: .after(seconds: 2))
        code.exit()
    }

    /// The body of the thread: waits for lines, gathers more for a moment, writes them.
    ///
    /// - Parameters:
    ///   - batch: room that is swapped with the buffer, so that neither grows anew.
    ///   - refusedLines: how many were lost since the last batch that was written.
    private func writeNextBatch(
        _ batch: inout [UInt8], _ refusedLines: inout Int, _ journald: inout NativeJournal?
    ) {
        _ = state.wait(until: .distantFuture) { state in
            state.pending.isEmpty && state.droppedLines == 0 ? nil : true
        }
        _ = state.wait(until: .after(milliseconds: Self.gatheringMilliseconds)) { state in
            state.isUrgent || state.pending.count >= maximumBytes / 2 ? true : nil
        }
        batch.removeAll(keepingCapacity: true)
        let (lines, dropped) = state.withLock { state in
            swap(&state.pending, &batch)
            state.isUrgent = false
            state.isWriting = true
            defer {
                state.pendingLines = 0
                state.droppedLines = 0
            }
            return (state.pendingLines, state.droppedLines)
        }
        // A disk may have become full inside a line.
        if refusedLines > 0, journald == nil { batch.insert(UInt8(ascii: "\n"), at: 0) }
        if dropped + refusedLines > 0 {
            let level = Level.warning
            var line = JournalLine(
                prefix: systemd ? level.systemdPrefix : level.prefix,
                message: "journal lines lost")
            line.field("COUNT", dropped + refusedLines)
            line.end()
            batch += line.bytes
        }
        let refused: Int
        if let lost = journald?.write(batch) {
            refused = lost
            refusedLines = lost
        } else if writeAll(batch, to: descriptor) == 0 {
            refused = 0
            refusedLines = 0
        } else {
            // The disk is full, or standard error is gone. Told with the next line that is written.
            refused = lines
            refusedLines += dropped + lines
        }
        lostLines.add(refused)
        state.withLock { $0.isWriting = false }
        state.broadcast()
    }

    /// Where journald takes entries (systemd-journald.service(8)), unless a variable names another
    /// socket.
    package static var socket: String {
        Environment.process["MAGICMIRROR_JOURNAL_SOCKET"] ?? "/run/systemd/journal/socket"
    }

    /// Whether systemd reads standard error and takes priorities (systemd.exec(5),
    /// `JOURNAL_STREAM` is the device and inode of the stream).
    package static func systemdReadsStandardError() -> Bool {
        guard let named = Environment.process["JOURNAL_STREAM"] else { return false }
        var status = stat()
        guard unsafe fstat(2, &status) == 0 else { return false }
        return named == "\(status.st_dev):\(status.st_ino)"
    }
}
