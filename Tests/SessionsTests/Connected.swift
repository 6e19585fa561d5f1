// Connections inside the test: a socket pair, or loopback TCP, plain or under TLS.

import Foundation
import Glibc
import Streams
import Threads

enum Transport: CaseIterable, Sendable, CustomStringConvertible {
    case pair
    case tcp
    case tls

    var description: String {
        switch self {
        case .pair: "socket pair"
        case .tcp: "TCP"
        case .tls: "TLS"
        }
    }
}

/// The two ends of one connection. Under TLS each has its handshake still before it.
struct Connected {
    let relay: Handover<ByteStream>
    let agent: Handover<ByteStream>

    init(_ transport: Transport) throws {
        if transport == .pair {
            let (first, second) = socketPair()
            relay = first
            agent = second
            return
        }
        let listener = try Listener(SocketAddress.resolve(host: "127.0.0.1", port: 0)[0])
        let dialled = try connect(to: listener.address, until: soon)
        guard let accepted = try listener.accept(until: soon) else { throw StreamError.timedOut }
        if transport == .tcp {
            relay = Handover(ByteStream(accepted))
            agent = Handover(ByteStream(dialled))
            return
        }
        relay = Handover(ByteStream(accepted, TestCertificate.shared.server))
        let stream = ByteStream(dialled)
        stream.startTLS(TestCertificate.shared.client, host: "relay.test")
        agent = Handover(stream)
    }
}

/// Two connected unix sockets.
func socketPair() -> (Handover<ByteStream>, Handover<ByteStream>) {
    var ends: [Int32] = [0, 0]
    let type =
        Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        | Int32(SOCK_CLOEXEC.rawValue)
    precondition(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (
        Handover(ByteStream(Socket(descriptor: ends[0]))),
        Handover(ByteStream(Socket(descriptor: ends[1])))
    )
}

/// One certificate for all tests of a run.
struct TestCertificate: Sendable {
    let server: TLSContext
    let client: TLSContext

    static let shared = TestCertificate()

    private init() {
        let made = MadeCertificate(names: ["relay.test"], days: 1)
        let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
            "sessions-tests-\(UUID().uuidString)")
        defer { try? FileManager.default.removeItem(at: directory) }
        do {
            try FileManager.default.createDirectory(
                at: directory, withIntermediateDirectories: false)
            func file(_ name: String, _ bytes: [UInt8]) throws -> String {
                let file = directory.appendingPathComponent(name)
                try Data(bytes).write(to: file)
                return file.path
            }
            server = try TLSContext(
                certificate: file("certificate.pem", made.certificate),
                privateKey: file("key.pem", made.privateKey))
            client = try TLSContext(trust: file("ca.pem", made.authority), verifies: true)
        } catch {
            fatalError("cannot make a certificate for the tests: \(error)")
        }
    }
}
