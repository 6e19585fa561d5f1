// Plays systemd for one program: the socket that NOTIFY_SOCKET names, and a hold on its threads.

import Foundation

final class ServiceManager: Sendable {
    let path: String
    private let notices = Signalled([String]())
    private let descriptor: Int32

    init(_ stage: Stage, _ name: String = "notify") throws {
        let path = stage.path(name)
        let made = closedOnExec { [socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)] }[0]
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) { pointer in
            pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(made, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw Failure("cannot bind \(path)") }
        self.path = path
        descriptor = made
        let notices = self.notices
        Thread.detachNewThread {
            var buffer = [UInt8](repeating: 0, count: 4096)
            while true {
                let count = recv(made, &buffer, buffer.count, 0)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { break }
                notices.withLock { $0.append(String(decoding: buffer[..<count], as: UTF8.self)) }
            }
            close(made)
        }
    }

    deinit { shutdown(descriptor, Int32(SHUT_RDWR)) }

    /// What the program has said so far.
    var heard: [String] { notices.withLock { $0 } }

    /// Waits until the program says what `matches`, looking at notices from number `start` on.
    ///
    /// - Returns: the number of the notice behind it.
    @discardableResult
    func expect(
        _ what: String, from start: Int = 0, where matches: (String) -> Bool
    ) throws -> Int {
        let found = notices.wait(.patient) { notices in
            notices.dropFirst(start).firstIndex(where: matches)
        }
        guard let found else { throw Failure("not heard: '\(what)', but \(heard)") }
        return found + 1
    }

    @discardableResult
    func expect(_ notice: String, from start: Int = 0) throws -> Int {
        try expect(notice, from: start) { $0 == notice }
    }

    /// How many signs of life there were from number `start` on.
    func signsOfLife(from start: Int) -> Int {
        heard.dropFirst(start).count { $0 == "WATCHDOG=1" }
    }

    /// Starts programs that have this one.
    func programs(_ stage: Stage, watchdogMicroseconds: Int? = nil) throws -> Programs {
        let watchdog = watchdogMicroseconds.map { "WATCHDOG_USEC=\($0) " } ?? ""
        return try stage.scripted { "env NOTIFY_SOCKET=\(path) \(watchdog)\($0) \"$@\"" }
    }
}

extension Stage {
    /// Makes the threads of `program` whose names begin so stand still, until what is returned ends.
    func hold(_ program: Program, threads prefix: String) throws -> Program {
        let script = """
            import ctypes, os, signal, sys
            process, prefix = sys.argv[1:]
            ptrace = ctypes.CDLL(None, use_errno=True).ptrace
            ptrace.restype = ctypes.c_long
            ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
            PTRACE_SEIZE, PTRACE_INTERRUPT, WALL = 0x4206, 0x4207, 0x40000000
            held = 0
            for thread in map(int, os.listdir(f"/proc/{process}/task")):
                with open(f"/proc/{process}/task/{thread}/comm") as file:
                    if not file.read().startswith(prefix):
                        continue
                for request in PTRACE_SEIZE, PTRACE_INTERRUPT:
                    if ptrace(request, thread, None, None):
                        sys.exit("ptrace: " + os.strerror(ctypes.get_errno()))
                os.waitpid(thread, WALL)
                held += 1
            print("held", held, flush=True)
            signal.pause()
            """
        let holder = try start("python3", ["-c", script, "\(program.pid)", prefix])
        let line = try holder.expectReady("held ")
        guard line != "held 0" else { throw Failure("\(program.name) has no thread '\(prefix)'") }
        return holder
    }
}
