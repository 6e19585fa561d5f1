// Both ends of an upgraded connection, and bytes by the hundred million that can be checked.

import Foundation

extension Origin {
    /// An origin that switches to raw bytes on every connection, then runs `script` on it.
    ///
    /// - Parameter first: bytes that go out in one write with the 101.
    static func upgrading(
        first: String = "", _ script: @escaping @Sendable (Connection) throws -> Void
    ) throws -> Origin {
        try Origin { visit in
            _ = try visit.readHead(.long)
            try visit.write(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
                    + first)
            try script(visit.connection)
        }
    }

    /// An origin that sends back every raw byte, and ends when the other side does; a request that
    /// asks for no upgrade is answered by its target.
    static func rawEcho() throws -> Origin {
        try Origin { visit in
            let connection = visit.connection
            while let head = try connection.readHead(.long) {
                guard head["Upgrade"] != nil else {
                    try connection.write(
                        Answer(200, body: Request(head: head).target).bytes(to: "GET"))
                    continue
                }
                try visit.write(
                    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: raw\r\n\r\n"
                )
                return try connection.echoToEnd()
            }
        }
    }
}

extension Mirror {
    static let upgrade = ["Connection: Upgrade", "Upgrade: raw"]

    /// A connection of a client on which the origin has switched to raw bytes.
    ///
    /// - Parameter first: bytes that go out in one write with the request.
    func upgraded(
        _ path: String = "/raw", first: String = "", receiveBuffer: Int32? = nil
    ) throws -> Connection {
        let client = try connect(receiveBuffer: receiveBuffer)
        try client.write(request("GET", path, Mirror.upgrade) + first)
        let answer = try client.readResponseHead()
        guard answer.status == 101 else { throw Failure("no upgrade: \(answer.head.startLine)") }
        return client
    }
}

extension Connection {
    /// Sends every byte back until the other end ends.
    func echoToEnd() throws {
        repeat {
            if !buffer.isEmpty { try write(take(buffer.count), .long) }
        } while try fill(.long)
    }

    /// Writes `text` and expects the other end to send it back.
    func echoes(_ text: String) throws -> Bool {
        try write(text)
        return try read(exactly: text.utf8.count) == Array(text.utf8)
    }
}

/// Bytes of which each follows from its place and a seed.
struct Flow: Sendable {
    let seed: Int
    let count: Int

    // As many as a prime, so that no size of pieces hides a mix-up.
    private static let period = 65_521
    private static let table: [UInt8] = {
        var state: UInt32 = 7
        let once = (0..<period).map { _ -> UInt8 in
            state = state &* 1_664_525 &+ 1_013_904_223
            return UInt8(truncatingIfNeeded: state >> 24)
        }
        return once + once
    }()

    private func piece(at place: Int) -> ArraySlice<UInt8> {
        let start = (place + seed * 7_919) % Flow.period
        return Flow.table[start..<(start + min(Flow.period, count - place))]
    }

    func write(to connection: Connection) throws {
        var sent = 0
        while sent < count {
            let piece = Array(piece(at: sent))
            try connection.write(piece, .long)
            sent += piece.count
        }
    }

    /// Reads to the other end's end.
    ///
    /// - Throws: where a byte is wrong or missing, or there is one more.
    func check(_ connection: Connection) throws {
        var place = 0
        repeat {
            let bytes = connection.take(connection.buffer.count)
            var checked = 0
            while checked < bytes.count {
                let expected = place < count ? piece(at: place) : []
                let length = min(expected.count, bytes.count - checked)
                guard length > 0, expected.prefix(length) == bytes[checked..<(checked + length)]
                else { throw Failure("another byte at \(place)") }
                place += length
                checked += length
            }
        } while try connection.fill(.long)
        guard place == count, connection.state == .closed else {
            throw Failure("\(place) of \(count) bytes, then \(connection.state)")
        }
    }
}
