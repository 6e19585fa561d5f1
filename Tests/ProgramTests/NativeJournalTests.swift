// What journald gets: entries, held against a reader of its protocol that is written here, and the
// way to a receiver that is slow, gone, or another one than before.

import Foundation
import Testing
import Threads

@testable import Program
@testable import Streams

/// A datagram socket in journald's place.
private final class Receiver {
    let path: String
    private let directory: TemporaryDirectory
    private var descriptor: Int32

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/journald"
        descriptor = -1
        bind()
    }

    func bind() {
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        let address = try! SocketAddress.unix(path: path)
        #expect(address.withPointer { Glibc.bind(descriptor, $0, $1) } == 0)
    }

    /// The socket is gone, and with it what was not received.
    func vanish() {
        close(descriptor)
        unlink(path)
    }

    deinit { vanish() }

    /// The fields of the next entry but those of every one; nil where none comes.
    func next(_ deadline: Deadline = .after(seconds: 60)) throws -> [Field]? {
        guard poll(descriptor, for: .readable, until: deadline).contains(.readable) else {
            return nil
        }
        var bytes = [UInt8](repeating: 0, count: 256 * 1024)
        let count = recv(descriptor, &bytes, bytes.count, 0)
        var fields = try fields(of: Array(bytes[..<max(count, 0)]))
        for (name, value) in [("SYSLOG_IDENTIFIER", "test"), ("SYSLOG_FACILITY", "3")] {
            #expect(fields.removeFirst() == Field(name, value))
        }
        return fields
    }

    func message(_ deadline: Deadline = .after(seconds: 60)) throws -> String? {
        try next(deadline)?.first { $0.name == "MESSAGE" }.map { text($0.value) }
    }
}

private struct Field: Equatable {
    let name: String
    let value: [UInt8]

    init(_ name: String, _ value: [UInt8]) {
        self.name = name
        self.value = value
    }

    init(_ name: String, _ value: String) { self.init(name, Array(value.utf8)) }
}

private struct NotAnEntry: Error {
    let bytes: [UInt8]
}

/// Reads an entry as journald does: lines `NAME=value`, or a line `NAME` and a counted value.
private func fields(of entry: [UInt8]) throws -> [Field] {
    var fields: [Field] = []
    var rest = entry[...]
    while !rest.isEmpty {
        guard let end = rest.firstIndex(of: 0x0A) else { throw NotAnEntry(bytes: entry) }
        let line = rest[..<end]
        let name: ArraySlice<UInt8>
        let value: ArraySlice<UInt8>
        rest = rest[(end + 1)...]
        if let equals = line.firstIndex(of: 0x3D) {
            name = line[..<equals]
            value = line[(equals + 1)...]
        } else {
            name = line
            let count = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
            rest = rest.dropFirst(8)
            guard count < rest.count, rest[rest.startIndex + count] == 0x0A else {
                throw NotAnEntry(bytes: entry)
            }
            value = rest.prefix(count)
            rest = rest.dropFirst(count + 1)
        }
        // What has another name journald throws away, or keeps for itself.
        guard text(Array(name)).wholeMatch(of: /[A-Z][A-Z0-9_]{0,63}/) != nil else {
            throw NotAnEntry(bytes: entry)
        }
        fields.append(Field(text(Array(name)), Array(value)))
    }
    return fields
}

private func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }

/// The entries of lines that begin with their priorities.
private func entries(_ lines: [UInt8]) throws -> [[Field]] {
    var entries = JournalEntries(program: "test")
    var all: [[Field]] = []
    var at = 0
    while at < lines.count {
        at = entries.take(from: lines, at: at)
        for range in entries.ranges { all.append(try fields(of: Array(entries.bytes[range]))) }
    }
    return all
}

