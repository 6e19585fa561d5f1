// Where a scenario is played: a temporary directory and all programs that it started.
//
// `stage { … }` ends every program by its pid and removes the directory when the closure is left,
// and records an issue for one that had crashed. The log lines of all of them go into the message
// of a failure; MAGICMIRROR_TEST_LOG=1 shows them always.

import Foundation
import Testing

func stage(_ play: (Stage) throws -> Void) throws {
    let stage = try Stage()
    defer { stage.clear() }
    do {
        try play(stage)
    } catch {
        throw Failure("\(error)\n\(stage.logs)")
    }
}

final class Stage: Sendable {
    let directory: String
    private let programs = Signalled([Program]())
    private let slots = Signalled([Slots]())
    private let kept = Signalled([Origin]())

    fileprivate init() throws {
        var template = Array("/tmp/magicmirror-test-XXXXXX".utf8CString)
        guard mkdtemp(&template) != nil else { throw Failure("cannot make a temporary directory") }
        directory = String(
            decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    fileprivate func clear() {
        for program in programs.withLock({ $0 }).reversed() {
            if case .signal(let signal) = program.unasked {
                Issue.record("\(program.name) died of signal \(signal)\n\(program.logTail)")
            }
            program.endChecked()
        }
        if ProcessInfo.processInfo.environment["MAGICMIRROR_TEST_LOG"] != nil {
            FileHandle.standardError.write(Data((logs + "\n").utf8))
        }
        kept.withLock { $0.forEach { $0.stop() } }
        slots.withLock { $0.forEach { $0.give() } }
        try? FileManager.default.removeItem(atPath: directory)
    }

    var logs: String {
        programs.withLock { $0 }.map(\.logTail).joined(separator: "\n")
    }

    // MARK: files

    func path(_ name: String) -> String { directory + "/" + name }

    @discardableResult
    func write(_ name: String, _ text: String, mode: mode_t = 0o600) throws -> String {
        try text.write(toFile: path(name), atomically: false, encoding: .utf8)
        chmod(path(name), mode)
        return path(name)
    }

    func read(_ path: String) throws -> String {
        guard let file = FileHandle(forReadingAtPath: path) else { throw Failure("no '\(path)'") }
        // Not by Data or String: what they allocate for an empty file nobody frees.
        return String(decoding: try file.readToEnd() ?? Data(), as: UTF8.self)
            .trimmingCharacters(in: .whitespacesAndNewlines)
    }

    /// A file of `size` bytes that takes no room on the disk.
    func sparseFile(_ name: String, size: Int) throws -> String {
        let path = try write(name, "", mode: 0o644)
        guard truncate(path, size) == 0 else { throw Failure("cannot make \(path)") }
        return path
    }

    // MARK: programs

    /// Starts a program that is ended with the stage.
    func start(
        _ path: String, _ arguments: [String], environment: [String: String] = [:],
        input: String = "/dev/null", terminal: Int32? = nil
    ) throws -> Program {
        let program = try Program(
            path, arguments,
            environment: environment.merging(["HOME": directory]) { old, _ in old },
            input: input, terminal: terminal)
        programs.withLock { $0.append(program) }
        return program
    }

    /// Runs a program to its end.
    func run(
        _ path: String, _ arguments: [String], environment: [String: String] = [:],
        input: String = "/dev/null", _ deadline: Deadline = .patient
    ) throws -> Finished {
        let program = try start(path, arguments, environment: environment, input: input)
        let exit = try program.exit(deadline)
        return Finished(
            exit: exit, outputBytes: try program.output.all(deadline),
            error: String(decoding: try program.log.all(deadline), as: UTF8.self))
    }

    /// Both programs, each run by a script.
    ///
    /// - Parameter line: of the shell, given the program's path; it has to become the program.
    func scripted(_ line: (String) -> String) throws -> Programs {
        var programs = Programs()
        // No program may be spawned while a script is open for writing: it would inherit that, and
        // nobody can run what somebody may write (ETXTBSY).
        try spawning.withLock {
            programs.relay = try write(
                "magicmirrord", "#!/bin/sh\nexec \(line(Built.relay))\n", mode: 0o700)
            programs.agent = try write(
                "magicmirror", "#!/bin/sh\nexec \(line(Built.agent))\n", mode: 0o700)
        }
        return programs
    }

    /// Waits for one of `slots`, which is given back with the stage.
    func take(_ slots: Slots) throws {
        try slots.take()
        self.slots.withLock { $0.append(slots) }
    }

    /// Keeps an origin until the stage is left.
    func keep(_ origin: Origin) -> Origin {
        kept.withLock { $0.append(origin) }
        return origin
    }

    /// A self-signed certificate for the names of loopback, which is its own authority.
    func certificate(_ name: String = "relay") throws -> Certificate {
        let certificate = Certificate(file: path(name + ".pem"), key: path(name + ".key"))
        let made = try run(
            "openssl",
            [
                "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
                "-nodes", "-days", "2", "-subj", "/CN=\(name)", "-addext",
                "subjectAltName=DNS:localhost,DNS:*.relay.test,IP:127.0.0.1,IP:::1",
                "-out", certificate.file, "-keyout", certificate.key,
            ])
        guard made.exit == .code(0) else { throw Failure("openssl req: \(made.error)") }
        return certificate
    }
}

struct Certificate: Sendable {
    let file: String
    let key: String
}

extension Stage {
    /// An authority, and certificates that it signs.
    func authority(_ name: String = "authority") throws -> Authority {
        let own = Certificate(file: path(name + ".pem"), key: path(name + ".key"))
        try openssl(
            ["req", "-x509", "-days", "2", "-subj", "/CN=\(name)", "-out", own.file]
                + newKey(own.key))
        return Authority(stage: self, own: own)
    }

    fileprivate func newKey(_ file: String) -> [String] {
        ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout", file]
    }

    fileprivate func openssl(_ arguments: [String]) throws {
        let made = try run("openssl", arguments)
        guard made.exit == .code(0) else { throw Failure("openssl: \(made.error)") }
    }
}

struct Authority {
    fileprivate let stage: Stage
    fileprivate let own: Certificate

    var file: String { own.file }

    /// A certificate for a name of DNS; with no days left it has expired.
    func sign(_ name: String, days: Int = 2) throws -> Certificate {
        let made = Certificate(file: stage.path(name + ".pem"), key: stage.path(name + ".key"))
        let request = stage.path(name + ".csr")
        let names = try stage.write(name + ".names", "subjectAltName=DNS:\(name)\n")
        try stage.openssl(
            ["req", "-subj", "/CN=\(name)", "-out", request] + stage.newKey(made.key))
        try stage.openssl([
            "x509", "-req", "-in", request, "-CA", own.file, "-CAkey", own.key, "-CAcreateserial",
            "-days", "\(days)", "-extfile", names, "-out", made.file,
        ])
        return made
    }
}

/// What is run as relay and agent.
struct Programs {
    var relay = Built.relay
    var agent = Built.agent
}

/// The paths of the built programs.
enum Built {
    static let relay = directory + "/magicmirrord"
    static let agent = directory + "/magicmirror"
    static let control = directory + "/magicmirrorctl"

    /// Beside the bundle of the tests, if not said otherwise.
    private static let directory: String = {
        if let given = ProcessInfo.processInfo.environment["MAGICMIRROR_BIN"] { return given }
        let here = URL(fileURLWithPath: "/proc/self/exe").resolvingSymlinksInPath()
        return here.deletingLastPathComponent().path
    }()
}
