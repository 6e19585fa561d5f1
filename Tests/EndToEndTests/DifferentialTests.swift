// What the relay accepts and passes on is read by nginx as the same single request.
//
// Each request here is odd and good. nginx writes down every request line that it sees: had it
// found another end of a body or a head than the programs, it would see more lines, or fewer.

import Foundation
import Testing

struct DifferentialTests {
    @Test func `nginx reads each odd request as the one that was sent`() throws {
        try stage { stage in
            let log = stage.path("access.log")
            let nginx = try stage.nginx(
                serving: stage.directory,
                """
                access_log \(log);
                client_max_body_size 0;
                location / { return 200 "$request_uri"; }
                """)
            let mirror = try stage.mirror(local: nginx.url)
            let get = "GET /smuggled HTTP/1.1\r\nHost: a\r\n\r\n"
            let chunked = "Transfer-Encoding: chunked"
            let requests: [(method: String, fields: [String], body: String)] = [
                ("GET", [], ""), ("GET", ["Content-Length: 0"], ""),
                ("GET", ["Content-Length: \(get.utf8.count)"], get),
                ("DELETE", ["Content-Length: \(get.utf8.count)"], get),
                ("POST", ["Content-Length: 0"], ""), ("POST", [], ""),
                ("POST", ["content-length:\t\(get.utf8.count) \t"], get),
                ("POST", [chunked], "0\r\n\r\n"),
                ("POST", [chunked], "0000000000\r\n\r\n"),
                ("POST", ["transfer-ENCODING:  ChUnKeD\t"], "1\r\na\r\n0\r\n\r\n"),
                ("POST", [chunked], "\(String(get.utf8.count, radix: 16))\r\n\(get)\r\n0\r\n\r\n"),
                ("POST", [chunked], "000a;name=\"va;lue\"\r\n0123456789\r\n0;x\r\n\r\n"),
                (
                    "POST", [chunked],
                    "A \t;x\r\n0123456789\r\n0\r\nX: y\r\nContent-Length: 7\r\n\r\n"
                ),
                ("GET", [chunked], "3\r\n0\r\n\r\n0\r\n\r\n"),
                ("POST", ["Connection: Content-Length, Host", "Content-Length: 3"], "abc"),
                ("POST", ["Connection: Transfer-Encoding", chunked], "3\r\nabc\r\n0\r\n\r\n"),
                ("POST", ["Content_Length: 9", "Content-Length: 3"], "abc"),
                (
                    "POST", ["Content-Length-: 9", "X-Content-Length: 9", "Content-Length: 3"],
                    "abc"
                ),
                ("POST", ["Transfer_Encoding: chunked", "Content-Length: 3"], "abc"),
                ("GET", ["X:", "X: \t", "x:y", "X: \u{e9}\t\u{ff}"], ""),
                ("GET", ["X-Http-Method-Override: POST", "Expect: nothing"], ""),
                ("PROPFIND", ["Content-Length: 3"], "abc"), ("FROB", [], ""),
                ("POST", ["Expect: 100-continue", "Content-Length: 3"], "abc"),
                ("GET", ["X-Long: " + String(repeating: "x", count: 7000)], ""),
                ("GET", (0..<100).map { "X-\($0): \($0)" }, ""),
            ]
            var client = try mirror.connect()
            for (number, request) in requests.enumerated() {
                try client.write(
                    mirror.request(
                        request.method, "/\(number)", request.fields, body: request.body))
                let response = try client.readResponse()
                #expect(
                    response.text == "/\(number)" || response.status >= 400,
                    "\(request): \(response.status) \(response.text)")
                #expect(response["Proxy-Status"] == nil, "\(request)")
                // nginx does not wait for a body that it has no use for. Where its answer was here
                // before the body was on its way, the connection ends.
                if response["Connection"] == "close" { client = try mirror.connect() }
            }
            // nginx writes its lines when it is done; the last request is there once it ended.
            nginx.program.send(SIGTERM)
            _ = try nginx.program.exit()
            let lines = try stage.read(log).split(separator: "\n").map { line in
                String(line.split(separator: "\"", omittingEmptySubsequences: false)[1])
            }
            #expect(
                lines == requests.enumerated().map { "\($1.method) /\($0) HTTP/1.1" })
        }
    }
}
