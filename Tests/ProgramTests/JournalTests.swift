// What reaches standard error: escaping, levels, order, drops, and the last line.

import Foundation
import Testing
import Threads

@testable import Program

/// A pipe in place of standard error.
private struct Capture {
    let pipe = Pipe()

    var descriptor: Int32 { pipe.fileHandleForWriting.fileDescriptor }

    /// Everything written until the writing end is closed here.
    func text() throws -> String {
        try pipe.fileHandleForWriting.close()
        return String(decoding: try pipe.fileHandleForReading.readToEnd() ?? Data(), as: UTF8.self)
    }
}

private func journal(
    _ capture: Capture, level: Journal.Level = .debug, maximumBytes: Int = 256 * 1024,
    systemd: Bool = false
) throws -> Journal {
    try Journal(
        program: "test", level: level, descriptor: capture.descriptor, maximumBytes: maximumBytes,
        systemd: systemd, socket: "/nobody/listens/here")
}

@Suite struct JournalTests {
    @Test func `lines come out in order, whole, with their fields`() throws {
        let capture = Capture()
        let journal = try journal(capture)
        journal.info("request") { line in
            line.field("MIRROR", "alice/prom")
            line.field("STATUS", 502)
            line.field("ERROR", "connection_refused" as StaticString)
            line.field("DURATION_MS", milliseconds: 12_034_567)
        }
        journal.warning("session ended")
        journal.error("cannot go on") { $0.field("COUNT", -5) }
        journal.debug("detail")
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(
            try capture.text() == """
                request MIRROR=alice/prom STATUS=502 ERROR=connection_refused DURATION_MS=12.034
                warning: session ended
                error: cannot go on COUNT=-5
                debug: detail

                """)
    }

    @Test func `a level hides those after it`() throws {
        let capture = Capture()
        let journal = try journal(capture, level: .warning)
        journal.info("hidden")
        journal.debug("hidden")
        journal.warning("shown")
        #expect(!journal.writes(.info))
        #expect(journal.writes(.error))
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(try capture.text() == "warning: shown\n")
    }

    @Test func `under systemd, where journald takes no entries, each line carries its priority`()
        throws
    {
        let capture = Capture()
        let journal = try journal(capture, systemd: true)
        journal.error("a")
        journal.warning("b")
        journal.info("c")
        journal.debug("d")
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(try capture.text() == "<3>error: a\n<4>warning: b\n<6>c\n<7>debug: d\n")
    }

