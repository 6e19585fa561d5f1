// Standard error that takes nothing, or is not there: requests are answered as ever, no byte of a
// line gets anywhere else, and the lines that are lost are counted.

import Foundation
import Testing

struct JournalLossTests {
    @Test(arguments: ["2>/dev/full", "2>&-", "<&- 2>&-"])
    func `programs that cannot write their journal serve, and count its lines`(
        redirection: String
    ) throws {
        try stage { stage in
            let mirror = try mirror(stage, redirection)
            for number in 1...20 {
                #expect(try mirror.get("/\(number)").text == "/\(number)")
            }
            // One line for each at the least.
            try expectLost(stage, mirror) { $0 >= 20 }
        }
    }

    @Test func `a standard place that is closed is never that of a connection`() throws {
        try stage { stage in
            let mirror = try mirror(stage, "<&- 2>&-")
            #expect(try mirror.get("/x").text == "/x")
            for program in [mirror.relay.program, mirror.agent] {
                for number in [0, 2] {
                    let target = try FileManager.default.destinationOfSymbolicLink(
                        atPath: "/proc/\(program.pid)/fd/\(number)")
                    #expect(target == "/dev/null", "\(program.name): \(number)")
                }
            }
        }
    }

    @Test func `a journal whose reader has gone holds up no request`() throws {
        try stage { stage in
            let pipes = try pipes(stage)
            let mirror = try mirror(stage, "2>$0.pipe")
            #expect(try mirror.get("/x").text == "/x")
            pipes.forEach { close($0) }
            for number in 1...20 {
                #expect(try mirror.get("/\(number)").text == "/\(number)")
            }
            try expectLost(stage, mirror) { $0 >= 19 }
        }
    }

    @Test func `a journal that nobody reads holds up no request, and tells later what is missing`()
        throws
    {
        try stage { stage in
            let pipes = try pipes(stage)
            let mirror = try mirror(stage, "2>$0.pipe")
            // More than pipe and buffer hold: 64 and 256 KiB.
            let path = "/" + String(repeating: "x", count: 900)
            let client = try mirror.connect()
            for _ in 1...600 {
                try client.write(mirror.request("GET", path))
                #expect(try client.readResponse().text == path)
            }
            try expectLost(stage, mirror) { $0 > 0 }
            for name in ["magicmirrord", "magicmirror"] {
                let descriptor = closedOnExec { [open(stage.path(name + ".pipe"), O_RDONLY)] }[0]
                let line = Capture(reading: descriptor).line {
                    $0.hasPrefix(
                        "warning: journal lines lost COUNT=")
                }
                #expect(line != nil, "\(name)")
            }
            pipes.forEach { close($0) }
        }
    }

    /// A pipe for each program's standard error, which the caller holds open.
    private func pipes(_ stage: Stage) throws -> [Int32] {
        ["magicmirrord", "magicmirror"].map { name in
            let path = stage.path(name + ".pipe")
            mkfifo(path, 0o600)
            // For both ways, or each end would wait for the other.
            return closedOnExec { [open(path, O_RDWR | O_NONBLOCK)] }[0]
        }
    }

    /// Relay and agent with their standard error redirected; `$0` is the script that starts them.
    private func mirror(_ stage: Stage, _ redirection: String) throws -> Mirror {
        try stage.mirror(
            .echoingTarget(), programs: stage.scripted { "\($0) \"$@\" \(redirection)" },
            relay: "admin-listen = unix:\(stage.path("relay"))\n",
            agent: ["--metrics-listen", "unix:\(stage.path("agent"))"])
    }

    private func expectLost(
        _ stage: Stage, _ mirror: Mirror, _ isRight: (Int) -> Bool
    ) throws {
        for (socket, name) in [
            ("relay", "journal_lost_lines_total"), ("agent", "agent_journal_lost_lines_total"),
        ] {
            let deadline = Deadline.patient
            var lost: Int?
            repeat {
                // The next request: the lines of the one before may be on their way.
                _ = try mirror.get("/y")
                lost = try stage.metric(name, at: stage.path(socket))
            } while !isRight(lost ?? 0) && !deadline.hasPassed
            #expect(isRight(lost ?? 0), "\(socket): \(lost ?? -1)")
        }
    }
}
