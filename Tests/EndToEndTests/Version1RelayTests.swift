// The agent with an original relay, which knows protocol v1 only.

import Foundation
import Testing

extension Stage {
    /// An agent of ours that has connected to an original relay.
    fileprivate func agent(
        of relay: OriginalRelay, local: String, _ options: [String] = []
    ) throws -> (agent: Program, head: Head, socket: PlainWebSocket) {
        let key = try write("agent.key", "secret\n")
        let agent = try start(
            Built.agent,
            ["--remote", relay.remote, "--apikey-file", key, "--name", "prom", "--local", local]
                + options)
        let (head, socket) = try relay.accept()
        return (agent, head, socket)
    }
}

struct Version1RelayTests {
    @Test func `requests of an original relay are asked of the origin`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(
                try Origin.answering { request in
                    Answer(
                        request.target == "/404" ? 404 : 200,
                        ["Set-Cookie: a=1", "set-cookie: b=<&>", "Connection: X-Hop", "X-Hop: 1"],
                        body: "\(request.method) \(request.target) \(request.body.text)")
                })
            let (agent, head, socket) = try stage.agent(of: relay, local: origin.url)
            #expect(head.startLine == "GET /mirror?name=prom HTTP/1.1")
            #expect(head["Sec-WebSocket-Protocol"] == "magicmirror.v2")
            #expect(head["Authorization"] == "Bearer secret")
            try agent.expectLog("PROTOCOL=v1") { $0.contains("PROTOCOL=v1") }
            _ = try agent.expectReady("ready mirror=prom ")

            let reply = try socket.ask(
                V1Asked(
                    "GET", "/a?b=c&d=<e>",
                    [
                        "X-Own": ["one", "two"], "Host": ["elsewhere.test"],
                        "Content-Length": ["7"], "Transfer-Encoding": ["chunked"],
                        "Connection": ["Upgrade"], "Upgrade": ["websocket"],
                    ]))
            #expect(reply.status == 200)
            #expect(reply.text == "GET /a?b=c&d=<e> ")
            #expect(reply.headers["Set-Cookie"] == ["a=1", "b=<&>"])
            #expect(reply.headers["X-Hop"] == nil)
            #expect(reply.headers["Content-Length"] == ["\(reply.text.utf8.count)"])
            let asked = try origin.waitForRequest()
            #expect(asked.head.all("X-Own") == ["one", "two"])
            #expect(asked.head.all("Host") == ["127.0.0.1:\(origin.port)"])
            #expect(asked.head["Upgrade"] == nil)
            #expect(asked.head["Transfer-Encoding"] == nil)

