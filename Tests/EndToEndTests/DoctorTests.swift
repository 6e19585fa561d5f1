// `magicmirror doctor`: what holds and what does not, a line for each step.

import Foundation
import Testing

struct DoctorTests {
    private func doctor(
        _ stage: Stage, remote: String, key: String = "mma_secret-of-some-length",
        name: String = "prom", local: String = "127.0.0.1:1", _ options: [String] = [],
        environment: [String: String] = [:]
    ) throws -> Finished {
        try stage.run(
            Built.agent,
            [
                "doctor", "--remote", remote, "--apikey-file",
                stage.write("doctor.key", key + "\n"), "--name", name, "--local", local,
            ] + options, environment: environment)
    }

    /// `ok dns`, `failed origin`: the first two words of each line.
    private func steps(_ finished: Finished) -> [String] {
        finished.output.split(separator: "\n").filter { !$0.hasPrefix("[") }.map { line in
            line.split(separator: " ").prefix(2).joined(separator: " ")
                .replacingOccurrences(of: ":", with: "")
        }
    }

    private func line(_ finished: Finished, _ start: String) -> String {
        let words = start.split(separator: " ")
        return finished.output.split(separator: "\n").map(String.init).first { line in
            line.hasPrefix(words[0]) && line.contains(" \(words[1]): ")
        } ?? ""
    }

