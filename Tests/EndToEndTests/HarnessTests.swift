// What the other tests rely on, shown without the programs under test: that a cut answer is seen as
// cut, that a crash is told from an exit, and that the real services start.

import Foundation
import Testing

struct HarnessTests {
    @Test func `an answer cut inside its length is seen as cut`() throws {
        let origin = try Origin { visit in
            _ = try visit.readRequest()
            try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        }
        let connection = try Connection.to(port: origin.port)
        try connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        let response = try connection.readResponse()
        #expect(response.text == "half")
        #expect(!response.body.isWhole)
    }

    @Test(arguments: ["4\r\nhalf\r\n", "4\r\nha", "4\r\nhalf\r\n0\r\n", ""])
    func `a chunked answer that ends before its last chunk is seen as cut`(body: String) throws {
        let origin = try Origin { visit in
            _ = try visit.readRequest()
            try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        }
        let connection = try Connection.to(port: origin.port)
        try connection.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try !connection.readResponse().body.isWhole)
    }

    @Test func `interim answers, chunks and trailers are read in their order`() throws {
        let origin = try Origin { visit in
            _ = try visit.readRequest()
            try visit.write(
                "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\n"
                    + "Transfer-Encoding: chunked\r\n\r\n3\r\none\r\n3;x=y\r\ntwo\r\n0\r\nT: 1\r\n\r\n"
            )
        }
        let connection = try Connection.to(port: origin.port)
        try connection.write("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nab")
        let response = try connection.readResponse()
        #expect(response.interim.map { $0["Link"] } == ["</a>"])
        #expect(response.text == "onetwo")
        #expect(response.body.isWhole)
        #expect(response.body.trailers.map(\.value) == ["1"])
        #expect(origin.requests.map(\.body.text) == ["ab"])
    }

    @Test func `curl tells a cut answer by its exit code`() throws {
        try stage { stage in
            let origin = try Origin { visit in
                _ = try visit.readRequest()
                try visit.write("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
            }
            let answer = try stage.curl(origin.url, [])
            #expect(answer.exit == .code(18))
            #expect(answer.status == 200)
            #expect(answer.text == "half")
        }
    }

    @Test func `a program's exit code, signal, lines and peak memory are seen`() throws {
        try stage { stage in
            let exiting = try stage.run("sh", ["-c", "echo out; echo err >&2; exit 3"])
            #expect(exiting.exit == .code(3))
            #expect(exiting.output == "out\n")
            #expect(exiting.errorLines == ["err"])

            let busy = try stage.start("sh", ["-c", "echo begun; while :; do :; done"])
            #expect(try busy.expectOutput("begun") { $0 == "begun" } == "begun")
            #expect(try busy.peakResidentKiB() > 100)
            busy.send(SIGTERM)
            #expect(try busy.exit() == .signal(SIGTERM))
        }
    }

    @Test func `Prometheus, nginx and a TLS server of openssl can be asked directly`() throws {
        try stage { stage in
            let prometheus = try stage.prometheus()
            let healthy = try stage.curl(prometheus.url + "/-/healthy", [])
            #expect(healthy.status == 200)

            try stage.write("hello.txt", "hello", mode: 0o644)
            let nginx = try stage.nginx(serving: stage.directory)
            #expect(try stage.curl(nginx.url + "/hello.txt", []).text == "hello")

            let server = try stage.untrustedServer()
            let distrusted = try stage.curl("https://localhost:\(server.port)/", [])
            #expect(distrusted.exit == .code(60))
            let (raw, _) = try stage.secureConnection("127.0.0.1:\(server.port)")
            try raw.write("GET / HTTP/1.0\r\n\r\n")
            #expect(try raw.readResponse().status == 200)
        }
    }
}
