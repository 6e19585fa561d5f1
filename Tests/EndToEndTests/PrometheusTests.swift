// The main job: a real Prometheus, asked through relay and agent over TLS as its own clients ask.

import Foundation
import Testing

struct PrometheusTests {
    @Test func `an instant query is answered as by Prometheus itself`() throws {
        try playPrometheus { scene in
            let query = "/api/v1/query?query=vector(42)&time=1700000000"
            let answer = try scene.get(query)
            #expect(answer.status == 200)
            #expect(answer["Content-Type"] == "application/json")
            #expect(
                answer.text == #"{"status":"success","data":{"resultType":"vector","#
                    + #""result":[{"metric":{},"value":[1700000000,"42"]}]}}"#)
            #expect(try answer.bytes == scene.getDirectly(query).bytes)
            try scene.relay.expectLine(status: 200)
        }
    }

    @Test func `a range query is answered as by Prometheus itself`() throws {
        try playPrometheus { scene in
            let query =
                "/api/v1/query_range?query=time()&start=1700000000&end=1700003600&step=60s"
            let answer = try scene.get(query)
            #expect(answer.status == 200)
            #expect(try answer.bytes == scene.getDirectly(query).bytes)
            #expect(answer.text.contains(#"[1700003600,"1700003600"]"#))
        }
    }

    @Test func `a query posted as a form, as Grafana does, is answered`() throws {
        try playPrometheus { scene in
            let answer = try scene.get(
                "/api/v1/query", ["--data-urlencode", "query=6*7", "--data", "time=1700000000"])
            #expect(answer.status == 200)
            #expect(answer.text.contains(#""resultType":"scalar","result":[1700000000,"42"]"#))
        }
    }

    @Test func `the label names are answered`() throws {
        try playPrometheus { scene in
            let answer = try scene.get("/api/v1/labels")
            #expect(answer.status == 200)
            #expect(json(answer.bytes)["status"] as? String == "success")
            #expect(json(answer.bytes)["data"] is [Any])
        }
    }

    @Test func `metrics packed by gzip arrive packed and can be unpacked`() throws {
        try playPrometheus { scene in
            let answer = try scene.get("/metrics", ["--header", "Accept-Encoding: gzip"])
            #expect(answer.status == 200)
            #expect(answer["Content-Encoding"] == "gzip")
            #expect(try scene.unpacked(answer.bytes).contains("prometheus_build_info{"))
        }
    }

    @Test func `an answer packed by gzip arrives byte by byte as it was sent`() throws {
        try playPrometheus { scene in
            let query =
                "/api/v1/query_range?query=time()&start=1700000000&end=1700360000&step=60s"
            let gzip = ["--header", "Accept-Encoding: gzip"]
            let answer = try scene.get(query, gzip)
            #expect(answer["Content-Encoding"] == "gzip")
            #expect(answer.bytes.starts(with: [0x1f, 0x8b]))
            #expect(try answer.bytes == scene.getDirectly(query, gzip).bytes)
        }
    }

    @Test func `promtool asks an instant query with the key in its address`() throws {
        try playPrometheus { scene in
            let finished = try scene.promtool(["instant"], "vector(17) + 4")
            #expect(finished.exit == .code(0), "\(finished.error)")
            #expect(finished.output.hasPrefix("{} => 21 @["))
        }
    }

