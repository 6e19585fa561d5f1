// Whole files: limits, replacing, locks.

import Foundation
import Testing
import Threads

@testable import Program

@Suite struct FileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `a file is read whole, with its mode`() throws {
        let text = String(repeating: "0123456789", count: 10_000)
        let path = try directory.file("f", text, mode: 0o640)
        let contents = try File.read(path, maximumBytes: 100_000)
        #expect(contents.bytes == Array(text.utf8))
        #expect(contents.status.mode == 0o640)
        #expect(contents.status == (try File.status(of: path)))
        #expect(!contents.status.isReadableByOthers)
        #expect(!contents.status.isWritableByOthers)
    }

    @Test(arguments: [(0o644, true, false), (0o660, false, true), (0o602, false, true)])
    func `a mode tells who else may`(mode: Int, readable: Bool, writable: Bool) throws {
        let status = try File.status(of: directory.file("f", "", mode: mode))
        #expect(status.isReadableByOthers == readable)
        #expect(status.isWritableByOthers == writable)
    }

    @Test func `a file beyond the limit is refused`() throws {
        let path = try directory.file("f", "12345")
        #expect(try File.read(path, maximumBytes: 5).bytes.count == 5)
        let error = #expect(throws: FileError.self) { try File.read(path, maximumBytes: 4) }
        #expect(error?.message == "cannot read '\(path)': it is larger than 4 bytes")
    }

    @Test func `a pipe is read as a file, and one that nobody writes to holds nobody up`() throws {
        let path = directory.path + "/pipe"
        #expect(mkfifo(path, 0o600) == 0)
        let error = #expect(throws: FileError.self) {
            try File.read(path, maximumBytes: 5, pipe: .milliseconds(1))
        }
        #expect(
            error?.message == "cannot read '\(path)': it is no file, and nothing came out of it")
        // Open at both ends, the writer finds its reader at once.
        let writer = open(path, O_RDWR)
        defer { close(writer) }
        #expect(write(writer, "12345", 5) == 5)
        let unfinished = #expect(throws: FileError.self) {
            try File.read(path, maximumBytes: 10, pipe: .milliseconds(1))
        }
        #expect(unfinished?.message == error?.message)
        let finished = Pipe()
        finished.fileHandleForWriting.write(Data("12345".utf8))
        try finished.fileHandleForWriting.close()
        let name = "/dev/fd/\(finished.fileHandleForReading.fileDescriptor)"
        #expect(try File.read(name, maximumBytes: 5).bytes == Array("12345".utf8))
    }

    @Test func `a missing file and a directory are told apart`() throws {
        let missing = #expect(throws: FileError.self) {
            try File.read("/nonexistent/f", maximumBytes: 1)
        }
        #expect(missing?.message == "cannot read '/nonexistent/f': No such file or directory")
        #expect(missing?.isMissingFile == true)
        let wrong = #expect(throws: FileError.self) {
            try File.read(directory.path, maximumBytes: 1)
        }
        #expect(wrong?.message == "cannot read '\(directory.path)': Is a directory")
        #expect(wrong?.isMissingFile == false)
        #expect(!File.exists("/nonexistent/f"))
        #expect(File.exists(directory.path))
    }

    @Test func `a replaced file has its mode and leaves nothing behind`() throws {
        let path = try directory.file("f", "old", mode: 0o600)
        let before = try File.status(of: path)
        try File.replace(path, with: Array("new".utf8), mode: 0o640, owner: nil)
        #expect(try directory.text(path) == "new")
        let after = try File.status(of: path)
        #expect(after.mode == 0o640)
        #expect(after.inode != before.inode)
        #expect(after != before)
        #expect(try FileManager.default.contentsOfDirectory(atPath: directory.path) == ["f"])
    }

    @Test func `replacing goes through a symbolic link`() throws {
        let path = try directory.file("f", "old")
        let link = directory.path + "/link"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: path)
        try File.replace(link, with: Array("new".utf8), mode: 0o600, owner: nil)
        #expect(try directory.text(path) == "new")
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: link) == path)
    }

    @Test func `a left-over of a crash is no obstacle`() throws {
        let path = try directory.file("f", "old")
        _ = try directory.file("f.new", "half")
        try File.replace(path, with: Array("new".utf8), mode: 0o600, owner: nil)
        #expect(try directory.text(path) == "new")
    }

    @Test func `a lock lets one in at a time`() throws {
        let path = directory.path + "/f"
        let inside = Monitor((now: 0, met: false, done: 0))
        for number in 0..<2 {
            try Thread.start(name: "locker-\(number)") {
                let outcome = try? File.locked(path) {
                    inside.withLock { $0.now += 1 }
                    inside.broadcast()
                    // Whoever is in waits for a second one, who must not come.
                    let met = inside.wait(until: .after(milliseconds: 100)) { state in
                        state.now == 2 ? true : nil
                    }
                    inside.withLock { state in
                        state.met = state.met || met == true
                        state.now -= 1
                    }
                }
                if outcome == nil { Issue.record("the lock was not to be had") }
                inside.withLock { $0.done += 1 }
                inside.broadcast()
            }
        }
        let met = inside.wait(until: .after(seconds: 30)) { $0.done == 2 ? $0.met : nil }
        #expect(met == false)
    }
}
