// A running program: spawned with its outputs captured, waited for, ended by its pid.
//
// Called by: Stage, which ends what a test has started. Threads: one for each output and one that
// waits for the exit.
// Hard: descriptors must not leak into programs spawned at the same moment by another test, or
// nobody sees the end of a stream: each is made and marked under `spawning`.

import Foundation
import Synchronization

/// Held while a program is spawned and while a descriptor is made and marked close-on-exec.
let spawning = NSLock()

/// Makes descriptors by `body`, of which none is inherited by another program.
func closedOnExec(_ body: () -> [Int32]) -> [Int32] {
    spawning.withLock {
        let made = body()
        for descriptor in made where descriptor >= 0 {
            _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        }
        return made
    }
}

final class Program: Sendable {
    enum Exit: Equatable {
        case code(Int32)
        case signal(Int32)
    }

    let name: String
    let pid: pid_t
    let output: Capture
    let log: Capture
    private let exit: Signalled<Exit?>
    private let wasSignalled = Atomic(false)

    /// Starts `path`, which is searched for on the PATH where it is a bare name.
    ///
    /// The program dies with the thread that started it, so that no broken test run leaves one.
    ///
    /// - Parameter terminal: a socket that serves as standard input and output instead.
    /// - Parameter input: a file that is read as standard input.
    init(
        _ path: String, _ arguments: [String], environment: [String: String] = [:],
        input: String = "/dev/null", terminal: Int32? = nil
    ) throws {
        let words = ["setpriv", "--pdeathsig", "KILL", "--", path] + arguments
        var variables = ["PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"]
        variables.merge(Program.sanitizerOptions) { $1 }
        variables.merge(environment) { $1 }

        let outputs = closedOnExec(pipePair)
        let errors = closedOnExec(pipePair)
        let pid = try spawning.withLock {
            var actions = posix_spawn_file_actions_t()
            posix_spawn_file_actions_init(&actions)
            defer { posix_spawn_file_actions_destroy(&actions) }
            if let terminal {
                posix_spawn_file_actions_adddup2(&actions, terminal, 0)
                posix_spawn_file_actions_adddup2(&actions, terminal, 1)
            } else {
                posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
                posix_spawn_file_actions_adddup2(&actions, outputs[1], 1)
            }
            posix_spawn_file_actions_adddup2(&actions, errors[1], 2)

            // The threads that run tests have most signals blocked: a program must not inherit it.
            var attributes = posix_spawnattr_t()
            posix_spawnattr_init(&attributes)
            defer { posix_spawnattr_destroy(&attributes) }
            var none = sigset_t()
            sigemptyset(&none)
            var every = sigset_t()
            sigfillset(&every)
            posix_spawnattr_setsigmask(&attributes, &none)
            posix_spawnattr_setsigdefault(&attributes, &every)
            posix_spawnattr_setflags(
                &attributes, Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF))

            let argv = words.map { strdup($0) } + [nil]
            let envp = variables.map { strdup("\($0)=\($1)") } + [nil]
            defer { (argv + envp).forEach { free($0) } }
            var pid: pid_t = 0
            let result = posix_spawnp(&pid, "setpriv", &actions, &attributes, argv, envp)
            guard result == 0 else {
                throw Failure("cannot start \(path): \(String(cString: strerror(result)))")
            }
            return pid
        }
        close(outputs[1])
        close(errors[1])

