// The three ways of a client to show its key, and what of them the origin gets to see.

import Foundation
import Testing

struct AuthenticationTests {
    /// `KEY` is the secret, `BASIC` the base64 of `somebody:SECRET`.
    @Test(arguments: [
        "Authorization: Bearer KEY", "authorization: bearer KEY", "Authorization: Basic BASIC",
        "X-Magicmirror-Key: KEY",
    ])
    func `each way to show a key is enough alone, and ends at the relay`(field: String) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let response = try ask(mirror.relay, mirror.path("/x"), [filled(field, mirror)])
            #expect(response.status == 200)
            let head = try origin.waitForRequest().head
            #expect(head["Authorization"] == nil)
            #expect(head["X-Magicmirror-Key"] == nil)
        }
    }

    @Test func `curl's user and password are a key`() throws {
        try stage { stage in
            let mirror = try stage.mirror(.echoingTarget())
            let answer = try stage.curl(
                mirror.relay, mirror.path("/x"), ["--user", "me:\(mirror.clientKey.secret)"])
            #expect(answer.status == 200)
        }
    }

    @Test func `the origin's own authorization passes beside the key's own field`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin)
            let response = try ask(
                mirror.relay, mirror.path("/x"),
                [
                    "Authorization: Basic Z3JhZmFuYTpzZWNyZXQ=",
                    filled("X-Magicmirror-Key: KEY", mirror),
                ])
            #expect(response.status == 200)
            let head = try origin.waitForRequest().head
            #expect(head.all("Authorization") == ["Basic Z3JhZmFuYTpzZWNyZXQ="])
            #expect(head["X-Magicmirror-Key"] == nil)
        }
    }

    @Test func `what the origin asks for reaches the client`() throws {
        try stage { stage in
            let origin = try Origin.answering { _ in
                Answer(401, ["WWW-Authenticate: Basic realm=\"origin\""], body: "who?")
            }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x")
            #expect(response.status == 401)
            #expect(response["WWW-Authenticate"] == "Basic realm=\"origin\"")
            #expect(response["Proxy-Status"] == nil)
            #expect(response.text == "who?")
        }
    }

    @Test func `a public mirror needs no key, and leaves all fields to the origin`() throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, relay: "[mirror alice/prom]\naccess = public\n")
            let response = try ask(
                mirror.relay, mirror.path("/x"), ["Authorization: Bearer for-the-origin"])
            #expect(response.status == 200)
            #expect(try origin.waitForRequest().head["Authorization"] == "Bearer for-the-origin")
        }
    }

    private func filled(_ field: String, _ mirror: Mirror) -> String {
        let secret = mirror.clientKey.secret
        let basic = Data("somebody:\(secret)".utf8).base64EncodedString()
        return field.replacingOccurrences(of: "KEY", with: secret)
            .replacingOccurrences(of: "BASIC", with: basic)
    }
}
