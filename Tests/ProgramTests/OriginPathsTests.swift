// What becomes of the paths, locations and cookies that an origin names.

import Testing
import Wire

@testable import Agent

@Suite struct OriginPathsTests {
    private func location(
        _ value: String, local: String, host: String? = nil, asked: String = "relay.test"
    ) throws -> String {
        let paths = OriginPaths(
            try LocalURL.parse(local), host: host.map { Array($0.utf8) })
        let mapped = paths.location(Array(value.utf8)[...], Array(asked.utf8)[...])
        return String(decoding: mapped, as: UTF8.self)
    }

    @Test(arguments: [
        ("http://10.0.0.1:9090/x?y#z", "/x?y#z"), ("HTTP://10.0.0.1:9090/x", "/x"),
        ("http://10.0.0.1:9090", "/"), ("http://10.0.0.1:9090?q", "/?q"),
        // Others, or what could be read as others.
        ("http://10.0.0.1:9091/x", "http://10.0.0.1:9091/x"),
        ("http://10.0.0.1/x", "http://10.0.0.1/x"),
        ("https://10.0.0.1:9090/x", "https://10.0.0.1:9090/x"),
        ("http://u@10.0.0.1:9090/x", "http://u@10.0.0.1:9090/x"),
        ("http://10.0.0.1:9090.evil.test/x", "http://10.0.0.1:9090.evil.test/x"),
        ("http://10.0.0.1:9090//evil.test/x", "http://10.0.0.1:9090//evil.test/x"),
        ("http://10.0.0.1:9090/\\evil.test/x", "http://10.0.0.1:9090/\\evil.test/x"),
        ("http://relay.test/x", "http://relay.test/x"), ("//evil.test/x", "//evil.test/x"),
        ("/x", "/x"), ("x", "x"), ("", ""), ("http:", "http:"),
        ("ftp://10.0.0.1/", "ftp://10.0.0.1/"),
    ])
    func `an origin's own URL becomes a path, others stay`(value: String, mapped: String) throws {
        #expect(try location(value, local: "http://10.0.0.1:9090") == mapped)
    }

    @Test(arguments: [
        ("http://relay.test:9090/x/", "relay.test:8443", "/x/"),
        ("http://relay.test:9090/x/", "RELAY.test", "/x/"), ("http://[::1]:9090/", "[::1]:1", "/"),
        ("https://relay.test:9090/x", "relay.test", "https://relay.test:9090/x"),
        ("http://relay.test:8443/x", "relay.test:8443", "http://relay.test:8443/x"),
        ("http://other.test:9090/x", "relay.test:8443", "http://other.test:9090/x"),
        ("http://:9090/x", "", "/x"),
    ])
    func `the name it was asked by, with its own port, is the origin's own`(
        value: String, asked: String, mapped: String
    ) throws {
        #expect(try location(value, local: "http://10.0.0.1:9090", asked: asked) == mapped)
    }

    @Test(arguments: [
        ("https://grafana.lan/x", "https://grafana.lan", "/x"),
        ("https://GRAFANA.lan:443/x", "https://grafana.lan", "/x"),
        ("http://grafana.lan/x", "https://grafana.lan", "http://grafana.lan/x"),
        ("http://localhost/x", "unix:/run/x", "/x"),
        ("http://[::1]:80/x", "http://[::1]", "/x"),
    ])
    func `ports of the scheme may be written or not`(
        value: String, local: String, mapped: String
    ) throws {
        #expect(try location(value, local: local) == mapped)
    }

    @Test(arguments: [
        ("http://name.lan/x", "/x"), ("https://name.lan/x", "/x"),
        ("http://name.lan:81/x", "http://name.lan:81/x"),
        ("http://10.0.0.1:9090/x", "/x"), ("http://relay.test/x", "http://relay.test/x"),
    ])
    func `the name that host-header gives an origin is its own`(
        value: String, mapped: String
    ) throws {
        #expect(
            try location(value, local: "http://10.0.0.1:9090", host: "name.lan") == mapped)
    }

    @Test(arguments: [
        ("/app/x", "/x"), ("/app", "/"), ("/app?q", "/?q"), ("/application", "/application"),
        ("/", "/"), ("/app//evil.test", "/app//evil.test"), ("http://o:1/app/x", "/x"),
        ("http://o:1/other", "http://o:1/other"),
        ("http://relay.test/app/x", "http://relay.test/x"),
        ("https://relay.test/app", "https://relay.test/"),
        ("https://relay.test/other", "https://relay.test/other"),
    ])
    func `the prefix is taken away`(value: String, mapped: String) throws {
        #expect(try location(value, local: "http://o:1/app") == mapped)
    }

    @Test(arguments: [
        ("a=b; Path=/app/x; Secure", "a=b; Path=/x; Secure"), ("a=b; path=/app", "a=b; path=/"),
        ("a=b;PATH=/app/", "a=b;PATH=/"), ("a=b; Path=/", "a=b; Path=/"),
        ("Path=/app; Secure", "Path=/app; Secure"), ("a=b", "a=b"), ("a=b;", "a=b;"), ("", ""),
        ("a=b; Path=/application", "a=b; Path=/application"),
    ])
    func `so it is from the paths of cookies`(value: String, mapped: String) throws {
        let paths = OriginPaths(try LocalURL.parse("http://o/app"), host: nil)
        #expect(
            String(decoding: paths.cookie(Array(value.utf8)[...]), as: UTF8.self) == mapped)
        let none = OriginPaths(try LocalURL.parse("http://o"), host: nil)
        #expect(String(decoding: none.cookie(Array(value.utf8)[...]), as: UTF8.self) == value)
    }
}
