import Testing

@testable import Wire

@Suite struct HeadWriterTests {
    private func written(_ write: (inout [UInt8]) -> Void) -> String {
        var out: [UInt8] = []
        write(&out)
        return out.text
    }

    private func slice(_ text: String) -> ArraySlice<UInt8> { [UInt8](text)[...] }

    @Test func `a head is written line by line`() {
        let request = written {
            HeadWriter.requestLine(method: slice("GET"), target: slice("/a?b"), to: &$0)
            HeadWriter.requestLine(method: "POST", target: slice("/"), to: &$0)
            HeadWriter.field("Host", slice("a"), to: &$0)
            HeadWriter.field("Via", [0x31], to: &$0)
            HeadWriter.field("X-Request-Id", "é", to: &$0)
            HeadWriter.field("Connection", text: "close", to: &$0)
            HeadWriter.field("Content-Length", 1204, to: &$0)
            HeadWriter.end(to: &$0)
        }
        #expect(
            request
                == "GET /a?b HTTP/1.1\r\nPOST / HTTP/1.1\r\nHost: a\r\nVia: 1\r\nX-Request-Id: é\r\n"
                + "Connection: close\r\nContent-Length: 1204\r\n\r\n")
        let response = written {
            HeadWriter.statusLine(200, reason: "OK", to: &$0)
            HeadWriter.statusLine(404, reason: slice("Not Found"), to: &$0)
            HeadWriter.statusLine(599, reason: slice(""), to: &$0)
        }
        #expect(response == "HTTP/1.1 200 OK\r\nHTTP/1.1 404 Not Found\r\nHTTP/1.1 599 \r\n")
    }

    @Test(arguments: [
        (0, "0"), (9, "9"), (10, "10"), (1_234_567_890, "1234567890"), (-1, "-1"), (-120, "-120"),
        (Int.max, "9223372036854775807"), (Int.min, "-9223372036854775808"),
    ])
    func `a number is written in decimal`(number: Int, text: String) {
        #expect(written { HeadWriter.decimal(number, to: &$0) } == text)
    }

    @Test func `no byte of a value can become a line of its own`() {
        for byte in UInt8.min...UInt8.max {
            var out: [UInt8] = [0x0D]
            HeadWriter.field("A", [0x62, byte, 0x63], to: &out)
            let isControl = byte < 0x20 && byte != 9 || byte == 0x7F
            #expect(out == [0x0D] + [UInt8]("A: b") + [isControl ? 0x20 : byte] + [UInt8]("c\r\n"))
        }
        let evil = "a\r\nSet-Cookie: b\r\n\r\n\u{0}"
        #expect(
            written { HeadWriter.field("A", evil, to: &$0) } == "A: a  Set-Cookie: b     \r\n")
        #expect(
            written { HeadWriter.statusLine(200, reason: slice("a\r\nB: c"), to: &$0) }
                == "HTTP/1.1 200 a  B: c\r\n")
        #expect(
            written { HeadWriter.requestLine(method: "GET", target: slice("/\nA: b"), to: &$0) }
                == "GET / A: b HTTP/1.1\r\n")
    }
}