/// The bytes that a value stands for.
private func unescaped(_ value: [UInt8]) -> [UInt8] {
    var bytes: [UInt8] = []
    var rest = value[...]
    while let byte = rest.popFirst() {
        guard byte == UInt8(ascii: "\\"), let kind = rest.popFirst() else {
            bytes.append(byte)
            continue
        }
        switch kind {
        case UInt8(ascii: "n"): bytes.append(0x0A)
        case UInt8(ascii: "r"): bytes.append(0x0D)
        case UInt8(ascii: "t"): bytes.append(0x09)
        case UInt8(ascii: "x"):
            bytes.append(UInt8(text(Array(rest.prefix(2))), radix: 16) ?? 0)
            rest = rest.dropFirst(2)
        default: bytes.append(kind)
        }
    }
    return bytes
}

private func expectWhole(_ value: [UInt8]) throws {
    var line = JournalLine(prefix: "<6>", message: "two words")
    line.field("BEFORE", 1)
    line.field("VALUE", value)
    line.field("AFTER", "a b")
    let written = line.bytes
    line.end()
    let found = try entries(line.bytes)
    #expect(found.count == 1)
    let entry = try #require(found.first)
    try #require(
        entry.map(\.name) == [
            "SYSLOG_IDENTIFIER", "SYSLOG_FACILITY", "PRIORITY", "MESSAGE", "BEFORE", "VALUE",
            "AFTER",
        ])
    #expect(entry[3].value == Array(written.dropFirst(3)))
    #expect(entry[4].value == Array("1".utf8))
    #expect(unescaped(entry[5].value) == value)
    #expect(entry[5].value.allSatisfy { (0x20..<0x7F).contains($0) })
    #expect(entry[6].value == Array("a b".utf8))
}

