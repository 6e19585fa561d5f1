// System calls that a signal interrupts: all are made again, and nobody notices.
//
// The programs have no signal handlers, so that few calls ever are; strace(1) makes all of them.
// Needs root.

import Foundation
import Testing

struct InterruptedCallTests {
    /// What the kernel may interrupt (signal(7)), of what serves a request. Waits on a futex(2) are
    /// the C library's, which ends a program where one that wakes others fails so: none ever does.
    private static let calls = "recvfrom,sendto,read,write,accept4,poll,epoll_wait,rt_sigtimedwait"

    @Test(arguments: ["relay", "agent"])
    func `calls that are interrupted over and over cost no request`(which: String) throws {
        try stage { stage in
            let mirror = try stage.mirror(Load.origin(), relay: "workers = 16\n")
            #expect(try mirror.get("/load/x").status == 200)
            let program = which == "relay" ? mirror.relay.program : mirror.agent
            let strace = try stage.start(
                "strace",
                [
                    "-f", "-o", stage.path("trace"), "-p", "\(program.pid)", "-e",
                    "inject=\(InterruptedCallTests.calls):error=EINTR:when=2+3",
                ])
            try strace.expectLog("that it watches") { $0.contains("attached") }
            let load = Load(mirror)
            try load.waitForRight(100, .after(60))
            let tally = try load.stop()
            #expect(tally.right == tally.all, "\(tally)")
            strace.send(SIGINT)
            _ = try strace.exit()
            let trace = try String(contentsOfFile: stage.path("trace"), encoding: .utf8)
            let injected = trace.split(separator: "\n").filter { $0.hasSuffix("(INJECTED)") }
            #expect(injected.count > 100)
            #expect(injected.contains { $0.contains("recvfrom(") })
            #expect(try mirror.get("/load/x").status == 200)
            for program in [mirror.relay.program, mirror.agent] { #expect(program.unasked == nil) }
        }
    }

    @Test(arguments: ["flock", "unlink", "write", "fchmod", "fsync", "rename", "close"])
    func `a change of the keys killed at any of its calls has happened or not, and no more`(
        call: String
    ) throws {
        try stage { stage in
            let keys = stage.path("keys")
            // One from the beginning: an empty file must not pass for a change.
            var others = [try stage.addKey(role: "agent")]
            for number in 1...50 {
                let key = try stage.addKey(role: "client")
                let script = try stage.write(
                    "script",
                    // Under a tracer the address sanitizer cannot look for leaks.
                    "ASAN_OPTIONS=detect_leaks=0 strace -o /dev/null"
                        + " -e inject=\(call):signal=KILL:when=\(number)"
                        + " \(Built.control) key revoke --keys \(keys) \(key.id)\necho $?\n")
                let code = try stage.run("sh", [script]).output
                let list = try stage.run(Built.control, ["key", "list", "--keys", keys])
                #expect(list.exit == .code(0), "\(list.error)")
                let ids = list.output.split(separator: "\n").dropFirst().compactMap {
                    $0.split(separator: " ").first.map(String.init)
                }
                // The others stay, and nothing comes of itself.
                #expect(ids == others.map(\.id) || ids == (others + [key]).map(\.id))
                if ids.count > others.count { others.append(key) }
                if code == "0\n" {
                    #expect(ids.last != key.id)
                    return
                }
            }
            Issue.record("each of 50 calls of \(call) was the end")
        }
    }
}
