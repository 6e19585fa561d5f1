// The addresses that a relay listens on, and the TLS it speaks there.

import Foundation
import Testing

struct ListenerTests {
    @Test func `a relay listens on several addresses of both families`() throws {
        try stage { stage in
            let relay = try stage.relay(
                plaintext: false, listen: ["127.0.0.1:0", "[::1]:0", "127.0.0.1:0"])
            #expect(relay.addresses.count == 3)
            #expect(relay.addresses.filter { $0.hasPrefix("[::1]:") }.count == 1)
            #expect(!relay.addresses.contains { $0.hasSuffix(":0") })
            for address in relay.addresses {
                let answer = try stage.curl(
                    "https://\(address)/-/healthy", ["--cacert", relay.authority ?? ""])
                #expect(answer.status == 200, "\(address): \(answer.error)")
            }
        }
    }

    @Test func `the wildcard address of IPv6 serves IPv4 too, as in the manual's example`() throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false, listen: ["[::]:0"])
            for host in ["127.0.0.1", "[::1]"] {
                let answer = try stage.curl(
                    "https://\(host):\(relay.port)/-/healthy", ["--cacert", relay.authority ?? ""])
                #expect(answer.status == 200, "\(host): \(answer.error)")
            }
        }
    }

    @Test func `a relay behind a TLS-terminating proxy speaks plaintext`() throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: true)
            #expect(try ask(relay, "/-/healthy").status == 200)
            #expect(
                try stage.curl("https://\(relay.address)/-/healthy", ["--insecure"]).status == 0)
        }
    }

    @Test func `a relay is healthy, and ready to serve`() throws {
        try stage { stage in
            let relay = try stage.relay()
            for path in ["/-/healthy", "/-/ready"] {
                let response = try ask(relay, path)
                #expect(response.status == 200)
                #expect(response.body.isWhole)
                #expect(try ask(relay, path, method: "HEAD").status == 200)
            }
        }
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func `TLS is spoken in its two good versions`(version: String) throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            let finished = try handshake(stage, relay, [version])
            #expect(finished.output.contains("HTTP/1.1 200"), "\(finished.output)")
            #expect(finished.output.contains("Verify return code: 0 (ok)"))
            #expect(finished.output.contains("Cipher is "))
        }
    }

    @Test(arguments: ["-tls1", "-tls1_1"])
    func `an older TLS is refused`(version: String) throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            let finished = try handshake(
                stage, relay, [version, "-cipher", "DEFAULT@SECLEVEL=0"])
            #expect(!finished.output.contains("HTTP/1.1"))
            #expect(finished.exit != .code(0))
            #expect(finished.error.contains("alert protocol version"), "\(finished.error)")
        }
    }

    @Test(arguments: ["AES128-SHA", "ECDHE-ECDSA-AES256-SHA", "aNULL", "CAMELLIA"])
    func `a weak cipher is refused`(cipher: String) throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            let finished = try handshake(
                stage, relay, ["-tls1_2", "-cipher", cipher + ":@SECLEVEL=0"])
            #expect(!finished.output.contains("HTTP/1.1"))
            #expect(finished.error.contains("alert handshake failure"), "\(finished.error)")
        }
    }

    @Test(arguments: ["-tls1_2", "-tls1_3"])
    func `a client that comes again resumes its session`(version: String) throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            let session = stage.path("session.pem")
            let first = try handshake(stage, relay, [version, "-sess_out", session])
            #expect(first.output.contains("\nNew, "), "\(first.output)")
            let second = try handshake(stage, relay, [version, "-sess_in", session])
            #expect(second.output.contains("\nReused, "), "\(second.output)")
            #expect(second.output.contains("HTTP/1.1 200"))
        }
    }

    @Test func `a client that speaks no TLS does the relay no harm`() throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false)
            for text in [
                "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "\u{16}\u{3}\u{1}",
                "\0\0\0\0\0\0\0\0\0\0\0\0\0",
            ] {
                let client = try Connection.to(port: relay.port)
                try client.write(text)
                client.shutdownWriting()
                _ = try client.readToEnd()
            }
            #expect(try stage.curl(relay, "/-/healthy").status == 200)
        }
    }

    @Test func `a handshake that does not come to its end is given up`() throws {
        try stage { stage in
            let relay = try stage.relay(plaintext: false, "handshake-timeout = 1s\n")
            let client = try Connection.to(port: relay.port)
            try client.write("\u{16}\u{3}\u{1}")
            _ = try client.readToEnd()
            #expect(client.state != .open)
        }
    }

    /// Runs s_client with one request, until the relay closes.
    private func handshake(_ stage: Stage, _ relay: Relay, _ options: [String]) throws -> Finished {
        let request = try stage.write(
            "request", "GET /-/healthy HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        return try stage.run(
            "openssl",
            [
                "s_client", "-ign_eof", "-connect", relay.address, "-CAfile", relay.authority ?? "",
                "-verify_ip", "127.0.0.1",
            ] + options, input: request)
    }
}
