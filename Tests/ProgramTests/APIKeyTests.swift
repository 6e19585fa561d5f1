// The agent's key: where it comes from, and that it goes nowhere.

import Foundation
import Program
import Testing

@testable import Agent

@Suite struct APIKeyTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    private func parse(
        _ arguments: [String], file: String? = nil, _ variables: [String: String] = [:]
    ) throws -> AgentConfiguration {
        let path =
            try file.map { try directory.file("agent.conf", $0) } ?? directory.path + "/none"
        let line = try AgentCommandLine.parse(
            ["magicmirror"] + arguments, Environment(variables), defaultFile: path)
        guard case .run(let configuration) = line else {
            throw StartError.commandLine("not to be run: \(line)")
        }
        return configuration
    }

    @Test func `a key comes from the nearest place`() throws {
        let base = ["--remote", "wss://r/m", "--name", "one", "--local", "1"]
        let file = try directory.file("file", "FILE\n")
        let credentials = directory.path + "/credentials"
        try FileManager.default.createDirectory(
            atPath: credentials, withIntermediateDirectories: false)
        try "CREDENTIAL\n".write(
            toFile: credentials + "/apikey", atomically: false, encoding: .utf8)
        try directory.setMode(0o400, of: credentials + "/apikey")
        let all = ["MAGICMIRROR_APIKEY": "VARIABLE", "CREDENTIALS_DIRECTORY": credentials]
        let section = "apikey = TOP\n[mirror one]\napikey = SECTION\n"
        let top = "apikey = TOP\n"
        func key(_ more: [String], _ conf: String?, _ variables: [String: String]) throws -> String
        {
            let mirror = try parse(base + more, file: conf, variables).mirrors[0]
            return String(decoding: mirror.key.bytes, as: UTF8.self)
        }
        #expect(try key(["--apikey", "OPTION"], section, all) == "OPTION")
        #expect(try key(["--apikey-file", file], section, all) == "FILE")
        #expect(try key([], section, all) == "SECTION")
        #expect(try key([], top, all) == "VARIABLE")
        #expect(try key([], top, ["CREDENTIALS_DIRECTORY": credentials]) == "TOP")
        #expect(try key([], nil, ["CREDENTIALS_DIRECTORY": credentials]) == "CREDENTIAL")
        #expect(try key([], "apikey-file = file\n", [:]) == "FILE")
    }

    @Test func `a key never prints`() throws {
        let mirror = try parse([
            "--remote", "wss://r/m", "--name", "one", "--local", "1", "--apikey", "KEY",
        ]).mirrors[0]
        #expect("\(mirror)".contains("(key)"))
        #expect(!"\(mirror)".contains("KEY"))
        var dumped = ""
        dump(mirror.key.description, to: &dumped)
        #expect(!dumped.contains("KEY"))
        #expect(!String(reflecting: mirror).contains("KEY"))
    }

    @Test func `a key that others can read is warned about`() throws {
        let base = ["--remote", "wss://r/m", "--name", "one", "--local", "1"]
        let file = try directory.file("key", "K", mode: 0o644)
        #expect(
            try parse(base + ["--apikey-file", file]).warnings
                == ["key file '\(file)' is readable by everybody (chmod 640 '\(file)')"])
        let conf = try directory.file("a.conf", "apikey = K\n", mode: 0o644)
        #expect(
            try parse(base + ["--config", conf]).warnings
                == ["'\(conf)' holds a key and is readable by everybody (chmod 640 '\(conf)')"])
        try directory.setMode(0o640, of: conf)
        #expect(try parse(base + ["--config", conf]).warnings == [])
    }

    @Test func `a key file is held against its own place`() throws {
        let empty = try directory.file("empty", "\n")
        #expect(throws: StartError.configuration(place: empty, message: "the key is empty")) {
            try parse([
                "--remote", "wss://r/m", "--name", "x", "--local", "1", "--apikey-file", empty,
            ])
        }
    }
}
