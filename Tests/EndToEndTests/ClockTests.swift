// A clock that is set while the programs run: no wait depends on it, only the ends of keys do.

import Foundation
import Testing

struct ClockTests {
    /// Stands before the C library: the time of day is that of a file's offset.
    private static let clock = """
        #include <fcntl.h>
        #include <stdlib.h>
        #include <sys/syscall.h>
        #include <time.h>
        #include <unistd.h>

        int clock_gettime(clockid_t clock, struct timespec *now) {
            long status = syscall(SYS_clock_gettime, clock, now);
            if (status == 0 && clock == CLOCK_REALTIME) {
                char text[32] = "";
                int file = open(getenv("CLOCK_OFFSET"), O_RDONLY | O_CLOEXEC);
                if (file < 0 || read(file, text, sizeof text - 1) < 0) abort();
                close(file);
                now->tv_sec += atol(text);
            }
            return (int)status;
        }

        time_t time(time_t *out) {
            struct timespec now;
            clock_gettime(CLOCK_REALTIME, &now);
            if (out) *out = now.tv_sec;
            return now.tv_sec;
        }

        """

    @Test func `a clock that jumps ends no session and no request, only keys that have expired`()
        throws
    {
        try stage { stage in
            let source = try stage.write("clock.c", ClockTests.clock)
            // The compiler of the toolchain that runs this test.
            let path = ProcessInfo.processInfo.environment["PATH"] ?? ""
            let built = try stage.run(
                "sh", ["-c", "clang -shared -fPIC -o \(stage.path("clock.so")) \(source)"],
                environment: ["PATH": path])
            guard built.exit == .code(0) else { throw Failure("clang: \(built.error)") }
            let offset = try stage.write("offset", "0")
            let variables = "LD_PRELOAD=\(stage.path("clock.so")) CLOCK_OFFSET=\(offset)"

            let hold = Gate()
            let origin = try Origin { visit in
                while let request = try visit.readRequest(.long) {
                    if request.target == "/held" { try hold.wait("the clock has been set") }
                    try visit.connection.write(Answer(200, body: request.target).bytes(to: "GET"))
                }
            }
            let quick = "heartbeat-interval = 1s\nheartbeat-timeout = 1s\n"
            let expiring = try stage.addKey(role: "client", ["--expires", "30d"])
            let mirror = try stage.mirror(
                origin, programs: stage.scripted { "env \(variables) \($0) \"$@\"" }, relay: quick,
                agent: ["--config", try stage.write("agent.conf", quick)])
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/held"))
            _ = try origin.waitForRequest { $0.target == "/held" }

            for days in [60, 0, 3650, -3650, 31, -1] {
                let seen = mirror.relay.program.log.lines.count
                try stage.write("offset.new", "\(days * 86_400)")
                rename(stage.path("offset.new"), offset)
                #expect(try mirror.get("/x").status == 200)
                let isExpired = days >= 30
                #expect(
                    try ask(mirror.relay, mirror.path("/x"), [bearer(expiring)]).status
                        == (isExpired ? 401 : 200), "\(days) days")
                // It looks twice a second: heartbeats come and go meanwhile.
                let valid = isExpired ? 2 : 3
                try mirror.relay.program.expectLog("\(valid) keys", from: seen) {
                    $0 == "keys changed KEYS=\(valid)"
                }
            }
            hold.open()
            #expect(try client.readResponse().text == "/held")
            for program in [mirror.relay.program, mirror.agent] {
                #expect(!program.log.lines.contains { $0.contains("session ended") })
                #expect(!program.log.lines.contains { $0.contains("disconnected") })
            }
        }
    }
}
