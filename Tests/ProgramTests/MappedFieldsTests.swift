// Paths of an origin, mapped back under its mirror.

import Testing

@testable import Relay

@Suite struct MappedFieldsTests {
    private let mapped = MappedFields(
        prefix: Array("/m/a/b".utf8), host: Array("Relay.test:443".utf8)[...])

    private func text(_ map: (ArraySlice<UInt8>) -> [UInt8], _ value: String) -> String {
        String(decoding: map(Array(value.utf8)[...]), as: UTF8.self)
    }

    @Test(arguments: [
        ("/", "/m/a/b/"), ("/x?y#z", "/m/a/b/x?y#z"), ("/?x", "/m/a/b/?x"),
        // Under the prefix already, and only just not.
        ("/m/a/b", "/m/a/b"), ("/m/a/b/x", "/m/a/b/x"), ("/m/a/b?x", "/m/a/b?x"),
        ("/m/a/b#x", "/m/a/b#x"), ("/m/a/bc", "/m/a/b/m/a/bc"), ("/m/a", "/m/a/b/m/a"),
        // URLs of the public host.
        ("https://relay.test/x", "/m/a/b/x"), ("http://relay.test/x", "/m/a/b/x"),
        ("HTTPS://RELAY.TEST/x", "/m/a/b/x"), ("https://relay.test:443/x", "/m/a/b/x"),
        ("http://relay.test:80/x", "/m/a/b/x"), ("//relay.test/x", "/m/a/b/x"),
        ("https://relay.test", "/m/a/b/"), ("https://relay.test?x", "/m/a/b/?x"),
        ("https://relay.test#x", "/m/a/b/#x"), ("https://relay.test/m/a/b/x", "/m/a/b/x"),
        // Others stay.
        ("https://relay.test:8443/x", "https://relay.test:8443/x"),
        ("https://relay.test.evil/x", "https://relay.test.evil/x"),
        ("https://user@relay.test/x", "https://user@relay.test/x"),
        ("https://other.test/m/a/b", "https://other.test/m/a/b"),
        ("//other.test/x", "//other.test/x"), ("///x", "///x"),
        ("https://relay.test//x", "https://relay.test//x"),
        ("ftp://relay.test/x", "ftp://relay.test/x"), ("x/y", "x/y"), ("../x", "../x"),
        ("?x", "?x"), ("#x", "#x"), ("", ""), ("mailto:a@relay.test", "mailto:a@relay.test"),
        // For some browsers a backslash is a slash: under the prefix it is harmless.
        ("/\\other.test", "/m/a/b/\\other.test"),
    ])
    func `a location is mapped where it is the origin's own`(value: String, wanted: String) {
        #expect(text(mapped.location, value) == wanted)
    }

    @Test(arguments: [
        ("5; url=/x", "5; url=/m/a/b/x"), ("0;URL=/x", "0;URL=/m/a/b/x"),
        ("5, url = /x", "5, url = /m/a/b/x"), ("5; url='/x y'z", "5; url='/m/a/b/x y'z"),
        ("5; url=\"/x", "5; url=\"/m/a/b/x"), ("5; /x", "5; /m/a/b/x"),
        ("1.5;url=/x", "1.5;url=/m/a/b/x"),
        ("5; url=https://relay.test/x", "5; url=/m/a/b/x"),
        ("5; url=https://other.test/x", "5; url=https://other.test/x"),
        ("5; url=x", "5; url=x"), ("5", "5"), ("5;", "5;"), ("url=/x", "url=/x"), ("", ""),
        ("/x", "/x"), ("5 url=/x", "5 url=/x"), ("5; urlx=/x", "5; urlx=/x"),
    ])
    func `the URL of a refresh is mapped like a location`(value: String, wanted: String) {
        #expect(text(mapped.refresh, value) == wanted)
    }

    @Test(arguments: [
        ("a=b; Path=/", "a=b; Path=/m/a/b/"), ("a=b;path=/x", "a=b;Path=/m/a/b/x"),
        ("a=b; PATH = /x ; Secure", "a=b; Path=/m/a/b/x ; Secure"),
        ("a=b; Path=/m/a/b/x", "a=b; Path=/m/a/b/x"), ("a=b; Path=x", "a=b; Path=x"),
        ("a=b; Path=", "a=b; Path="), ("a=b; Path", "a=b; Path"), ("a=b", "a=b"),
        ("path=/x; Path=/y", "path=/x; Path=/m/a/b/y"), ("a=b; xpath=/x", "a=b; xpath=/x"),
        ("a=b; Path=\"/x\"", "a=b; Path=\"/x\""), ("a=b; Path=//x", "a=b; Path=//x"),
        ("a=b; Domain=origin.lan; Path=/x", "a=b; Domain=origin.lan; Path=/m/a/b/x"),
        ("a=b; Path=/x; Path=/y", "a=b; Path=/m/a/b/x; Path=/m/a/b/y"), (";;", ";;"), ("", ""),
        ("__Host-a=b; Secure; Path=/", "__Host-a=b; Secure; Path=/m/a/b/"),
    ])
    func `the path of a cookie is mapped, and nothing else of it`(value: String, wanted: String) {
        #expect(text(mapped.cookie, value) == wanted)
    }
}
