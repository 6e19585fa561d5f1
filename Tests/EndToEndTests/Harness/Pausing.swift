// An answer in two halves with a pause between them, for what happens to an exchange that runs.

import Foundation
import Testing

extension Origin {
    /// An origin whose answer to `/held` is `first`, and `second` once `gate` is open; any other
    /// request it answers at once, by its target.
    static func pausing(until gate: Gate) throws -> Origin {
        try Origin { visit in
            while let request = try visit.readRequest(.long) {
                guard request.target == "/held" else {
                    let answer = Answer(200, body: request.target)
                    try visit.connection.write(answer.bytes(to: request.method))
                    continue
                }
                try visit.write("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                try visit.connection.writeChunk("first")
                try gate.wait("the second half may be sent")
                try visit.connection.writeChunk("second")
                try visit.write("0\r\n\r\n")
            }
        }
    }
}

/// An answer of which the first half has come.
struct HalfAnswer {
    let client: Connection
    let head: Head

    /// The other half, whole or not.
    func rest(_ deadline: Deadline = .patient) throws -> Body {
        try client.readBody(head, deadline)
    }

    /// Expects the other half to come as if nothing had happened.
    func expectRest(sourceLocation: SourceLocation = #_sourceLocation) throws {
        let body = try rest()
        #expect(body.isWhole, sourceLocation: sourceLocation)
        #expect(body.text == "second", sourceLocation: sourceLocation)
    }
}

extension Mirror {
    /// Asks an origin that pauses, and reads what it sends before.
    ///
    /// - Parameter showsKey: that of the client; a public mirror needs none.
    func half(showsKey: Bool = true) throws -> HalfAnswer {
        let client = try connect()
        try client.write(
            showsKey
                ? request("GET", "/held")
                : "GET \(path("/held")) HTTP/1.1\r\nHost: relay.test\r\n\r\n")
        let head = try client.readResponseHead().head
        #expect(try client.readChunk() == Array("first".utf8))
        return HalfAnswer(client: client, head: head)
    }
}
