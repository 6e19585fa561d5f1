// Origins of every kind: https by their own authority and with a client's certificate, unix
// sockets, IPv6, names with several addresses, paths behind a prefix.

import Foundation
import Testing

struct OriginTests {
    // MARK: https

    /// nginx that answers by the name that TLS asked for and the one in Host.
    private func namesServer(
        _ stage: Stage, _ certificate: Certificate, _ more: String = ""
    ) throws -> Service {
        try stage.nginx(
            serving: stage.directory, protocols: "ssl",
            """
            ssl_certificate \(certificate.file);
            ssl_certificate_key \(certificate.key);
            \(more)
            location / { return 200 "$ssl_server_name $http_host"; }
            """)
    }

    @Test func `an https origin is known by its own authority and asked by its name`() throws {
        try stage { stage in
            let authority = try stage.authority()
            let server = try namesServer(stage, try authority.sign("localhost"))
            let mirror = try stage.mirror(
                local: "https://localhost:\(server.port)",
                agent: ["--local-ca-file", authority.file])
            #expect(try mirror.get("/x").text == "localhost relay.test")
        }
    }

    @Test func `another Host field changes neither the name asked for nor the one verified`() throws
    {
        try stage { stage in
            let authority = try stage.authority()
            let good = try namesServer(stage, try authority.sign("localhost"))
            let other = try namesServer(stage, try authority.sign("other.test"))
            let key = try stage.addKey(role: "agent")
            let mirror = try stage.mirror(
                local: "https://localhost:\(good.port)",
                agent: ["--local-ca-file", authority.file, "--host-header", "other.test"])
            #expect(try mirror.get("/x").text == "localhost other.test")
            try stage.agent(
                mirror.relay, key: key.secret, name: "wrong",
                local: "https://localhost:\(other.port)",
                ["--local-ca-file", authority.file, "--host-header", "other.test"])
            expectProblem(
                try ask(mirror.relay, "/m/alice/wrong/x", [bearer(mirror.clientKey)]), 502,
                "tls_certificate_error")
        }
    }

    @Test(arguments: [
        ("localhost", -1, true, "certificate has expired"),
        ("other.test", 2, true, "hostname mismatch"),
        ("localhost", 2, false, "unable to get local issuer certificate"),
    ])
    func `a certificate that does not hold is a tls error, and the log says why`(
        name: String, days: Int, isTrusted: Bool, reason: String
    ) throws {
        try stage { stage in
            let authority = try stage.authority()
            let other = try stage.authority("other-authority")
            let server = try namesServer(stage, try authority.sign(name, days: days))
            let local = "https://localhost:\(server.port)"
            let mirror = try stage.mirror(
                local: local,
                agent: ["--local-ca-file", isTrusted ? authority.file : other.file])
            expectProblem(try mirror.get("/x"), 502, "tls_certificate_error")
            try mirror.agent.expectLog(reason) { line in
                ["ERROR=tls_certificate_error", local, reason].allSatisfy(line.contains)
            }
            try mirror.relay.expectLine(status: 502, error: "tls_certificate_error")
        }
    }

    @Test func `local-insecure takes any certificate`() throws {
        try stage { stage in
            let server = try namesServer(
                stage, try stage.authority().sign("other.test", days: -1))
            let mirror = try stage.mirror(
                local: "https://localhost:\(server.port)", agent: ["--local-insecure"])
            #expect(try mirror.get("/x").text == "localhost relay.test")
        }
    }

    @Test func `an origin that asks for a certificate gets the one of the configuration`() throws {
        try stage { stage in
            let authority = try stage.authority()
            let clients = try stage.authority("clients")
            let server = try namesServer(
                stage, try authority.sign("localhost"),
                "ssl_client_certificate \(clients.file); ssl_verify_client on;")
            let own = try clients.sign("agent")
            let trust = ["--local-ca-file", authority.file]
            let local = "https://localhost:\(server.port)"
            let key = try stage.addKey(role: "agent")
            let mirror = try stage.mirror(
                local: local,
                agent: trust + [
                    "--local-certificate", own.file, "--local-private-key", own.key,
                ])
            #expect(try mirror.get("/x").text == "localhost relay.test")
            try stage.agent(
                mirror.relay, key: key.secret, name: "without",
                local: local, trust)
            // What the origin itself says then.
            let refused = try ask(
                mirror.relay, "/m/alice/without/x", [bearer(mirror.clientKey)])
            #expect(refused.status == 400)
            #expect(refused.text.contains("No required SSL certificate"))
        }
    }

    @Test func `an origin that ends the handshake for want of a certificate is a tls error`() throws
    {
        try stage { stage in
            let authority = try stage.authority()
            let certificate = try authority.sign("localhost")
            let server = try stage.start(
                "openssl",
                [
                    "s_server", "-www", "-accept", "127.0.0.1:0", "-cert", certificate.file, "-key",
                    certificate.key, "-Verify", "1", "-verify_return_error", "-CAfile",
                    authority.file,
                ])
            let line = try server.expectOutput("ACCEPT") { $0.hasPrefix("ACCEPT ") }
            let port = line.split(separator: ":").last ?? ""
            let mirror = try stage.mirror(
                local: "https://localhost:\(port)", agent: ["--local-ca-file", authority.file])
            expectProblem(try mirror.get("/x"), 502, "tls_certificate_error")
            try mirror.agent.expectLog("the alert") { $0.contains("certificate required") }
        }
    }

