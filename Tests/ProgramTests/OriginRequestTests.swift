import Testing
import Wire

@testable import Agent

/// What a relay can make an agent send to its origin.
@Suite struct OriginRequestTests {
    private func request(_ head: String, ends: Bool) throws -> OriginRequest {
        let bytes = Array((head + "\r\nHost: h\r\n\r\n").utf8)
        let local = try LocalURL.parse("127.0.0.1:9")
        let mirror = Mirror(
            name: MirrorName("prom")!,
            origin: Origin(local, tls: nil, limits: AgentLimits()),
            paths: OriginPaths(local, host: nil), policy: .unrestricted, logsQueries: false)
        return try OriginRequest(
            try RequestHead.parse(bytes, 0..<bytes.count), ends: ends, mirror: mirror)
    }

    @Test func `a head that announces a body but ends is refused`() throws {
        #expect(throws: HeadError.self) {
            try request("POST /x HTTP/1.1\r\nContent-Length: 5", ends: true)
        }
        #expect(try request("POST /x HTTP/1.1\r\nContent-Length: 0", ends: true).length == 0)
    }

    @Test func `a body has the length that its head announces, or goes in chunks`() throws {
        #expect(try request("POST /x HTTP/1.1\r\nContent-Length: 5", ends: false).length == 5)
        let chunked = try request("POST /x HTTP/1.1", ends: false)
        #expect(chunked.length == nil)
        #expect(chunked.isChunked)
        #expect(try request("GET /x HTTP/1.1", ends: true).length == 0)
    }
}