    @Test func `promtool asks a range query with the key in its address`() throws {
        try playPrometheus { scene in
            let finished = try scene.promtool(
                ["range", "--start=1700000000", "--end=1700000120", "--step=60s"], "vector(5)")
            #expect(finished.exit == .code(0), "\(finished.error)")
            #expect(
                finished.output == "{} =>\n5 @[1700000000]\n5 @[1700000060]\n5 @[1700000120]\n")
        }
    }

    @Test(arguments: [
        ("/no/such/page", 404), ("/api/v1/query?query=1%2B", 400),
        ("/api/v1/query_range?query=1&start=0&end=0&step=0", 400),
    ])
    func `what Prometheus refuses arrives as Prometheus said it`(path: String, status: Int) throws {
        try playPrometheus { scene in
            let answer = try scene.get(path)
            let direct = try scene.getDirectly(path)
            #expect(answer.status == status)
            #expect(answer.bytes == direct.bytes)
            #expect(answer["Content-Type"] == direct["Content-Type"])
            #expect(answer["Proxy-Status"] == nil)
        }
    }

    @Test func `each of 200 concurrent queries gets its own right answer`() throws {
        try playPrometheus { scene in
            // Four kinds, each with a number that no other query has.
            let asked = (0..<200).map { index in
                let number = 1000 + index
                return switch index % 4 {
                case 0:
                    Asked("/api/v1/query?query=vector(\(number))&time=5", [], #"[5,"\#(number)"]"#)
                case 1:
                    Asked(
                        "/api/v1/query_range?query=\(number)&start=1&end=900&step=1", [],
                        #"[900,"\#(number)"]]"#)
                case 2:
                    Asked(
                        "/api/v1/query", ["data = \"query=\(number)%2B0&time=7\""],
                        #"[7,"\#(number)"]"#)
                default:
                    Asked(
                        "/api/v1/query?query=no\(number)()", [],
                        "function with name \\\"no\(number)\\\"")
                }
            }
            try scene.askTogether(asked)
        }
    }

    @Test func `a stopped Prometheus is a refused connection`() throws {
        try playPrometheus { scene in
            #expect(try scene.get("/-/ready").status == 200)
            scene.prometheus.program.end()
            let answer = try #require(try scene.get("/-/ready").response)
            expectProblem(answer, 502, "connection_refused")
            try scene.relay.expectLine(status: 502, error: "connection_refused")
        }
    }

    @Test func `a Prometheus killed in mid-answer leaves a cut answer`() throws {
        try playPrometheus { scene in
            // 80 series of 11,000 points: about 20 MB, more than all buffers on the way hold.
            let series = (0..<80).map {
                "label_replace(vector(1.5),%22a%22,%22\($0)%22,%22%22,%22%22)"
            }
            let path =
                "/api/v1/query_range?start=1700000000&end=1700010999&step=1&query="
                + series.joined(separator: "%20or%20")
            let (client, _) = try scene.stage.secureConnection(scene.relay.address)
            try client.write(
                "GET /m/demo/prom\(path) HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer \(scene.key)\r\n\r\n"
            )
            let head = try client.readResponseHead(.after(60))
            #expect(head.status == 200)
            _ = try client.fill()
            scene.prometheus.program.end()
            let body = try client.readBody(head.head, .after(60))
            #expect(!body.isWhole)
            #expect(body.bytes.count > 100_000)
            try scene.relay.program.expectLog("an error beside STATUS=200") {
                $0.contains("STATUS=200") && $0.contains("ERROR=")
            }
        }
    }
}

/// A Prometheus behind an agent and a quickstart relay, and the key of a client.
private struct PrometheusScene {
    let stage: Stage
    let prometheus: Service
    let relay: Relay
    let key: String

    func get(_ path: String, _ options: [String] = []) throws -> CurlAnswer {
        try stage.curl(relay, "/m/demo/prom" + path, key: key, options)
    }

    func getDirectly(_ path: String, _ options: [String] = []) throws -> CurlAnswer {
        try stage.curl(prometheus.url + path, options)
    }

    func promtool(_ query: [String], _ expression: String) throws -> Finished {
        let server = "https://client:\(key)@\(relay.address)/m/demo/prom"
        return try stage.run(
            "promtool", ["query"] + query + [server, expression],
            environment: ["SSL_CERT_FILE": relay.authority ?? ""])
    }

    func unpacked(_ bytes: [UInt8]) throws -> String {
        try Data(bytes).write(to: URL(fileURLWithPath: stage.path("packed.gz")))
        let finished = try stage.run("gzip", ["--decompress", "--stdout", stage.path("packed.gz")])
        #expect(finished.exit == .code(0))
        return finished.output
    }

    /// Asks all by one curl on up to 200 connections at once, and checks each answer.
    func askTogether(_ asked: [Asked]) throws {
        var configuration = ""
        for (index, one) in asked.enumerated() {
            configuration += "next\nurl = \"\(relay.url("/m/demo/prom" + one.path))\"\n"
            configuration += "output = \"\(stage.path("answer-\(index)"))\"\n"
            configuration += "cacert = \"\(relay.authority ?? "")\"\n"
            configuration += "header = \"Authorization: Bearer \(key)\"\n"
            configuration += "http1.1\ngloboff\n" + one.lines.map { $0 + "\n" }.joined()
        }
        let file = try stage.write("curl.conf", configuration)
        let curl = try stage.run(
            "curl",
            [
                "--silent", "--show-error", "--parallel", "--parallel-immediate", "--parallel-max",
                "200",
                "--config", file,
            ], .after(120))
        #expect(curl.exit == .code(0), "\(curl.error)")
        for (index, one) in asked.enumerated() {
            let answer = try stage.read(stage.path("answer-\(index)"))
            #expect(answer.contains(one.expected), "query \(index) got \(answer.prefix(200))")
        }
    }
}

/// One of many queries, further lines for curl's configuration, and what only its answer has.
private struct Asked {
    let path: String
    let lines: [String]
    let expected: String

    init(_ path: String, _ lines: [String], _ expected: String) {
        self.path = path
        self.lines = lines
        self.expected = expected
    }
}

private func playPrometheus(_ play: (PrometheusScene) throws -> Void) throws {
    try stage { stage in
        let prometheus = try stage.prometheus()
        let relay = try stage.quickstart()
        let agentKey = try stage.read(stage.path("quickstart/agent.key"))
        try stage.agent(relay, key: agentKey, local: prometheus.url)
        try play(
            PrometheusScene(
                stage: stage, prometheus: prometheus, relay: relay,
                key: stage.read(stage.path("quickstart/client.key"))))
    }
}
