// What goes to the service manager, and when. Here the test is the service manager.

import Glibc
import Streams
import Testing
import Threads

@testable import Program

@Suite struct NotifySocketTests {
    /// A socket of datagrams in a temporary directory, or in the abstract namespace.
    private final class Receiver {
        let name: String
        private let directory: TemporaryDirectory
        private let descriptor: Int32

        init(isAbstract: Bool = false) throws {
            directory = try TemporaryDirectory()
            let path = directory.path + "/notify"
            name = isAbstract ? "@" + path : path
            descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
            var address = sockaddr_un()
            address.sun_family = sa_family_t(AF_UNIX)
            let bytes = isAbstract ? [0] + Array(path.utf8) : Array(path.utf8)
            withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
            let length = MemoryLayout<sockaddr_un>.offset(of: \.sun_path)! + bytes.count
            let status = withUnsafePointer(to: &address) { pointer in
                pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                    bind(descriptor, $0, socklen_t(isAbstract ? length : length + 1))
                }
            }
            try #require(status == 0)
        }

        deinit { close(descriptor) }

        func environment(_ more: [String: String] = [:]) -> Environment {
            Environment(["NOTIFY_SOCKET": name].merging(more) { $1 })
        }

        /// What has come, in its order. Datagrams to a unix socket are there when they were sent.
        func all() -> [String] {
            var found: [String] = []
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, Int32(MSG_DONTWAIT))
                if count < 0 { return found }
                found.append(String(decoding: buffer[..<count], as: UTF8.self))
            }
        }
    }

    @Test(arguments: [false, true])
    func `a service manager is told at its path or in the abstract namespace`(isAbstract: Bool)
        throws
    {
        let receiver = try Receiver(isAbstract: isAbstract)
        let socket = NotifySocket(receiver.environment())
        #expect(socket.ready() == nil)
        socket.status("serving, sessions: 2")
        socket.stopping(within: .seconds(30))
        #expect(
            receiver.all() == [
                "READY=1", "STATUS=serving, sessions: 2",
                "STOPPING=1\nEXTEND_TIMEOUT_USEC=30000000",
            ])
    }

    @Test func `a status is sent when it says something new`() throws {
        let receiver = try Receiver()
        let socket = NotifySocket(receiver.environment())
        for text in ["one", "one", "two", "one"] { socket.status(text) }
        #expect(receiver.all() == ["STATUS=one", "STATUS=two", "STATUS=one"])
    }

    @Test func `a reload is told only while the program serves`() throws {
        let receiver = try Receiver()
        let socket = NotifySocket(receiver.environment())
        let reload = {
            socket.reloading()
            socket.reloaded()
        }
        reload()
        #expect(receiver.all() == [])
        _ = socket.ready()
        #expect(receiver.all() == ["READY=1"])
        let before = Deadline.now.nanoseconds / 1000
        reload()
        let told = receiver.all()
        #expect(told.count == 2 && told.last == "READY=1")
        let lines = told.first?.split(separator: "\n").map(String.init) ?? []
        #expect(lines.first == "RELOADING=1" && lines.count == 2)
        let moment = Int(lines.last?.dropFirst("MONOTONIC_USEC=".count) ?? "") ?? 0
        #expect(moment >= before && moment <= Deadline.now.nanoseconds / 1000)
        socket.stopping(within: .seconds(1))
        _ = receiver.all()
        reload()
        #expect(receiver.all() == [])
    }

    @Test(arguments: [nil, "", "notify", "vsock:2:1234", "/" + String(repeating: "x", count: 200)])
    func `without a socket that could be one nothing is sent, and nothing is wrong`(name: String?) {
        let socket = NotifySocket(Environment(name.map { ["NOTIFY_SOCKET": $0] } ?? [:]))
        #expect(socket.ready() == nil)
        socket.status("serving")
        socket.stopping(within: .seconds(1))
    }

    @Test func `whoever does not listen is named`() {
        let socket = NotifySocket(Environment(["NOTIFY_SOCKET": "/nonexistent/notify"]))
        #expect(socket.ready()?.description == "connection refused")
    }

    @Test func `a full queue holds up no status, and is given what must not be missed`() throws {
        let receiver = try Receiver()
        let socket = NotifySocket(receiver.environment())
        // The kernel's limit is some hundreds at most.
        for number in 0..<5000 { socket.status("\(number)") }
        let told = Monitor<Bool?>(nil)
        try Thread.start(name: "ready") {
            // It waits for a second; where this machine is slower than that, once more.
            var isTold = false
            let end = Deadline.after(seconds: 60)
            while !isTold, !end.hasPassed { isTold = socket.ready() == nil }
            let result = isTold
            told.withLock { $0 = result }
            told.broadcast()
        }
        var heard: [String] = []
        let end = Deadline.after(seconds: 60)
        while heard.last != "READY=1", !end.hasPassed { heard += receiver.all() }
        #expect(heard.first == "STATUS=0" && heard.count < 5000)
        #expect(told.wait(until: .after(seconds: 60)) { $0 } == true)
    }

    // MARK: the watchdog

    @Test(
        arguments: [
            ([:], nil),
            (["WATCHDOG_USEC": "30000000"], Duration.seconds(30)),
            (["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "\(getpid())"], .seconds(30)),
            (["WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"], nil),
            (["WATCHDOG_USEC": "0"], nil),
            (["WATCHDOG_USEC": "soon"], nil),
            (["WATCHDOG_USEC": "-1"], nil),
        ] as [([String: String], Duration?)])
    func `a watchdog has the time that is meant for this process`(
        variables: [String: String], timeout: Duration?
    ) {
        #expect(NotifySocket(Environment(variables)).watchdogTimeout == timeout)
    }

    @Test func `signs of life have half of the time from one to the next`() throws {
        let receiver = try Receiver()
        var watchdog = Watchdog(
            NotifySocket(receiver.environment(["WATCHDOG_USEC": "3600000000"])))
        #expect(watchdog.isDue)
        watchdog.feed()
        #expect(!watchdog.isDue)
        #expect(receiver.all() == ["WATCHDOG=1"])
        var hasty = Watchdog(NotifySocket(receiver.environment(["WATCHDOG_USEC": "1"])))
        hasty.feed()
        #expect(hasty.isDue)
        #expect(!Watchdog(NotifySocket(receiver.environment())).isDue)
    }
}
