// What somebody who may not know which mirrors there are can find out by asking: nothing.
//
// Each question is asked for a mirror whose agent is connected, for those that are known without
// one (by the configuration, by an agent's key, by an agent that was here), and for one that does
// not exist. The answers must be the same, byte for byte, but for the hour and the request's id.

import Foundation
import Testing

/// Mirrors of alice, and of others, in all states, and those who ask.
private struct Neighbourhood {
    static let names = ["here", "away", "gone", "configured", "none"]

    let stage: Stage
    let relay: Relay
    /// Fields by which somebody shows a key that is not for these mirrors, and what is said to it.
    let strangers: [(field: String, status: Int)]
    let bob: Relay.Key
    let bobsAgent: Relay.Key
    let narrowAgent: Relay.Key

    init(_ stage: Stage) throws {
        self.stage = stage
        let here = try stage.addKey(role: "agent", name: "here")
        _ = try stage.addKey(role: "agent", name: "away")
        let wide = try stage.addKey(role: "agent", name: "g*")
        bob = try stage.addKey(role: "client", user: "bob")
        bobsAgent = try stage.addKey(role: "agent", user: "bob")
        narrowAgent = try stage.addKey(role: "agent", name: "narrow")
        let narrow = try stage.addKey(role: "client", name: "x*")
        let expired = try stage.addKey(role: "client", ["--expires", "1s"])
        relay = try stage.relay(
            "domain = relay.test\nmaximum-wrong-keys = 0\n[mirror alice/configured]\naccess = key\n"
        )
        let origin = stage.keep(try Origin.echoingTarget())
        try stage.agent(relay, key: here.secret, name: "here", local: origin.url)
        let gone = try stage.agent(relay, key: wide.secret, name: "gone", local: origin.url)
        gone.end()
        try relay.program.expectLog("the agent has gone") {
            $0.contains("agent disconnected") && $0.contains("alice/gone")
        }
        let basic = Data("bob:\(bob.secret)".utf8).base64EncodedString()
        strangers = [
            ("X-Nothing: 1", 401), ("Authorization: Bearer wrong", 401),
            ("Authorization: Basic YTpi", 401), ("X-Magicmirror-Key: wrong", 401),
            (bearer(here), 401), (bearer(bobsAgent), 401), (bearer(expired), 401),
            (bearer(bob), 404), ("Authorization: Basic \(basic)", 404),
            ("X-Magicmirror-Key: \(bob.secret)", 404), (bearer(narrow), 404),
        ]
        // The one key has expired when no mirror is found by it any more.
        _ = try askUntil("the key expires", .patient) {
            try ask(relay, "/m/bob/none/", [bearer(expired)])
        } _: {
            $0.status == 401
        }
    }

    /// The whole answer to a request, without what is another one each time.
    func answer(_ text: String) throws -> String {
        let client = try Connection.to(port: relay.port)
        try client.write(text)
        var answer = String(decoding: try client.readToEnd(), as: UTF8.self)
        let head = try Head(answer.components(separatedBy: "\r\n\r\n")[0])
        for name in ["X-Request-Id", "Date"] {
            guard let value = head[name] else { throw Failure("no \(name): \(answer)") }
            answer = answer.replacingOccurrences(of: value, with: name)
        }
        return answer
    }
}

/// Requests, in which `TARGET`, `HOST` and `KEY` stand for what they are asked with.
private let questions = [
    "GET TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nConnection: close\r\n\r\n",
    "HEAD TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nConnection: close\r\n\r\n",
    "GET TARGET HTTP/1.0\r\nHost: HOST\r\nKEY\r\nAccept: text/html\r\n\r\n",
    "POST TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nExpect: 100-continue\r\n"
        + "Content-Length: 5\r\n\r\nhello",
    "PUT TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "GET TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nConnection: Upgrade, close\r\n"
        + "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
        + "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
    "GET TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nAccept: text/event-stream\r\n"
        + "Connection: close\r\n\r\n",
    "NONSENSE TARGET HTTP/1.1\r\nHost: HOST\r\nKEY\r\nConnection: close\r\n\r\n",
]

struct ProbingTests {
    @Test func `a foreign mirror can't be told from one that does not exist`() throws {
        try stage { stage in
            let all = try Neighbourhood(stage)
            for (field, status) in all.strangers {
                for question in questions {
                    let text = question.replacingOccurrences(of: "KEY", with: field)
                    let byPath = try Neighbourhood.names.map { name in
                        try all.answer(
                            text.replacingOccurrences(of: "TARGET", with: "/m/alice/\(name)/x?y=z")
                                .replacingOccurrences(of: "HOST", with: "relay.test"))
                    }
                    let byHost = try Neighbourhood.names.map { name in
                        try all.answer(
                            text.replacingOccurrences(of: "TARGET", with: "/x?y=z")
                                .replacingOccurrences(
                                    of: "HOST", with: "\(name)--alice.relay.test"))
                    }
                    #expect(byPath[0].dropFirst(9).hasPrefix("\(status) "), "\(byPath[0])")
                    #expect(Set(byPath + byHost).count == 1, "\(byPath) \(byHost)")
                }
            }
        }
    }

    @Test func `the list of mirrors has none of another user`() throws {
        try stage { stage in
            let all = try Neighbourhood(stage)
            let list = try ask(all.relay, "/api/v1/mirrors", [bearer(all.bob)])
            #expect(list.status == 200)
            #expect(list.text == "[]\n")
        }
    }

    @Test func `an agent learns nothing of the mirrors that others bring`() throws {
        try stage { stage in
            let all = try Neighbourhood(stage)
            func answer(_ key: Relay.Key, _ name: String) throws -> String {
                let response = try register(all.relay, key, name)
                let fields = response.head.fields.map { field in
                    ["Date", "X-Request-Id"].contains(field.name)
                        ? field.name : "\(field.name): \(field.value)"
                }
                return ([response.head.startLine] + fields).joined(separator: "\n")
            }
            let refused = try Neighbourhood.names.map { try answer(all.narrowAgent, $0) }
            #expect(refused[0].hasPrefix("HTTP/1.1 403 "))
            #expect(Set(refused).count == 1, "\(refused)")
            // A name of bob's is another mirror, whatever alice's are called.
            let accepted = try Neighbourhood.names.map { try answer(all.bobsAgent, $0) }
            #expect(accepted[0].hasPrefix("HTTP/1.1 101 "))
            #expect(Set(accepted).count == 1, "\(accepted)")
        }
    }

    @Test func `TLS tells nothing of the name that was asked`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), plaintext: false, relay: "domain = relay.test\n")
            let shown = try ["prom", "none"].map { name in
                let finished = try stage.run(
                    "openssl",
                    [
                        "s_client", "-connect", mirror.relay.address, "-servername",
                        "\(name)--alice.relay.test",
                    ])
                let lines = finished.output.components(separatedBy: "\n")
                guard let first = lines.firstIndex(of: "-----BEGIN CERTIFICATE-----"),
                    let last = lines.firstIndex(of: "-----END CERTIFICATE-----")
                else { throw Failure("no certificate: \(finished.error)") }
                return lines[first...last].joined()
            }
            #expect(Set(shown).count == 1)
        }
    }
}