    @Test func `where all holds the doctor says so and disturbs nobody`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let mirror = try stage.mirror(origin, plaintext: false)
            let found = try doctor(
                stage, remote: mirror.relay.remote, key: mirror.agentKey.secret, local: origin.url,
                ["--ca-file", mirror.relay.authority ?? ""])
            #expect(found.exit == .code(0), "\(found.output)")
            #expect(
                steps(found) == [
                    "ok dns", "ok tcp", "ok tls", "ok key", "ok upgrade", "ok clock", "ok origin",
                ], "\(found.output)")
            #expect(found.output.hasPrefix("[mirror prom]\n"))
            #expect(line(found, "ok clock").contains("s from the relay's"))
            #expect(line(found, "ok origin").contains("answers 200"))
            try mirror.relay.program.expectLog("the doctor leaves") {
                $0.contains("1000 magicmirror doctor")
            }
            let list = try stage.curl(
                mirror.relay, "/api/v1/mirrors", key: mirror.clientKey.secret)
            #expect(list.text.contains("\"sessions\":1"))
            #expect(
                try stage.curl(
                    mirror.relay, mirror.path("/x"), key: mirror.clientKey.secret
                ).text == "/x")
        }
    }

    @Test func `a key that the relay refuses is named, with exit 77`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent", name: "grafana")
            let relay = try stage.relay()
            let unknown = try doctor(stage, remote: relay.remote, local: origin.url)
            #expect(unknown.exit == .code(77))
            #expect(line(unknown, "failed key").contains("magicmirrorctl key add"))
            #expect(!unknown.output.contains("mma_secret"))
            let other = try doctor(
                stage, remote: relay.remote, key: key.secret, local: origin.url)
            #expect(other.exit == .code(77))
            #expect(line(other, "failed key").contains("'prom'"))
            #expect(steps(other) == ["ok dns", "ok tcp", "failed key", "ok clock", "ok origin"])
        }
    }

    @Test func `each step that fails is named, with what to do`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            func expect(
                _ finished: Finished, _ expected: [String], _ words: String
            ) {
                #expect(finished.exit == .code(1), "\(finished.output)")
                #expect(steps(finished) == expected + ["ok origin"], "\(finished.output)")
                let failed = line(finished, expected.first { $0.hasPrefix("failed") } ?? "")
                #expect(failed.contains(words) && failed.hasSuffix(")"), "\(failed)")
            }
            // One short try: whether a name server can be reached from here must not matter.
            expect(
                try doctor(
                    stage, remote: "wss://no-such-host.invalid/mirror", local: origin.url,
                    environment: ["RES_OPTIONS": "timeout:1 attempts:1"]), ["failed dns"],
                "no-such-host.invalid")
            expect(
                try doctor(stage, remote: "ws://127.0.0.1:1/mirror", local: origin.url),
                ["ok dns", "failed tcp"], "connection refused")
            let untrusted = try stage.untrustedServer()
            expect(
                try doctor(
                    stage, remote: "wss://127.0.0.1:\(untrusted.port)/mirror", local: origin.url),
                ["ok dns", "ok tcp", "failed tls"], "--ca-file")
            let relay = try stage.relay()
            expect(
                try doctor(
                    stage, remote: "ws://\(relay.address)/elsewhere", local: origin.url),
                ["ok dns", "ok tcp", "failed upgrade", "ok clock"], "404")
            let proxy = try stage.tinyproxy(user: "anna secret")
            expect(
                try doctor(
                    stage, remote: relay.remote, local: origin.url,
                    ["--proxy", "http://127.0.0.1:\(proxy.port)"]),
                ["ok dns", "ok tcp", "failed proxy"], "407")
        }
    }

    @Test func `a clock that is wrong is named`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let relay = stage.keep(
                try Origin.answering { _ in
                    Answer(503, ["Date: Sun, 06 Nov 1994 08:49:37 GMT"], closes: true)
                })
            let found = try doctor(
                stage, remote: "ws://127.0.0.1:\(relay.port)/mirror", local: origin.url)
            #expect(found.exit == .code(1))
            #expect(line(found, "failed clock").contains("1994-11-06T08:49:37Z at the relay"))
        }
    }

    @Test func `a proxy that lets us through is a step`() throws {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let key = try stage.addKey(role: "agent")
            let relay = try stage.relay()
            let proxy = try stage.tinyproxy()
            let found = try doctor(
                stage, remote: relay.remote, key: key.secret, local: origin.url,
                ["--proxy", "http://127.0.0.1:\(proxy.port)"])
            #expect(found.exit == .code(0), "\(found.output)")
            #expect(steps(found).prefix(3) == ["ok dns", "ok tcp", "ok proxy"])
        }
    }

    // MARK: the origin

    /// What the doctor says of an origin at `local`; all else holds.
    private func examine(
        _ stage: Stage, _ local: String, _ options: [String] = []
    ) throws -> Finished {
        let key = try stage.addKey(role: "agent")
        return try doctor(
            stage, remote: try stage.relay().remote, key: key.secret, local: local, options)
    }

    @Test func `an origin that does not listen is named`() throws {
        try stage { stage in
            let found = try examine(stage, "127.0.0.1:1")
            #expect(found.exit == .code(1))
            #expect(line(found, "failed origin").contains("connection refused"))
        }
    }

    @Test func `an origin with a certificate of its own is named`() throws {
        try stage { stage in
            let server = try stage.untrustedServer()
            let found = try examine(stage, "https://localhost:\(server.port)")
            #expect(found.exit == .code(1))
            #expect(line(found, "failed origin").contains("--local-ca-file"))
        }
    }

    @Test func `an origin that answers 400 behind an unknown proxy is told to trust it`() throws {
        try stage { stage in
            // As Home Assistant does without use_x_forwarded_for and trusted_proxies.
            let origin = try Origin.answering { request in
                let isForwarded = request.head["X-Forwarded-For"] != nil
                return Answer(isForwarded ? 400 : 200, closes: true)
            }
            let found = try examine(stage, stage.keep(origin).url)
            #expect(found.exit == .code(1))
            let line = line(found, "failed origin")
            #expect(line.contains("use_x_forwarded_for: true"))
            #expect(line.contains("trusted_proxies: [127.0.0.1]"))
        }
    }

    @Test func `an origin that answers only to its own name is told so`() throws {
        try stage { stage in
            let origin = try Origin.answering { request in
                let isOwn = request.head["Host"]?.hasPrefix("127.0.0.1:") == true
                return Answer(isOwn && request.head["X-Forwarded-For"] != nil ? 200 : 403)
            }
            let url = stage.keep(origin).url
            let relay = try stage.relay()
            let key = try relay.addKey(role: "agent")
            let remote = "ws://localhost:\(relay.port)/mirror"
            let found = try doctor(stage, remote: remote, key: key.secret, local: url)
            #expect(line(found, "failed origin").contains("--host-header local"), "\(found.output)")
            let mended = try doctor(
                stage, remote: remote, key: key.secret, local: url, ["--host-header", "local"])
            #expect(line(mended, "ok origin").contains("answers 200"), "\(mended.output)")
        }
    }

    @Test func `an origin that wants a sign-on is in order`() throws {
        try stage { stage in
            let origin = try Origin.answering { _ in Answer(401, closes: true) }
            let found = try examine(stage, stage.keep(origin).url)
            #expect(found.exit == .code(0), "\(found.output)")
            #expect(line(found, "ok origin").contains("answers 401"))
        }
    }

    @Test func `a configuration that is wrong is named before anything is tried`() throws {
        try stage { stage in
            let found = try doctor(
                stage, remote: "ws://127.0.0.1:1/mirror", ["--ca-file", stage.path("absent")])
            #expect(found.exit == .code(78))
            #expect(found.output.isEmpty)
        }
    }
}
