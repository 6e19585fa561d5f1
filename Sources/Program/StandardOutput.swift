// What a program says outside its journal: the line that it is ready, the answers of verbs, and
// the line that says why it did not start.
//
// Called by: the programs' main threads. Blocks while the reader takes nothing.

/// Standard output. Only answers and `ready` lines go there; everything else is for the journal.
package enum StandardOutput {
    /// Writes a text. False: nobody reads it any more, or the disk is full.
    @discardableResult
    package static func write(_ text: String) -> Bool {
        writeAll(Array(text.utf8), to: 1) == 0
    }

    /// Says that the program serves: `ready address=127.0.0.1:8443`.
    package static func ready(_ fields: [(name: String, value: String)]) {
        write("ready" + fields.map { " \($0.name)=\($0.value)" }.joined() + "\n")
    }
}

/// Standard error, for a program that has no journal yet.
package enum StandardError {
    /// Writes one line: an error, for systemd (sd-daemon(3)).
    package static func write(line: String) {
        let priority = Journal.systemdReadsStandardError() ? "<3>" : ""
        _ = writeAll(Array((priority + line + "\n").utf8), to: 2)
    }
}