            let posted = try socket.ask(
                V1Asked("POST", "/p", ["Content-Type": ["x/y"]], body: "some text"))
            #expect(posted.text == "POST /p some text")
            #expect(try socket.ask(V1Asked("GET", "/404")).status == 404)
            let head2 = try socket.ask(V1Asked("HEAD", "/x", body: ""))
            #expect(head2.body == [])
            // Another origin cannot be named.
            #expect(try socket.ask(V1Asked("GET", "http://192.0.2.1:81/q?r")).text == "GET /q?r ")
            #expect(try socket.ask(V1Asked("GET", "")).text == "GET / ")
            try agent.expectLog("an exchange") {
                $0.contains("PATH=/p") && $0.contains("STATUS=200")
            }
        }
    }

    @Test func `large bodies travel whole both ways`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(
                try Origin.answering { Answer(200, bytes: $0.body.bytes.reversed()) })
            let (_, _, socket) = try stage.agent(of: relay, local: origin.url)
            var asked = V1Asked("PUT", "/x")
            asked.body = (0..<1_000_000).map { UInt8(truncatingIfNeeded: $0 &* 31) }
            try socket.send(opcode: 2, asked.message, fragment: 4096)
            #expect(try socket.reply().body == asked.body?.reversed())
        }
    }

    @Test func `a failure is an answer too, with its reason`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = try Origin { visit in
                while let request = try visit.readRequest() {
                    switch request.target {
                    case "/abort": return visit.connection.abort()
                    case "/cut":
                        return try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\npart")
                    case "/garbage": return try visit.write("nonsense\r\n\r\n")
                    default:
                        let answer = Answer(200, body: "good", closes: true)
                        return try visit.connection.write(answer.bytes(to: "GET"))
                    }
                }
            }
            let (_, _, socket) = try stage.agent(
                of: relay, local: stage.keep(origin).url, ["--allow", "GET /*"])
            for (path, error) in [
                ("/abort", "connection_terminated"), ("/cut", "http_response_incomplete"),
                ("/garbage", "http_protocol_error"),
            ] {
                let reply = try socket.ask(V1Asked("GET", path))
                #expect(reply.status == 502)
                #expect(reply.headers["Content-Type"] == ["application/problem+json"])
                #expect(json(reply.body ?? [])["error"] as? String == error)
                #expect(try socket.ask(V1Asked("GET", "/x")).text == "good")
            }
            #expect(try socket.ask(V1Asked("POST", "/x", body: "a")).status == 403)
            #expect(try socket.ask(V1Asked("GET", "/x y")).status == 400)
            #expect(try socket.ask(V1Asked("G T", "/x")).status == 400)
            #expect(try socket.ask(V1Asked("GET", "/x", ["X\r\nY": ["1"]])).status == 400)
            #expect(try socket.ask(V1Asked("GET", "/x", ["X": ["a\r\nY: b"]])).status == 400)
            try socket.send(Array("no base64!".utf8))
            #expect(try socket.reply().status == 400)
            origin.stop()
            let refused = try socket.ask(V1Asked("GET", "/x"))
            #expect(refused.status == 502)
            #expect(json(refused.body ?? [])["error"] as? String == "connection_refused")
        }
    }

    @Test func `an origin that does not answer in time is a 504`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(
                try Origin { visit in
                    _ = try visit.readRequest()
                    try visit.waitForEnd()
                })
            let limits = try stage.write("agent.conf", "response-timeout = 1s\n")
            let (_, _, socket) = try stage.agent(
                of: relay, local: origin.url, ["--config", limits])
            let reply = try socket.ask(V1Asked("GET", "/x"))
            #expect(reply.status == 504)
            #expect(json(reply.body ?? [])["error"] as? String == "http_response_timeout")
        }
    }

    @Test func `an answer without an end is a 504 in time, and the next request has its turn`()
        throws
    {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(
                try Origin { visit in
                    while let request = try visit.readRequest() {
                        if request.target == "/next" {
                            try visit.connection.write(Answer(200, body: "next").bytes(to: "GET"))
                            continue
                        }
                        try visit.write(
                            "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
                                + "Transfer-Encoding: chunked\r\n\r\n")
                        try visit.connection.writeChunk("data: 1\n\n")
                        try visit.waitForEnd()
                    }
                })
            let limits = try stage.write("agent.conf", "response-timeout = 1s\n")
            let (_, _, socket) = try stage.agent(
                of: relay, local: origin.url, ["--config", limits])
            let reply = try socket.ask(V1Asked("GET", "/events"))
            #expect(reply.status == 504)
            #expect(json(reply.body ?? [])["error"] as? String == "http_response_timeout")
            #expect(origin.waitForEnded(1))
            #expect(try socket.ask(V1Asked("GET", "/next")).text == "next")
        }
    }

    @Test func `pings are answered while a request runs`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let gate = Gate()
            let origin = stage.keep(
                try Origin { visit in
                    _ = try visit.readRequest()
                    try gate.wait("the pongs")
                    try visit.connection.write(Answer(200, body: "late").bytes(to: "GET"))
                })
            let (_, _, socket) = try stage.agent(of: relay, local: origin.url)
            try socket.send(V1Asked("GET", "/x").message)
            _ = try origin.waitForRequest()
            for number in 0..<3 {
                try socket.ping("\(number)")
                #expect(try socket.next() == .pong(Array("\(number)".utf8)))
            }
            gate.open()
            #expect(try socket.reply().text == "late")
        }
    }

    @Test func `requests sent without waiting are answered one by one, in their order`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(try Origin.echoingTarget())
            let (_, _, socket) = try stage.agent(of: relay, local: origin.url)
            let count = 300
            for number in 0..<count {
                try socket.send(
                    opcode: number % 2 == 0 ? 1 : 2, V1Asked("GET", "/\(number)").message)
            }
            for number in 0..<count { #expect(try socket.reply().text == "/\(number)") }
            // A repetition is a request like any other.
            #expect(try socket.ask(V1Asked("GET", "/1")).text == "/1")
            #expect(try socket.ask(V1Asked("GET", "/1")).text == "/1")
        }
    }

    @Test(arguments: [
        #"{"METHOD":"GET","Uri":"/k","HEADERS":{"A":["b"]},"Body":null,"more":[{"x":1.5e3}]}"#,
        #"{"method":"GET","uri":"/k"}"#,
        #" { "method" : "GET" , "uri" : "\/\u006b" , "headers" : null , "body" : "" } "#,
    ])
    func `keys match whatever their case, and what is missing is zero`(text: String) throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(try Origin.echoingTarget())
            let (_, _, socket) = try stage.agent(of: relay, local: origin.url)
            try socket.send(Array(Data(text.utf8).base64EncodedData()))
            #expect(try socket.reply().text == "/k")
        }
    }

    @Test func `an agent comes back to a relay that closed, and leaves in order`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(try Origin.echoingTarget())
            let (agent, _, socket) = try stage.agent(of: relay, local: origin.url)
            #expect(try socket.ask(V1Asked("GET", "/1")).text == "/1")
            socket.connection.abort()
            let (_, again) = try relay.accept()
            #expect(try again.ask(V1Asked("GET", "/2")).text == "/2")
            agent.send(SIGTERM)
            #expect(try again.next() == .close(code: 1000, reason: "drained"))
            again.connection.close()
            #expect(try agent.exit() == .code(0))
        }
    }

    @Test func `a body beyond the limit is answered and never asked`() throws {
        try stage { stage in
            let relay = try OriginalRelay()
            let origin = stage.keep(
                try Origin.answering { Answer(200, body: "\($0.body.bytes.count)") })
            let file = try stage.write("agent.conf", "maximum-v1-body-bytes = 2KiB\n")
            let (_, _, socket) = try stage.agent(of: relay, local: origin.url, ["--config", file])
            let full = String(repeating: "a", count: 2048)
            #expect(try socket.ask(V1Asked("POST", "/at", body: full)).text == "2048")
            #expect(try socket.ask(V1Asked("POST", "/past", body: full + "a")).status == 400)
            #expect(try socket.ask(V1Asked("POST", "/at", body: full)).text == "2048")
            #expect(origin.requests.map(\.target) == ["/at", "/at"])
        }
    }

    @Test func `with a proxy that drops the subprotocol both ends still understand each other`()
        throws
    {
        try stage { stage in
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let relay = try stage.relay()
            let gate = Gate()
            let origin = stage.keep(
                try Origin { visit in
                    while let request = try visit.readRequest() {
                        if request.target == "/slow" { try gate.wait("a moment") }
                        try visit.connection.write(
                            Answer(200, body: request.target).bytes(to: "GET"))
                    }
                })
            let nginx = try stage.nginx(
                serving: stage.directory,
                """
                location /mirror {
                    proxy_pass http://\(relay.address);
                    proxy_http_version 1.1;
                    proxy_set_header Host $host;
                    proxy_set_header Upgrade $http_upgrade;
                    proxy_set_header Connection upgrade;
                    proxy_set_header Sec-WebSocket-Protocol "";
                }
                """)
            let key = try stage.write("agent.key", agentKey.secret + "\n")
            let agent = try stage.start(
                Built.agent,
                [
                    "--remote", "ws://127.0.0.1:\(nginx.port)/mirror", "--apikey-file", key,
                    "--name", "prom", "--local", origin.url,
                ])
            _ = try agent.expectReady("ready mirror=prom ")
            let client = try Connection.to(port: relay.port)
            try client.write(
                "GET /m/alice/prom/slow HTTP/1.1\r\nHost: a\r\n\(bearer(clientKey))\r\n\r\n")
            _ = try origin.waitForRequest()
            gate.open()
            #expect(try client.readResponse().text == "/slow")
        }
    }
}
