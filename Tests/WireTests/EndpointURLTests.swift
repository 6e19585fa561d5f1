import Testing

@testable import Wire

@Suite struct EndpointURLTests {
    @Test(arguments: [
        (
            "wss://relay.example.com/mirror", true, "relay.example.com", 443, "/mirror",
            "relay.example.com"
        ),
        ("ws://127.0.0.1:8080", false, "127.0.0.1", 8080, "/", "127.0.0.1:8080"),
        ("WSS://a:443/x?y=z", true, "a", 443, "/x?y=z", "a"),
        ("wss://[2001:db8::1]:8443/m", true, "2001:db8::1", 8443, "/m", "[2001:db8::1]:8443"),
        ("ws://[::1]/", false, "::1", 80, "/", "[::1]"),
        ("ws://a?b", false, "a", 80, "/?b", "a"),
    ])
    func `a remote address is read`(
        text: String, isSecure: Bool, host: String, port: Int, target: String, hostField: String
    ) throws {
        let url = try RemoteURL.parse(text)
        #expect(url.isSecure == isSecure)
        #expect(url.address == HostPort(host: host, port: port))
        #expect(url.target == target)
        #expect(url.hostField == hostField)
        #expect(try RemoteURL.parse(url.description) == url)
    }

    @Test(arguments: [
        "", "relay.example.com", "wss:relay", "wss:/relay", "wss://", "wss:///mirror",
        "http://relay/", "https://relay/", "wss://relay:0/", "wss://relay:65536/", "wss://relay:/",
        "wss://relay:x/", "wss://re lay/", "wss://relay/a b", "wss://relay/é", "wss://relay/#f",
        "wss://relay#f", "wss://[::1", "wss://::1/", "wss://[1]/", "wss://a:080/",
    ])
    func `what is no remote address is refused with a reason`(text: String) {
        let error = #expect(throws: TextError.self) { try RemoteURL.parse(text) }
        #expect(error?.message.hasPrefix("'\(text)' ") == true)
    }

    @Test func `a password in an address is not repeated in the message`() {
        for text in ["wss://me:secret@relay/", "http://me:secret@origin/"] {
            let errors = [
                #expect(throws: TextError.self) { try RemoteURL.parse(text) },
                #expect(throws: TextError.self) { try LocalURL.parse(text) },
            ]
            // The one that knows the scheme sees the user; the other names the whole text.
            #expect(errors.contains { $0?.message.contains("secret") == false })
        }
    }

    @Test(arguments: [
        ("http://192.168.0.78:9090", "http://192.168.0.78:9090", "", "192.168.0.78:9090"),
        ("http://prom", "http://prom", "", "prom"),
        ("http://prom/", "http://prom", "", "prom"),
        ("http://prom:80/a/b//", "http://prom/a/b", "/a/b", "prom"),
        ("https://prom/prefix", "https://prom/prefix", "/prefix", "prom"),
        ("https://[::1]:9443", "https://[::1]:9443", "", "[::1]:9443"),
        ("prom:9090", "http://prom:9090", "", "prom:9090"),
        ("[::1]:9090", "http://[::1]:9090", "", "[::1]:9090"),
        ("9090", "http://127.0.0.1:9090", "", "127.0.0.1:9090"),
        ("unix:/run/prom.sock", "unix:/run/prom.sock", "", "localhost"),
    ])
    func `a local address is read`(
        text: String, canonical: String, prefix: String, hostField: String
    ) throws {
        let url = try LocalURL.parse(text)
        #expect(url.description == canonical)
        #expect(url.prefix == prefix)
        #expect(url.hostField == hostField)
        #expect(try LocalURL.parse(canonical) == url)
        #expect(url.isSecure == text.hasPrefix("https"))
    }

    @Test(arguments: [
        "", "0", "65536", "-1", "09090", "prom", "prom:", "prom:0", "prom:99999", ":9090",
        "ftp://prom/", "ws://prom/", "http://", "http://prom:x", "http://prom/a?b",
        "http://prom/#a",
        "http://prom/a b", "unix:", "unix:run/prom.sock", "a b:1", "::1:9090", "[::1]",
        "unix:/" + String(repeating: "a", count: 107),
    ])
    func `what is no local address is refused with a reason`(text: String) {
        let error = #expect(throws: TextError.self) { try LocalURL.parse(text) }
        #expect(error?.message.hasPrefix("'\(text)' ") == true)
    }

    @Test(
        arguments: [
            ("1.2.3.4:80", .tcp(HostPort(host: "1.2.3.4", port: 80))),
            ("127.0.0.1:0", .tcp(HostPort(host: "127.0.0.1", port: 0))),
            ("[::]:443", .tcp(HostPort(host: "::", port: 443))),
            ("localhost:8443", .tcp(HostPort(host: "localhost", port: 8443))),
            ("unix:/run/a b", .unix(path: "/run/a b")),
        ] as [(String, SocketAddressText)])
    func `the address of a listener is read and written back`(
        text: String, address: SocketAddressText
    ) throws {
        #expect(try SocketAddressText.parse(text) == address)
        #expect(address.description == text)
    }

    @Test(arguments: [
        "", "80", ":80", "1.2.3.4", "[::]", "::", "::443", "1.2.3.4:", "a:65536",
        "unix:", "unix:x", "http://a:80",
    ])
    func `what is no address of a listener is refused with a reason`(text: String) {
        let error = #expect(throws: TextError.self) { try SocketAddressText.parse(text) }
        #expect(error?.message.hasPrefix("'\(text)' ") == true)
    }
}