@Suite struct NativeJournalTests {
    @Test func `a line is an entry with its priority, its text and its fields`() throws {
        var line = JournalLine(prefix: "<4>warning: ", message: "session lost, asking another")
        line.field("MIRROR", "alice/prom")
        line.field("REASON", "no agent, \"none\"")
        line.field("EMPTY", "")
        line.field("ERROR", "connection_refused" as StaticString)
        line.field("DURATION_MS", milliseconds: 1_500_000)
        line.end()
        let message = """
            warning: session lost, asking another MIRROR=alice/prom REASON="no agent, \\"none\\"" \
            EMPTY="" ERROR=connection_refused DURATION_MS=1.500
            """
        #expect(
            try entries(line.bytes) == [
                [
                    Field("SYSLOG_IDENTIFIER", "test"), Field("SYSLOG_FACILITY", "3"),
                    Field("PRIORITY", "4"), Field("MESSAGE", message),
                    Field("MIRROR", "alice/prom"), Field("REASON", #"no agent, \"none\""#),
                    Field("EMPTY", ""), Field("ERROR", "connection_refused"),
                    Field("DURATION_MS", "1.500"),
                ]
            ])
        #expect(
            try entries(Array("<6>\n<7>debug: a b\n".utf8)).map { $0.map(\.value).map(text) }
                == [["test", "3", "6", ""], ["test", "3", "7", "debug: a b"]])
    }

    @Test func `every byte in every place of a value stays in its field`() throws {
        for byte in UInt8.min...UInt8.max {
            try expectWhole([byte])
            for place in 0..<9 {
                var value = Array("plainword".utf8)
                value[place] = byte
                try expectWhole(value)
                value = Array("two words".utf8)
                value[place] = byte
                try expectWhole(value)
            }
        }
    }

    @Test func `bytes that mean something stay in their field in any order`() throws {
        let odd = Array("\"\\ =\n\0xA\u{7F}".utf8) + [0xFF]
        for first in odd {
            for second in odd {
                for third in odd { try expectWhole([first, second, third]) }
            }
        }
    }

    @Test(arguments: [
        "x\nSTATUS=200\nPRIORITY=0", "x\nSTATUS\n\u{3}\0\0\0\0\0\0\0200\n", "\" STATUS=200 X=\"",
        "\\\" STATUS=200", "a STATUS=200", "<0>\n<0>forged",
    ])
    func `a value cannot be a field of its own`(value: String) throws {
        try expectWhole(Array(value.utf8))
    }

    @Test func `lines are entries in order, however many go out at once`() throws {
        let receiver = try Receiver()
        let journal = try Journal(
            program: "test", level: .debug, systemd: true, socket: receiver.path)
        for number in 0..<500 { journal.info("line") { $0.field("NUMBER", number) } }
        journal.error("last")
        for number in 0..<500 {
            #expect(
                try receiver.next() == [
                    Field("PRIORITY", "6"), Field("MESSAGE", "line NUMBER=\(number)"),
                    Field("NUMBER", "\(number)"),
                ])
        }
        #expect(try receiver.message() == "error: last")
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(journal.lostLines.current == 0)
    }

    @Test func `a journald that takes nothing blocks nobody, and is told what it has missed`()
        throws
    {
        let receiver = try Receiver()
        let journal = try Journal(
            program: "test", level: .debug, maximumBytes: 4096, systemd: true,
            socket: receiver.path)
        // Far more than its queue and the buffer hold; nobody receives, and this thread must not stop.
        let value = String(repeating: "x", count: 1000)
        for _ in 0..<1000 { journal.info("flood") { $0.field("X", value) } }
        journal.error("the end")
        #expect(!journal.flush(until: .after(milliseconds: 1)))
        let lost = journal.lostLines.current
        #expect(lost > 0)

        var received = 0
        var told = 0
        var sawError = false
        while !sawError || received + told < 1000, let entry = try receiver.next() {
            let message = entry.first { $0.name == "MESSAGE" }.map { text($0.value) } ?? ""
            if message == "flood X=\(value)" { received += 1 }
            if message == "error: the end" { sawError = true }
            if message.hasPrefix("warning: journal lines lost ") {
                told += entry.last.flatMap { Int(text($0.value)) } ?? 0
            }
        }
        #expect(sawError)
        #expect(told == lost)
        #expect(received + told == 1000)
        #expect(journal.flush(until: .after(seconds: 60)))
    }

    @Test func `what is written while journald is away arrives when it is back`() throws {
        let receiver = try Receiver()
        let journal = try Journal(
            program: "test", level: .debug, systemd: true, socket: receiver.path)
        journal.error("before")
        #expect(try receiver.message() == "error: before")
        receiver.vanish()
        for number in 0..<10 { journal.error("away") { $0.field("NUMBER", number) } }
        #expect(!journal.flush(until: .after(milliseconds: 300)))
        receiver.bind()
        for number in 0..<10 {
            #expect(try receiver.message() == "error: away NUMBER=\(number)")
        }
        #expect(journal.flush(until: .after(seconds: 60)))
        #expect(journal.lostLines.current == 0)
    }

    @Test func `the longest line there can be fits a datagram`() throws {
        let receiver = try Receiver()
        let journal = try Journal(
            program: "test", level: .debug, systemd: true, socket: receiver.path)
        let value = [UInt8](repeating: 0, count: 4096)
        journal.info("long") { line in for _ in 0..<100 { line.field("X", value) } }
        let entry = try #require(try receiver.next())
        let message = try #require(entry.first { $0.name == "MESSAGE" })
        #expect(message.value.count > JournalLine.maximumBytes)
        #expect(message.value.count < JournalLine.maximumBytes + 8192)
        #expect(entry.filter { $0.name == "X" }.count > 5)
        #expect(journal.lostLines.current == 0)
    }

    @Test func `a line that no datagram holds is lost alone, and counted`() throws {
        let receiver = try Receiver()
        guard var journald = NativeJournal(program: "test", path: receiver.path) else {
            Issue.record("nobody takes entries")
            return
        }
        let long = "<6>long X=" + String(repeating: "x", count: 1024 * 1024)
        #expect(journald.write(Array("<6>a\n\(long)\n\(long)\n<6>b\n".utf8)) == 2)
        #expect(try receiver.message() == "a")
        #expect(try receiver.message() == "b")
    }

    @Test func `where nobody takes entries there is no native journal`() throws {
        let receiver = try Receiver()
        receiver.vanish()
        for path in [receiver.path, "", "/"] {
            let journald = NativeJournal(program: "test", path: path)
            let isThere = journald != nil
            #expect(!isThere, "\(path)")
        }
    }
}
