// Listening, dialling, and addresses in figures.

import Foundation
import Streams
import Testing
import Threads

@Suite struct ListenerTests {
    @Test(arguments: ["127.0.0.1", "::1"])
    func `a listener takes who dials it`(host: String) throws {
        let listener = try Listener(
            SocketAddress.resolve(host: host, port: 0, numericOnly: true)[0])
        #expect(listener.address.host == host)
        #expect(listener.address.port != 0)
        #expect(try listener.accept(until: .now) == nil)
        let dialled = ByteStream(try dial(host: host, port: listener.address.port, until: soon))
        guard let socket = try listener.accept(until: soon) else {
            Issue.record("nobody came")
            return
        }
        let accepted = ByteStream(socket)
        #expect(accepted.peer.description == dialled.localAddress.description)
        #expect(accepted.localAddress.description == listener.address.description)
        try accepted.append([1])
        try accepted.send(until: soon)
        var bytes: [UInt8] = []
        #expect(try dialled.read(appendingTo: &bytes, room: 1, until: soon) == .bytes(1))
    }

    @Test func `a peer that has vanished is noticed within two minutes, on either side`() throws {
        let listener = try Listener(SocketAddress.resolve(host: "127.0.0.1", port: 0)[0])
        let dialled = ByteStream(
            try dial(host: "127.0.0.1", port: listener.address.port, until: soon))
        guard let socket = try listener.accept(until: soon) else {
            Issue.record("nobody came")
            return
        }
        let accepted = ByteStream(socket)
        func option(_ stream: ByteStream, _ level: Int32, _ name: Int32) -> Int {
            var value: Int32 = 0
            var length = socklen_t(MemoryLayout<Int32>.size)
            getsockopt(stream.descriptor, level, name, &value, &length)
            return Int(value)
        }
        for stream in [dialled, accepted] {
            #expect(option(stream, SOL_SOCKET, SO_KEEPALIVE) == 1)
            let tcp = Int32(IPPROTO_TCP)
            let probes = option(stream, tcp, TCP_KEEPINTVL) * option(stream, tcp, TCP_KEEPCNT)
            #expect(option(stream, tcp, TCP_KEEPIDLE) + probes <= 120)
            #expect(option(stream, tcp, TCP_NODELAY) == 1)
        }
    }

    @Test func `a unix socket is listened on and dialled`() throws {
        let path = FileManager.default.temporaryDirectory.appendingPathComponent(
            "streams-\(UUID().uuidString.prefix(8))"
        ).path
        defer { try? FileManager.default.removeItem(atPath: path) }
        let listener = try Listener(SocketAddress.unix(path: path))
        #expect(listener.address.description == "unix:\(path)")
        let dialled = ByteStream(try connect(to: listener.address, until: soon))
        guard let socket = try listener.accept(until: soon) else {
            Issue.record("nobody came")
            return
        }
        let accepted = ByteStream(socket)
        #expect(accepted.peer.description == "unix")
        try dialled.append([1])
        try dialled.send(until: soon)
        var bytes: [UInt8] = []
        #expect(try accepted.read(appendingTo: &bytes, room: 1, until: soon) == .bytes(1))
    }

    @Test func `where nobody listens a dial is refused`() throws {
        var port: UInt16 = 0
        do {
            let listener = try Listener(SocketAddress.resolve(host: "127.0.0.1", port: 0)[0])
            port = listener.address.port
        }
        #expect(throws: StreamError.refused) {
            _ = try dial(host: "127.0.0.1", port: port, until: soon)
        }
        #expect(throws: StreamError.refused) {
            _ = try connect(to: .unix(path: "/nonexistent/socket"), until: soon)
        }
    }

    @Test func `an address that is taken is an error with the system's number`() throws {
        let listener = try Listener(SocketAddress.resolve(host: "127.0.0.1", port: 0)[0])
        #expect(throws: ListenError(number: EADDRINUSE)) {
            _ = try Listener(listener.address)
        }
    }

    @Test(arguments: [
        ("127.0.0.1", "127.0.0.1:80"), ("::1", "[::1]:80"), ("::ffff:192.0.2.1", "192.0.2.1:80"),
        ("2001:db8::1", "[2001:db8::1]:80"),
    ])
    func `an address is shown in figures`(host: String, shown: String) throws {
        let address = try SocketAddress.resolve(host: host, port: 80, numericOnly: true)[0]
        #expect(address.description == shown)
    }

    @Test(arguments: ["", "relay.test", "300.1.1.1", "1.2.3.4.5", "[::1]"])
    func `a name is no address in figures`(host: String) {
        #expect(throws: StreamError.self) {
            if host.isEmpty { throw StreamError.refused }
            _ = try SocketAddress.resolve(host: host, port: 80, numericOnly: true)
        }
    }

    @Test func `a unix path has its limit`() {
        #expect(throws: StreamError.self) {
            _ = try SocketAddress.unix(path: "/" + String(repeating: "a", count: 107))
        }
        #expect(throws: StreamError.self) { _ = try SocketAddress.unix(path: "") }
        #expect(throws: Never.self) {
            _ = try SocketAddress.unix(path: "/" + String(repeating: "a", count: 106))
        }
    }

    @Test func `a poller tells of a socket once, until it is armed again`() throws {
        let poller = try Poller()
        let (one, other) = plainPair()
        try poller.arm(one.descriptor, isKnown: false)
        #expect(poller.wait(until: .now).isEmpty)
        try other.append([1])
        try other.send(until: soon)
        #expect(poller.wait(until: soon) == [one.descriptor])
        #expect(poller.wait(until: .after(milliseconds: 5)).isEmpty)
        try poller.arm(one.descriptor, isKnown: true)
        #expect(poller.wait(until: soon) == [one.descriptor])
    }
}
