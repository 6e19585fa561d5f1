// Bytes in and out of one connection, plain and under TLS: what is there, what is not, and the end.

import Glibc
import Streams
import Testing
import Threads

@Suite struct ByteStreamTests {
    private func carried() throws -> CarriedTLS {
        let carried = CarriedTLS(.shared)
        try carried.handshake()
        return carried
    }

    @Test func `what one end appends and sends the other reads`() throws {
        let (one, other) = plainPair()
        try one.append([0, 1, 2, 3, 4], 1..<4)
        #expect(one.unsent == 3)
        #expect(try one.send())
        #expect(one.unsent == 0)
        var bytes: [UInt8] = [9]
        #expect(try other.read(appendingTo: &bytes, room: 2) == .bytes(2))
        #expect(try other.read(appendingTo: &bytes, room: 2) == .bytes(1))
        #expect(try other.read(appendingTo: &bytes, room: 2) == .nothing)
        #expect(bytes == [9, 1, 2, 3])
        one.end()
        #expect(try other.read(appendingTo: &bytes, room: 2) == .end)
        #expect(try other.read(appendingTo: &bytes, room: 2) == .end)
        #expect(other.isHungUp)
    }

    @Test func `waits end at their deadline, not before`() throws {
        let (one, other) = plainPair()
        var bytes: [UInt8] = []
        var deadline = Deadline.after(milliseconds: 20)
        #expect(throws: StreamError.timedOut) {
            try one.read(appendingTo: &bytes, room: 1, until: deadline)
        }
        #expect(deadline.hasPassed)
        // More than the socket's buffers take.
        try one.append([UInt8](repeating: 1, count: 4_000_000))
        deadline = .after(milliseconds: 20)
        #expect(throws: StreamError.timedOut) { try one.send(until: deadline) }
        #expect(deadline.hasPassed)
        #expect(one.unsent > 0)
        withExtendedLifetime(other) {}
    }

    @Test func `a peer that has gone is an error to write to`() throws {
        let (descriptor, far) = socketPair()
        close(far)
        let one = ByteStream(Socket(descriptor: descriptor))
        try one.append([1])
        while (try? one.send()) == true { try one.append([1]) }
        #expect(throws: StreamError.closed) { try one.send() }
    }

    @Test func `a doorbell ends a wait`() throws {
        let (one, other) = plainPair()
        let doorbell = try Doorbell()
        doorbell.ring()
        #expect(one.wait(for: .readable, doorbell: doorbell, until: soon) == .rung)
        try other.append([1])
        _ = try other.send()
        #expect(one.wait(for: .readable, doorbell: doorbell, until: soon) == [.readable, .rung])
        doorbell.clear()
        #expect(one.wait(for: .readable, doorbell: doorbell, until: soon) == .readable)
        #expect(one.wait(for: [], doorbell: doorbell, until: .after(milliseconds: 1)) == [])
    }

    @Test func `half a record is nothing to read, and no reason to look again`() throws {
        let carried = try carried()
        try carried.client.append([UInt8](repeating: 7, count: 5_000))
        #expect(try carried.client.send())
        try carried.collect()
        let record = carried.toServer.count
        #expect(record > 5_000)
        try carried.carry(record / 2)
        var bytes: [UInt8] = []
        #expect(try carried.server.read(appendingTo: &bytes, room: 100) == .nothing)
        #expect(!carried.server.hasBuffered)
        #expect(carried.server.wait(for: .readable, until: .after(milliseconds: 20)) == [])
        #expect(throws: StreamError.timedOut) {
            try carried.server.read(appendingTo: &bytes, room: 100, until: .after(milliseconds: 20))
        }
        try carried.carry()
        #expect(carried.server.wait(for: .readable, until: soon) == .readable)
        #expect(try carried.server.read(appendingTo: &bytes, room: 100) == .bytes(100))
        // The rest is here, though the socket has nothing.
        #expect(carried.server.hasBuffered)
        #expect(carried.server.wait(for: .readable, until: soon) == .readable)
        #expect(
            try carried.server.read(appendingTo: &bytes, room: 10_000) == .bytes(4_900))
        #expect(try carried.server.read(appendingTo: &bytes, room: 1) == .nothing)
        #expect(!carried.server.hasBuffered)
        #expect(bytes == [UInt8](repeating: 7, count: 5_000))
    }

    @Test(arguments: [1, 2, 3, 5, 29, 100, 16_000])
    func `bytes under TLS arrive whole, in whatever pieces they travel`(size: Int) throws {
        let carried = try carried()
        let sent = (0..<40_000).map { UInt8(truncatingIfNeeded: $0 &* 31 >> 3) }
        try carried.client.append(sent)
        try carried.client.append([1, 2, 3])
        #expect(try carried.client.send())
        carried.client.end()
        try carried.collect()
        var bytes: [UInt8] = []
        var end = Arrival.nothing
        while end != .end {
            let left = carried.toServer.count
            // The ends of the records, byte by byte; what is between in larger steps.
            try carried.carry(left > 400 ? max(size, left / 40) : size)
            while true {
                let arrival = try carried.server.read(appendingTo: &bytes, room: 9_000)
                if arrival == .nothing { break }
                if arrival == .end {
                    end = .end
                    break
                }
            }
            if left == 0 { break }
        }
        #expect(end == .end)
        #expect(bytes == sent + [1, 2, 3])
    }

    @Test func `a connection cut under TLS is no orderly end`() throws {
        let carried = try carried()
        try carried.client.append([1, 2, 3])
        #expect(try carried.client.send())
        try carried.carry()
        var bytes: [UInt8] = []
        #expect(try carried.server.read(appendingTo: &bytes, room: 100) == .bytes(3))
        carried.cut()
        #expect(throws: StreamError.closed) {
            try carried.server.read(appendingTo: &bytes, room: 100, until: soon)
        }
    }

    @Test func `bytes count as unacknowledged until the peer's system has given them away`() throws
    {
        let (one, other) = plainPair()
        #expect(one.unacknowledged == 0)
        try one.append([UInt8](repeating: 1, count: 10_000))
        #expect(one.unacknowledged == 10_000)
        #expect(try one.send())
        #expect(one.unsent == 0)
        #expect(one.unacknowledged >= 10_000)
        var bytes: [UInt8] = []
        while bytes.count < 10_000 {
            _ = try other.read(appendingTo: &bytes, room: 10_000, until: soon)
        }
        #expect(one.unacknowledged == 0)
    }

    @Test func `a certificate for another name is refused`() throws {
        let carried = CarriedTLS(.shared, host: "other.test")
        #expect(throws: StreamError.certificate("hostname mismatch")) { try carried.handshake() }
    }

    @Test func `a certificate that nobody vouches for is refused`() throws {
        let certificate = TestCertificate.shared
        let (serverEnd, clientEnd) = socketPair()
        let server = ByteStream(Socket(descriptor: serverEnd), certificate.server)
        let client = ByteStream(Socket(descriptor: clientEnd))
        client.startTLS(certificate.stranger, host: "relay.test")
        #expect(try !client.handshake())
        #expect(try !server.handshake())
        let error = #expect(throws: StreamError.self) { try client.handshake() }
        guard case .certificate = error else {
            Issue.record("\(error.map { "\($0)" } ?? "none")")
            return
        }
        // The server is told by the alert.
        #expect(throws: StreamError.self) { try server.handshake() }
    }

    @Test func `what is not TLS ends a handshake`() throws {
        let (one, other) = socketPair()
        let server = ByteStream(Socket(descriptor: one), TestCertificate.shared.server)
        let client = ByteStream(Socket(descriptor: other))
        try client.append(Array("GET / HTTP/1.1\r\nHost: a\r\n\r\n".utf8))
        #expect(try client.send())
        let error = #expect(throws: StreamError.self) { try server.handshake() }
        guard case .tls = error else {
            Issue.record("\(error.map { "\($0)" } ?? "none")")
            return
        }
    }
}
