// The journal's lines as journald takes them itself: entries of fields, a datagram each, so that
// `journalctl STATUS=502` finds them.
//
// Called by: the journal's thread, with batches of lines.
// Waits for: journald to take them, for as long as that lasts: the thread owns nothing else, and
// what finds no room in its buffer meanwhile is counted.
// Hard: nothing may become a field that was none. An entry is made of a line that is escaped
// already: no value in it has a line feed, so the protocol's plain form is enough
// (systemd.io/JOURNAL_NATIVE_PROTOCOL), and what a terminal is shown of a field harms nobody.

import Glibc
import Streams
import Threads
import Wire

/// Lines as entries: `<6>exchange STATUS=502 REASON="a b"` has a PRIORITY, a MESSAGE, which is the
/// line itself, a STATUS and a REASON.
struct JournalEntries {
    private(set) var bytes: [UInt8] = []
    /// Where each entry is in `bytes`.
    private(set) var ranges: [Range<Int>] = []
    /// How each one begins, up to the digit of its priority.
    private let beginning: [UInt8]

    /// What goes out at once, the last entry aside.
    private static let maximumBytes = 64 * 1024

    init(program: String) {
        // 3 is a daemon's, as journald takes its standard error for (systemd.exec(5)).
        beginning = Array("SYSLOG_IDENTIFIER=\(program)\nSYSLOG_FACILITY=3\nPRIORITY=".utf8)
    }

    /// Takes as many of `lines` from `start` on as go out at once, in place of those before.
    ///
    /// - Returns: where the next line begins.
    mutating func take(from lines: [UInt8], at start: Int) -> Int {
        bytes.removeAll(keepingCapacity: true)
        ranges.removeAll(keepingCapacity: true)
        let lines = lines.span
        var start = start
        while start < lines.count, ranges.count < DatagramConnection.maximumCount,
            bytes.count < Self.maximumBytes
        {
            let end = lines.firstIndex(of: UInt8(ascii: "\n"), from: start, to: lines.count)
            let first = bytes.count
            append(lines, start..<end)
            ranges.append(first..<bytes.count)
            start = end + 1
        }
        return start
    }

    /// Adds the entry of one line, which begins with its priority: `<6>`.
    private mutating func append(_ lines: Span<UInt8>, _ line: Range<Int>) {
        let start = line.lowerBound + 3
        let end = line.upperBound
        bytes.append(contentsOf: beginning)
        bytes.append(lines[line.lowerBound + 1])
        HeadWriter.text("\nMESSAGE=", to: &bytes)
        copy(lines, start..<end)
        bytes.append(UInt8(ascii: "\n"))
        // The words before the fields have no equals sign: the first one is the first field's.
        var equals = lines.firstIndex(of: UInt8(ascii: "="), from: start, to: end)
        var name = equals
        while name > start, lines[name - 1] != UInt8(ascii: " ") { name -= 1 }
        while equals < end {
            let value = equals + 1
            if value < end, lines[value] == UInt8(ascii: "\"") {
                let quote = closingQuote(lines, value + 1..<end)
                copy(lines, name..<value)
                copy(lines, value + 1..<quote)
                name = quote + 2
            } else {
                let space = lines.firstIndex(of: UInt8(ascii: " "), from: value, to: end)
                copy(lines, name..<space)
                name = space + 1
            }
            bytes.append(UInt8(ascii: "\n"))
            equals = lines.firstIndex(of: UInt8(ascii: "="), from: name, to: end)
        }
    }

    /// The index of the quote that ends a value; a backslash takes the next byte's meaning away.
    private func closingQuote(_ lines: Span<UInt8>, _ range: Range<Int>) -> Int {
        var at = range.lowerBound
        while at < range.upperBound, lines[at] != UInt8(ascii: "\"") {
            at += lines[at] == UInt8(ascii: "\\") ? 2 : 1
        }
        return min(at, range.upperBound)
    }

    private mutating func copy(_ lines: Span<UInt8>, _ range: Range<Int>) {
        // Safe: the range is checked, and the bytes are copied within the closure.
        unsafe lines.extracting(range).withUnsafeBufferPointer {
            unsafe bytes.append(contentsOf: $0)
        }
    }
}

/// The way to journald. Not Sendable: the journal's thread makes it and owns it.
struct NativeJournal: ~Copyable {
    private let socket: DatagramConnection
    private var entries: JournalEntries

    private static let retryMilliseconds = 100

    /// Nil where nobody takes entries at `path`.
    init?(program: String, path: String) {
        guard let socket = try? DatagramConnection(to: path) else { return nil }
        self.socket = socket
        entries = JournalEntries(program: program)
    }

    /// Sends `lines`. Blocks until journald has taken them; while it is gone, until it is back.
    ///
    /// - Returns: how many were lost, since no datagram may be so large here.
    mutating func write(_ lines: [UInt8]) -> Int {
        var lost = 0
        var start = 0
        while start < lines.count {
            start = entries.take(from: lines, at: start)
            var unsent = entries.ranges[...]
            while !unsent.isEmpty {
                do {
                    unsent = unsent.dropFirst(try socket.send(entries.bytes, unsent))
                } catch .timedOut {
                    continue
                } catch .failed(_, EMSGSIZE) {
                    unsent = unsent.dropFirst()
                    lost += 1
                } catch {
                    _ = poll(-1, for: [], until: .after(milliseconds: Self.retryMilliseconds))
                    try? socket.connect()
                }
            }
        }
        return lost
    }
}