    @Test(arguments: [
        ("/api/v1/query", "/api/v1/query"),
        ("", #""""#),
        ("a b", #""a b""#),
        ("a=b", #""a=b""#),
        (#"say "hi""#, #""say \"hi\"""#),
        (#"back\slash"#, #""back\\slash""#),
        ("x\nerror: forged STATUS=200", #""x\nerror: forged STATUS=200""#),
        ("x\r\n\ty", #""x\r\n\ty""#),
        ("\u{1B}[2J", #""\x1b[2J""#),
        ("nul\0", #""nul\x00""#),
        ("del\u{7F}", #""del\x7f""#),
        ("ü", #""\xc3\xbc""#),
        ("\u{9B}31m", #""\xc2\x9b31m""#),
    ])
    func `bytes from the network cannot forge a line or a field`(
        value: String, written: String
    ) throws {
        let capture = Capture()
        let journal = try journal(capture)
        journal.info("request") { $0.field("TARGET", value) }
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(try capture.text() == "request TARGET=\(written)\n")
    }

    @Test func `every byte alone stays inside its field`() throws {
        for byte in UInt8.min...UInt8.max {
            var line = JournalLine(prefix: "", message: "m")
            line.field("A", [byte])
            line.field("B", 1)
            let text = line.bytes
            #expect(text.allSatisfy { $0 >= 0x20 && $0 < 0x7F })
            #expect(text.starts(with: Array("m A=".utf8)))
            #expect(text.suffix(4).elementsEqual(" B=1".utf8))
            if byte == UInt8(ascii: " ") { #expect(text.contains(UInt8(ascii: "\""))) }
        }
    }

    @Test func `a long value is cut and says so`() throws {
        var line = JournalLine(prefix: "", message: "m")
        line.field("TARGET", [UInt8](repeating: 0x61, count: JournalLine.maximumValueBytes + 1))
        let kept = String(repeating: "a", count: JournalLine.maximumValueBytes)
        #expect(String(decoding: line.bytes, as: UTF8.self) == "m TARGET=\"\(kept)...\"")
    }

    @Test(arguments: [
        (0, "0.000"), (999, "0.000"), (34_000, "0.034"), (1000, "0.001"), (123_456_789, "123.456"),
        (-5, "0.000"),
    ])
    func `times have three decimals`(nanoseconds: Int, written: String) {
        var line = JournalLine(prefix: "", message: "m")
        line.field("MS", milliseconds: nanoseconds)
        #expect(String(decoding: line.bytes, as: UTF8.self) == "m MS=\(written)")
    }

    @Test(arguments: [0, 7, Int.max, Int.min, -1])
    func `whole numbers are written whole`(number: Int) {
        var line = JournalLine(prefix: "", message: "m")
        line.field("N", number)
        #expect(String(decoding: line.bytes, as: UTF8.self) == "m N=\(number)")
    }

    @Test func `a reader that takes nothing blocks nobody, drops are counted, the error stays`()
        throws
    {
        let capture = Capture()
        let journal = try journal(capture, maximumBytes: 4096)
        // More than pipe and buffer hold; nobody reads yet, and this thread must not stop. How much
        // the journal writes meanwhile depends on when its thread runs.
        let line = String(repeating: "x", count: 1000)
        var flooded = 0
        repeat {
            for _ in 0..<1000 { journal.info("flood") { $0.field("X", line) } }
            flooded += 1000
        } while journal.flush(until: .after(milliseconds: 100))
        journal.error("the end")

        // Now somebody reads, on another thread, until the journal is through.
        let reading = capture.pipe.fileHandleForReading
        let read = Monitor<Data?>(nil)
        try Thread.start(name: "reader") {
            let all = try? reading.readToEnd()
            read.withLock { $0 = all ?? Data() }
            read.broadcast()
        }
        #expect(journal.flush(until: .after(seconds: 60)))
        try capture.pipe.fileHandleForWriting.close()
        let all = read.wait(until: .after(seconds: 60)) { $0 }
        let lines = String(decoding: all ?? Data(), as: UTF8.self).split(separator: "\n")
        let written = lines.count { $0 == "flood X=\(line)" }
        let dropped = lines.compactMap { line in
            let prefix = "warning: journal lines lost COUNT="
            return line.hasPrefix(prefix) ? Int(line.dropFirst(prefix.count)) : nil
        }
        #expect(lines.contains("error: the end"))
        #expect(written > 0)
        #expect(written + dropped.reduce(0, +) == flooded)
        #expect(lines.count == written + dropped.count + 1)
    }

    @Test func `lines that are refused are counted, and told of when one is taken again`() throws {
        let capture = Capture()
        let full = open("/dev/full", O_WRONLY)
        let place = dup(full)
        let journal = try Journal(
            program: "test", level: .info, descriptor: place, systemd: false)
        for _ in 1...3 { journal.info("lost") }
        #expect(journal.flush(until: .after(seconds: 10)))
        journal.warning("lost")
        #expect(journal.flush(until: .after(seconds: 10)))
        #expect(journal.lostLines.current == 4)

        dup2(capture.descriptor, place)
        journal.info("kept")
        #expect(journal.flush(until: .after(seconds: 10)))
        journal.info("kept too")
        #expect(journal.flush(until: .after(seconds: 10)))
        dup2(full, place)
        #expect(
            try capture.text() == """

                kept
                warning: journal lines lost COUNT=4
                kept too

                """)
        #expect(journal.lostLines.current == 4)
    }

    @Test func `lines of many threads are whole and none is lost`() throws {
        let capture = Capture()
        let journal = try journal(capture)
        let done = Monitor(0)
        for thread in 0..<4 {
            try Thread.start(name: "writer-\(thread)") {
                for number in 0..<100 {
                    journal.info("line") {
                        $0.field("THREAD", thread)
                        $0.field("NUMBER", number)
                    }
                }
                done.withLock { $0 += 1 }
                done.broadcast()
            }
        }
        #expect(done.wait(until: .after(seconds: 60)) { $0 == 4 ? true : nil } == true)
        #expect(journal.flush(until: .after(seconds: 60)))
        let lines = try capture.text().split(separator: "\n").map(String.init)
        for thread in 0..<4 {
            let own = lines.filter { $0.hasPrefix("line THREAD=\(thread) ") }
            #expect(own == (0..<100).map { "line THREAD=\(thread) NUMBER=\($0)" })
        }
        #expect(lines.count == 400)
    }
}