    @Test func `half a client certificate, or one that can't be used, is named`() throws {
        try stage { stage in
            let one = try stage.certificate("one")
            let two = try stage.certificate("two")
            let key = try stage.write("agent.key", "mma_secret-of-some-length\n")
            func check(_ options: [String]) throws -> Finished {
                try stage.run(
                    Built.agent,
                    [
                        "check", "--remote", "ws://127.0.0.1:1/mirror", "--apikey-file", key,
                        "--name", "prom", "--local", "https://localhost:1",
                    ] + options)
            }
            let half = try check(["--local-certificate", one.file])
            #expect(half.exit == .code(64))
            #expect(half.error.contains("--local-certificate"))
            #expect(half.error.contains("local-private-key"))
            let mixed = try check([
                "--local-certificate", one.file, "--local-private-key", two.key,
            ])
            #expect(mixed.exit == .code(78))
            #expect(mixed.error.contains("option '--local-private-key'"))
            let absent = try check([
                "--local-certificate", stage.path("absent"), "--local-private-key", two.key,
            ])
            #expect(absent.exit == .code(78))
            #expect(absent.error.contains("option '--local-certificate'"))
            #expect(
                try check(["--local-certificate", one.file, "--local-private-key", one.key]).exit
                    == .code(0))
        }
    }

    // MARK: addresses

    @Test func `an origin behind a unix socket is asked, and missed when it is not there`() throws {
        try stage { stage in
            let socket = stage.path("origin.socket")
            _ = try stage.nginx(
                serving: stage.directory,
                "listen unix:\(socket); location / { return 200 \"$http_host $request_uri\"; }")
            let key = try stage.addKey(role: "agent")
            let mirror = try stage.mirror(local: "unix:\(socket)")
            #expect(try mirror.get("/x?y").text == "relay.test /x?y")
            try stage.agent(
                mirror.relay, key: key.secret, name: "none",
                local: "unix:\(stage.path("none"))")
            let response = try ask(mirror.relay, "/m/alice/none/x", [bearer(mirror.clientKey)])
            expectProblem(response, 502, "connection_refused")
        }
    }

    @Test func `an origin with an address of IPv6 is asked`() throws {
        try stage { stage in
            let server = try stage.nginx(
                serving: stage.directory, on: "[::1]", "location / { return 200 \"$http_host\"; }")
            let mirror = try stage.mirror(
                local: "http://[::1]:\(server.port)", agent: ["--host-header", "local"])
            #expect(try mirror.get("/x").text == "[::1]:\(server.port)")
        }
    }

    /// A name with two addresses, IPv4 before IPv6, for the programs that get these variables.
    private func twoAddresses(_ stage: Stage) throws -> [String: String] {
        [
            "LD_PRELOAD": "libnss_wrapper.so",
            "NSS_WRAPPER_HOSTS": try stage.write("hosts", "127.0.0.1 two.test\n::1 two.test\n"),
        ]
    }

    @Test func `of a name's addresses one that refuses is passed over`() throws {
        try stage { stage in
            let server = try stage.nginx(
                serving: stage.directory, on: "[::1]", "location / { return 200 six; }")
            let mirror = try stage.mirror(
                local: "http://two.test:\(server.port)", environment: try twoAddresses(stage))
            #expect(try mirror.get("/x").text == "six")
            server.program.end()
            expectProblem(try mirror.get("/x"), 502, "connection_refused")
        }
    }

    @Test func `of a name's addresses one that is silent is passed over in time`() throws {
        try stage { stage in
            // Room for one connection that nobody accepts: the system drops what comes after it.
            let full = try Listener(backlog: 0)
            let first = try Connection.to(port: full.port)
            defer { first.close() }
            _ = try stage.nginx(
                serving: stage.directory, on: "[::1]", port: full.port,
                "location / { return 200 six; }")
            let limits = try stage.write("agent.conf", "connect-timeout = 4s\n")
            let mirror = try stage.mirror(
                local: "http://two.test:\(full.port)", agent: ["--config", limits],
                environment: try twoAddresses(stage))
            #expect(try mirror.get("/x").text == "six")
        }
    }

    // MARK: time

    @Test func `an origin that never answers is given up by the agent in its time`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.waitForEnd()
            }
            let limits = try stage.write("agent.conf", "response-timeout = 1s\n")
            let mirror = try stage.mirror(origin, agent: ["--config", limits])
            expectProblem(try mirror.get("/x"), 504, "http_response_timeout")
            #expect(origin.waitForEnded(1), "the connection to the origin is closed")
            #expect(origin.requests.count == 1)
        }
    }

    // MARK: paths

    @Test func `a redirect to the same host is passed on as a path of the mirror`() throws {
        try stage { stage in
            let port = Signalled(0)
            let origin = try Origin.answering { request in
                let own = "http://127.0.0.1:\(port.withLock { $0 })"
                return Answer(
                    302, ["Location: \(own)/next?to=\(request.target)", "Content-Location: \(own)"])
            }
            port.withLock { $0 = origin.port }
            let mirror = try stage.mirror(origin)
            let response = try mirror.get("/x")
            #expect(response.status == 302)
            #expect(response["Location"] == "/m/alice/prom/next?to=/x")
            #expect(origin.requests.count == 1)
        }
    }

    @Test func `what stands before an origin's paths is added and taken away again`() throws {
        try stage { stage in
            let origin = try Origin.answering { request in
                Answer(
                    200,
                    [
                        "Location: /app/next", "Set-Cookie: a=1; Path=/app/; Secure",
                        "Set-Cookie: b=2; Path=/elsewhere",
                    ], body: request.target)
            }
            let mirror = try stage.mirror(local: stage.keep(origin).url + "/app/")
            let response = try mirror.get("/x?y")
            #expect(response.text == "/app/x?y")
            #expect(response["Location"] == "/m/alice/prom/next")
            #expect(
                response.head.all("Set-Cookie") == [
                    "a=1; Path=/m/alice/prom/; Secure", "b=2; Path=/m/alice/prom/elsewhere",
                ])
        }
    }
}
