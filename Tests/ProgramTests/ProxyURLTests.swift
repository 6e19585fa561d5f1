// Proxies: how they are written, and which relays they are for.

import Program
import Testing
import Wire

@testable import Agent

@Suite struct ProxyURLTests {
    @Test(arguments: [
        ("http://proxy:8080", "proxy", 8080, nil),
        ("http://proxy:8080/", "proxy", 8080, nil),
        ("HTTP://proxy", "proxy", 3128, nil),
        ("proxy:1", "proxy", 1, nil),
        ("http://[::1]:8080", "::1", 8080, nil),
        ("http://user:pass@proxy:8080", "proxy", 8080, "Basic dXNlcjpwYXNz"),
        ("http://u:p%40ss@proxy:8080", "proxy", 8080, "Basic dTpwQHNz"),
        ("http://u:p@ss@proxy:8080", "proxy", 8080, "Basic dTpwQHNz"),
        ("http://user@proxy:8080", "proxy", 8080, "Basic dXNlcjo="),
    ])
    func `a proxy has a host, a port and perhaps a user`(
        text: String, host: String, port: Int, authorization: String?
    ) throws {
        let proxy = try ProxyURL.parse(text)
        #expect(proxy.address == HostPort(host: host, port: port))
        #expect(proxy.authorization == authorization.map { Array($0.utf8) })
    }

    @Test(arguments: [
        ("https://proxy:1", "only proxies with the scheme 'http' are known"),
        ("http://proxy:1/path", "a proxy has no path (write http://HOST:PORT)"),
        ("http://user:SECRET@pro xy:1", "'pro xy:1' is no host and port (write http://HOST:PORT)"),
        ("http://", "'' is no host and port (write http://HOST:PORT)"),
        ("http://proxy:0", "'proxy:0' is no host and port (write http://HOST:PORT)"),
        ("http://%zz@proxy:1", "user and password have a broken percent-encoding"),
    ])
    func `a wrong proxy is named without its password`(text: String, message: String) {
        #expect(throws: TextError(message)) { try ProxyURL.parse(text) }
    }

    @Test(arguments: [
        ("", false), ("*", true), ("relay.example.com", true), ("example.com", true),
        (".example.com", true), ("xample.com", false), ("other.com, example.com", true),
        ("*.example.com", true), ("*.relay.example.com", true), ("other.com example.com", true),
        ("RELAY.example.COM", true), ("relay.example.com:443", true),
        ("relay.example.com:444", false), ("com.", false), (".", false), (",", false),
    ])
    func `exceptions are hosts and their domains`(list: String, excepted: Bool) {
        let address = HostPort(host: "relay.example.com", port: 443)
        #expect(ProxyURL.isExcepted(address, by: list) == excepted)
    }

    @Test(arguments: [
        ("10.0.0.0/8", true), ("10.1.2.3", true), ("11.0.0.0/8", false), ("2.3", false),
    ])
    func `exceptions are addresses and networks`(list: String, excepted: Bool) {
        #expect(ProxyURL.isExcepted(HostPort(host: "10.1.2.3", port: 443), by: list) == excepted)
    }

    @Test func `the environment names a proxy for wss only`() throws {
        let secure = try RemoteURL.parse("wss://relay.example.com/m")
        let plain = try RemoteURL.parse("ws://relay.example.com/m")
        let both = Environment(["HTTPS_PROXY": "http://upper:1", "https_proxy": "http://lower:1"])
        #expect(try ProxyURL.fromEnvironment(both, for: secure)?.address.host == "lower")
        #expect(try ProxyURL.fromEnvironment(both, for: plain) == nil)
        let upper = Environment(["HTTPS_PROXY": "http://upper:1", "NO_PROXY": "localhost"])
        #expect(try ProxyURL.fromEnvironment(upper, for: secure)?.address.host == "upper")
        let excepted = Environment(["HTTPS_PROXY": "http://upper:1", "NO_PROXY": "example.com"])
        #expect(try ProxyURL.fromEnvironment(excepted, for: secure) == nil)
        #expect(try ProxyURL.fromEnvironment(Environment(["HTTPS_PROXY": ""]), for: secure) == nil)
        let wrong = Environment(["HTTPS_PROXY": "socks5://u:SECRET@x"])
        #expect(
            throws: StartError.configuration(
                place: nil,
                message: "environment variable 'HTTPS_PROXY':"
                    + " only proxies with the scheme 'http' are known")
        ) { try ProxyURL.fromEnvironment(wrong, for: secure) }
    }
}