        self.pid = pid
        name = URL(fileURLWithPath: path).lastPathComponent
        output = Capture(reading: outputs[0])
        log = Capture(reading: errors[0])
        exit = Signalled(nil)
        let exit = self.exit
        Thread.detachNewThread {
            // First seen, then taken under the lock: so a signal never goes to a pid used again.
            var seen = siginfo_t()
            while waitid(P_PID, id_t(pid), &seen, WEXITED | WNOWAIT) != 0 && errno == EINTR {}
            exit.withLock {
                var status: Int32 = 0
                while waitpid(pid, &status, 0) < 0 && errno == EINTR {}
                let signal = status & 0x7f
                $0 = signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
            }
        }
    }

    /// Sends `signal` if the program still runs.
    func send(_ signal: Int32) {
        wasSignalled.store(true, ordering: .relaxed)
        exit.withLock { if $0 == nil { kill(pid, signal) } }
    }

    /// Waits for the program to end by itself.
    @discardableResult
    func exit(_ deadline: Deadline = .patient) throws -> Exit {
        guard let exit = exit.wait(deadline, for: { $0 }) else {
            throw Failure("\(name) did not exit in time\n\(logTail)")
        }
        return exit
    }

    /// How the program ended, where it did and nobody here asked for it.
    var unasked: Exit? {
        wasSignalled.load(ordering: .relaxed) ? nil : exit.withLock { $0 }
    }

    /// What sanitizers are told, where the tests run under one: its programs are told the same.
    private static let sanitizerOptions = ProcessInfo.processInfo.environment.filter {
        $0.key.hasSuffix("SAN_OPTIONS")
    }

    /// Whether programs run under the address sanitizer, take several times the memory for it, and
    /// look for leaks as they exit.
    static let areSanitized = sanitizerOptions.values.contains { $0.contains("detect_leaks=1") }

    /// What stands for so many bytes: under the address sanitizer they would take an hour, and the
    /// bounds of memory that they are for do not hold.
    static func bulk(_ bytes: Int) -> Int { areSanitized ? bytes / 16 : bytes }

    /// Ends the program; where it looks for leaks then, lets it come to that. A second signal tells
    /// it not to wait for anybody.
    func endChecked() {
        if Program.areSanitized, name.hasPrefix("magicmirror") {
            let deadline = Deadline.patient
            while exit.wait(.after(0.1), for: { $0 }) == nil, !deadline.hasPassed { send(SIGTERM) }
        }
        end()
    }

    /// Ends the program at once and waits until it is gone.
    func end() {
        send(SIGKILL)
        _ = exit.wait(.patient) { $0 }
    }

    /// Waits for the line that says a daemon serves, or fails as soon as it has ended.
    func expectReady(_ prefix: String) throws -> String {
        try expectOutput(prefix) { $0.hasPrefix(prefix) }
    }

    /// Waits for a line on standard output.
    func expectOutput(
        _ what: String, _ deadline: Deadline = .patient, where matches: (String) -> Bool
    ) throws -> String {
        guard let line = output.line(deadline, where: matches) else {
            throw Failure("\(name) did not write '\(what)' to standard output\n\(logTail)")
        }
        return line
    }

    /// Waits for a line on standard error, looking at those from number `start` on.
    @discardableResult
    func expectLog(
        _ what: String, from start: Int = 0, _ deadline: Deadline = .patient,
        where matches: (String) -> Bool
    ) throws -> String {
        guard let line = log.line(from: start, deadline, where: matches) else {
            throw Failure("\(name) did not log '\(what)'\n\(logTail)")
        }
        return line
    }

    /// The most memory that was resident at any time, in KiB. The program must still run.
    func peakResidentKiB() throws -> Int {
        let text = try String(contentsOfFile: "/proc/\(pid)/status", encoding: .utf8)
        let line = text.split(separator: "\n").first { $0.hasPrefix("VmHWM:") }
        guard
            let number = line?.split(whereSeparator: { $0 == " " || $0 == "\t" }).dropFirst().first,
            let peak = Int(number)
        else { throw Failure("\(name) has no VmHWM any more") }
        return peak
    }

    /// The last lines on standard error, for the message of a failure.
    var logTail: String {
        log.lines.suffix(25).map { "    \(name): \($0)" }.joined(separator: "\n")
    }
}

private func pipePair() -> [Int32] {
    var ends: [Int32] = [-1, -1]
    pipe(&ends)
    return ends
}

/// A program that has come to its end, with all that it wrote.
struct Finished {
    let exit: Program.Exit
    let outputBytes: [UInt8]
    let error: String

    var output: String { String(decoding: outputBytes, as: UTF8.self) }
    var errorLines: [Substring] { error.split(separator: "\n") }
}
