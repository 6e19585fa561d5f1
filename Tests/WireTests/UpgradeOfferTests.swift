import Testing

@testable import Wire

private func offer(_ lines: String, version: Int = 1, hasBody: Bool = false) throws -> String? {
    let text = "GET / HTTP/1.\(version)\r\nHost: a\r\n\(lines)\r\n"
    let bytes = [UInt8](text)
    let head = try RequestHead.parse(bytes, 0..<bytes.count)
    guard let offer = UpgradeOffer(head, hasBody: hasBody) else { return nil }
    var out: [UInt8] = []
    offer.append(to: &out)
    return out.text
}

@Suite struct UpgradeOfferTests {
    @Test(arguments: [
        ("Connection: Upgrade\r\nUpgrade: websocket\r\n", "websocket"),
        ("Connection: keep-alive, UPGRADE\r\nUpgrade: WebSocket\r\n", "WebSocket"),
        (
            "Connection: a\r\nConnection: upgrade\r\nUpgrade: one/1.0,two\r\nUpgrade: three\r\n",
            "one/1.0, two, three"
        ),
        ("Connection: upgrade\r\nUpgrade: h2c, websocket, HTTP/2.0, tls/1.2\r\n", "websocket"),
        ("Connection: upgrade\r\nUpgrade: a b, c;d, /1, ok\r\n", "ok"),
    ])
    func `what carries no further requests is asked for`(lines: String, value: String) throws {
        #expect(try offer(lines) == "Connection: Upgrade\r\nUpgrade: \(value)\r\n")
    }

    @Test(arguments: [
        "Connection: upgrade\r\n", "Upgrade: websocket\r\n",
        "Connection: close\r\nUpgrade: websocket\r\n", "Connection: upgrade\r\nUpgrade:\r\n",
        "Connection: upgrade\r\nUpgrade: h2c\r\n", "Connection: upgrade\r\nUpgrade: H2C/1\r\n",
        "Connection: upgrade\r\nUpgrade: TLS/1.0, HTTP/2.0\r\n",
    ])
    func `everything else asks for nothing`(lines: String) throws {
        #expect(try offer(lines) == nil)
    }

    @Test func `an upgrade is ignored in HTTP 1.0 and beside a body`() throws {
        let lines = "Connection: upgrade\r\nUpgrade: websocket\r\n"
        #expect(try offer(lines, version: 0) == nil)
        #expect(try offer(lines, hasBody: true) == nil)
    }

    @Test(arguments: [
        ("Upgrade: websocket\r\n", true), ("Upgrade: WEBSOCKET\r\n", true),
        ("Upgrade: other/1, websocket\r\n", true), ("Upgrade: other\r\n", false),
        ("Upgrade: websocket, h2c\r\n", false), ("Upgrade: \r\n", false), ("", false),
    ])
    func `an answer may switch to what was asked for`(lines: String, isAllowed: Bool) throws {
        let asked = [UInt8](
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: upgrade\r\nUpgrade: websocket, other/1\r\n\r\n"
        )
        let request = try RequestHead.parse(asked, 0..<asked.count)
        let answered = [UInt8]("HTTP/1.1 101 Switching\r\n\(lines)\r\n")
        let response = try ResponseHead.parse(answered, 0..<answered.count)
        let offer = try #require(UpgradeOffer(request, hasBody: false))
        #expect(offer.allows(response) == isAllowed)
    }

    @Test(arguments: [(101, true), (426, true), (200, false)])
    func `101 and 426 name protocols to the client`(status: Int, names: Bool) throws {
        let bytes = [UInt8]("HTTP/1.1 \(status) X\r\nUpgrade: a\r\nUpgrade: b\r\n\r\n")
        var out: [UInt8] = []
        try ResponseHead.parse(bytes, 0..<bytes.count).appendUpgrade(to: &out)
        #expect(out.text == (names ? "Connection: Upgrade\r\nUpgrade: a, b\r\n" : ""))
    }
}
