// Keys: what each lets in, and that adding and revoking them counts at once, without a restart.
//
// It takes a second; a machine full of other tests may take more. What counts is that it happens by
// itself, while the connections stay.

import Foundation
import Testing

struct KeyTests {
    @Test func `a request without a key is told how to show one`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(mirror.relay, mirror.path("/x"))
            expectProblem(response, 401, "http_request_denied")
            #expect(response["WWW-Authenticate"] != nil)
            try mirror.relay.expectLine(status: 401, error: "http_request_denied")
        }
    }

    @Test(arguments: [
        "Authorization: Bearer mmc_wrong", "Authorization: Bearer", "Authorization: Basic !!!!",
        "Authorization: Basic YTpi", "Authorization: Digest x=1", "X-Magicmirror-Key: wrong",
        "X-Magicmirror-Key:",
    ])
    func `a wrong key is refused however it is shown`(field: String) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let response = try ask(mirror.relay, mirror.path("/x"), [field])
            expectProblem(response, 401, "http_request_denied")
            #expect(response["WWW-Authenticate"] != nil)
            #expect(origin.accepted == 0)
        }
    }

    @Test func `the key of an agent is not the key of a client`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(mirror.relay, mirror.path("/x"), [bearer(mirror.agentKey)])
            expectProblem(response, 401, "http_request_denied")
        }
    }

    @Test func `a key works within a second after it was added`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get("/x").status == 200)
            let added = try mirror.relay.addKey(role: "client")
            let response = try askUntil("the new key works", .prompt) {
                try ask(mirror.relay, mirror.path("/x"), [bearer(added)])
            } _: {
                $0.status == 200
            }
            #expect(response.text == "/x")
        }
    }

    @Test func `a key that its owner chose is read from standard input`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let input = try stage.write("chosen", "a-secret-of-my-own-choosing\n")
            let added = try stage.run(
                Built.control,
                [
                    "key", "add", "--keys", mirror.relay.keys, "--user", "alice", "--role",
                    "client", "--secret-stdin",
                ], input: input)
            #expect(added.exit == .code(0), "\(added.error)")
            _ = try askUntil("the chosen key works", .prompt) {
                try ask(
                    mirror.relay, mirror.path("/x"),
                    ["Authorization: Bearer a-secret-of-my-own-choosing"])
            } _: {
                $0.status == 200
            }
        }
    }

    @Test func `a key ends within a second after it was revoked`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get("/x").status == 200)
            try mirror.relay.revoke(mirror.clientKey)
            let response = try askUntil("the key has ended", .prompt) {
                try mirror.get("/x")
            } _: {
                $0.status != 200
            }
            expectProblem(response, 401, "http_request_denied")
        }
    }

    @Test func `a key ends when it expires`() throws {
        try stage { stage in
            let mirror = try stage.mirror(
                .echoingTarget(), relay: "maximum-wrong-keys = 0\n")
            let brief = try mirror.relay.addKey(role: "client", ["--expires", "8s"])
            let fields = [bearer(brief)]
            _ = try askUntil("the brief key works", .prompt) {
                try ask(mirror.relay, mirror.path("/x"), fields)
            } _: {
                $0.status == 200
            }
            let response = try askUntil("the brief key has expired", .patient) {
                try ask(mirror.relay, mirror.path("/x"), fields)
            } _: {
                $0.status != 200
            }
            expectProblem(response, 401, "http_request_denied")
        }
    }

    @Test func `an answer that streams is cut when its client's key is revoked`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                try visit.connection.writeChunk("first")
                try visit.waitForEnd()
            }
            let mirror = try stage.mirror(origin)
            let client = try mirror.connect()
            try client.write(mirror.request("GET", "/stream"))
            let head = try client.readResponseHead()
            #expect(try client.readChunk() == Array("first".utf8))
            try mirror.relay.revoke(mirror.clientKey)
            let rest = try client.readBody(head.head, .prompt)
            #expect(!rest.isWhole)
            #expect(origin.waitForEnded(1))
        }
    }

    @Test func `an agent whose key is revoked is cut off, and exits with 77`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get("/x").status == 200)
            try mirror.relay.revoke(mirror.agentKey)
            _ = try askUntil("the session is cut", .prompt) {
                try mirror.get("/x")
            } _: {
                $0.status != 200
            }
            #expect(try mirror.agent.exit() == .code(77))
        }
    }

    @Test func `a key for some names opens no other mirror`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let narrow = try mirror.relay.addKey(role: "client", name: "grafana*")
            let wide = try mirror.relay.addKey(role: "client", name: "pro*")
            _ = try askUntil("the wide key works", .prompt) {
                try ask(mirror.relay, mirror.path("/x"), [bearer(wide)])
            } _: {
                $0.status == 200
            }
            let response = try ask(mirror.relay, mirror.path("/x"), [bearer(narrow)])
            expectProblem(response, 404, "destination_not_found")
        }
    }

    @Test func `a client that asks for a name of its own user that nobody has is told so`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let response = try ask(mirror.relay, "/m/alice/nobody/x", [bearer(mirror.clientKey)])
            expectProblem(response, 404, "destination_not_found")
            try mirror.relay.expectLine(status: 404, error: "destination_not_found")
        }
    }

    @Test func `secrets stand neither in the keys file nor in a list nor in a log`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            #expect(try mirror.get("/x").status == 200)
            _ = try ask(
                mirror.relay, mirror.path("/x"), ["X-Magicmirror-Key: \(mirror.clientKey.secret)"])
            try mirror.relay.expectLine(status: 200)
            let list = try stage.run(
                Built.control, ["key", "list", "--keys", mirror.relay.keys, "--json"])
            #expect(list.exit == .code(0))
            #expect(list.output.contains(mirror.clientKey.id))
            let table = try stage.run(Built.control, ["key", "list", "--keys", mirror.relay.keys])
            #expect(table.output.contains(mirror.clientKey.id))
            let places = [
                try stage.read(mirror.relay.keys), list.output, table.output,
                mirror.relay.program.log.lines.joined(), mirror.agent.log.lines.joined(),
            ]
            for place in places {
                #expect(!place.contains(mirror.clientKey.secret))
                #expect(!place.contains(mirror.agentKey.secret))
            }
        }
    }
}
