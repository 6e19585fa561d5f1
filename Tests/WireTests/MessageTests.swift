import Testing

@testable import Wire

@Suite struct MessageTests {
    @Test(arguments: [
        ([0, 0, 0, 0, 0, 0], MessageHeader(.settings, exchange: 0)),
        ([3, 1, 0, 0, 0, 17], MessageHeader(.data, isEnd: true, exchange: 17)),
        ([6, 0, 0x12, 0x34, 0x56, 0x78], MessageHeader(.reset, exchange: 0x1234_5678)),
        (
            [200, 0xFE, 0xFF, 0xFF, 0xFF, 0xFF],
            MessageHeader(type: 200, flags: 0xFE, exchange: .max)
        ),
    ])
    func `a header is read and written back`(bytes: [UInt8], header: MessageHeader) {
        #expect(MessageHeader.parse([7] + bytes + [8], 1..<8) == header)
        #expect(MessageHeader.parse([7] + bytes, 1..<7) == header)
        #expect(MessageHeader.parse(bytes, 0..<5) == nil)
        var appended: [UInt8] = []
        header.append(to: &appended)
        #expect(appended == bytes)
        var written = [UInt8](repeating: 0xEE, count: 8)
        header.write(at: 1, in: &written)
        #expect(written == [0xEE] + bytes + [0xEE])
    }

    @Test func `flags but END are unknown`() {
        #expect(MessageHeader(type: 3, flags: 1, exchange: 1).isEnd)
        #expect(!MessageHeader(type: 3, flags: 2, exchange: 1).isEnd)
        for flags in UInt8.min...UInt8.max {
            let header = MessageHeader(type: 3, flags: flags, exchange: 1)
            #expect(header.hasUnknownFlags == (flags > 1))
        }
    }

    @Test func `the numbers of types and codes are those of the protocol`() {
        #expect(MessageType.allCases.map(\.rawValue) == Array(0...7))
        #expect(ResetCode.allCases.map(\.rawValue) == Array(0...15))
        #expect(
            ResetCode.allCases.map(\.proxyStatus.description) == [
                "none", "cancelled", "connection_refused", "destination_ip_unroutable",
                "dns_error", "tls_certificate_error", "http_protocol_error",
                "http_response_incomplete", "connection_terminated", "connection_timeout",
                "http_response_timeout", "http_request_denied", "connection_limit_reached",
                "destination_unavailable", "http_request_error", "destination_not_found",
            ])
    }

    @Test(arguments: [0, 1, 256, 0x0102_0304, UInt32.max])
    func `credit is read and written back`(credit: UInt32) throws {
        var out: [UInt8] = [9]
        Credit.append(credit, to: &out)
        #expect(out.count == 5 && out[4] == UInt8(credit & 0xFF))
        #expect(try Credit.parse(out, 1..<5) == credit)
        #expect(throws: MessageError.credit) { try Credit.parse(out, 1..<4) }
        #expect(throws: MessageError.credit) { try Credit.parse(out, 0..<5) }
        #expect(throws: MessageError.credit) { try Credit.parse(out, 0..<0) }
    }

    @Test(
        arguments: [
            ([0, 1], 1, .cancelled, ""),
            ([0, 2] + [UInt8]("nö"), 2, .connectionRefused, "nö"),
            ([0, 16], 16, nil, ""),
            ([0xFF, 0xFF] + [UInt8]("x"), 0xFFFF, nil, "x"),
        ] as [([UInt8], UInt16, ResetCode?, String)])
    func `a reset is read and written back`(
        bytes: [UInt8], rawCode: UInt16, code: ResetCode?, reason: String
    ) throws {
        let reset = try Reset.parse([9] + bytes, 1..<(1 + bytes.count))
        #expect(reset.rawCode == rawCode && reset.code == code && reset.reason == reason)
        var out: [UInt8] = []
        reset.append(to: &out)
        #expect(out == bytes)
    }

    @Test func `a reset without a code or with too long a reason is refused`() throws {
        let longest = [0, 1] + [UInt8](repeating: 0x61, count: 512)
        #expect(try Reset.parse(longest, longest.indices).reason.count == 512)
        let longer = longest + [0x61]
        #expect(throws: MessageError.reset) { try Reset.parse(longer, longer.indices) }
        #expect(throws: MessageError.reset) { try Reset.parse([0], 0..<1) }
        #expect(throws: MessageError.reset) { try Reset.parse([], 0..<0) }
    }

    @Test func `invalid UTF-8 in a reason is repaired, and a long one cut`() throws {
        let bytes: [UInt8] = [0, 1, 0x61, 0xFF, 0x62]
        #expect(try Reset.parse(bytes, bytes.indices).reason == "a\u{FFFD}b")
        var out: [UInt8] = []
        Reset(.dnsError, reason: String(repeating: "é", count: 400)).append(to: &out)
        #expect(
            try Reset.parse(out, out.indices)
                == Reset(
                    .dnsError, reason: String(repeating: "é", count: 256)))
    }
}

@Suite struct SettingsTests {
    private func parse(_ text: String) throws -> Settings {
        let bytes = [UInt8](text)
        return try Settings.parse([9] + bytes, 1..<(1 + bytes.count))
    }

    @Test func `settings are read, and those that are missing keep their defaults`() throws {
        #expect(try parse("") == Settings())
        let settings = try parse(
            "version: magicmirror 1.0\nmaximum-exchanges: 7\ninitial-credit: 65536\n"
                + "instance: Ab-9_\n")
        #expect(
            settings
                == Settings(
                    program: "magicmirror 1.0", maximumExchanges: 7, initialCredit: 65536,
                    instance: "Ab-9_"))
        #expect(try parse("colour: red\nmaximum-exchanges: 65535\n").maximumExchanges == 65535)
        #expect(try parse("x: \ninstance: \n") == Settings())
    }

    @Test(arguments: [
        Settings(),
        Settings(program: "p", maximumExchanges: 1, initialCredit: 1, instance: "i"),
        Settings(
            program: String(repeating: "p", count: 128), maximumExchanges: 0xFFFF,
            initialCredit: 0x7FFF_FFFF, instance: String(repeating: "i", count: 64)),
    ])
    func `settings are written so that they read as the same`(settings: Settings) throws {
        var out: [UInt8] = []
        settings.append(to: &out)
        #expect(try Settings.parse(out, out.indices) == settings)
    }

    @Test(arguments: [
        "\n", "a", "a\n", "a:\n", "a:b\n", ": b\n", "version: a", "version: a\n\n",
        "version: a\r\n", "version: \t\n", "version: é\n", "version: a\u{0}\n",
        "maximum-exchanges: 0\n", "maximum-exchanges: 65536\n", "maximum-exchanges: \n",
        "maximum-exchanges: 1x\n", "maximum-exchanges: -1\n", "maximum-exchanges: 007\n",
        "maximum-exchanges: 1\nmaximum-exchanges: 1\n",
        "initial-credit: 0\n", "initial-credit: 2147483648\n",
        "initial-credit: 99999999999999999999\n",
        "instance: a b\n", "instance: a/b\n", "x: 1\nx: 2\n",
        "instance: " + String(repeating: "i", count: 65) + "\n",
        "version: " + String(repeating: "p", count: 129) + "\n",
        "x: " + String(repeating: "p", count: 4096) + "\n",
    ])
    func `malformed settings are refused`(text: String) {
        #expect(throws: MessageError.settings) { try parse(text) }
    }
}
