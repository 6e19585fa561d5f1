// What the tests of this target share: deadlines, connections inside the test, a certificate,
// a directory.

import Foundation
import Glibc
import Streams
import Threads

/// For a wait that succeeds where the code is right: long enough for a busy machine.
var soon: Deadline { .after(seconds: 300) }

/// Two connected unix sockets.
func socketPair() -> (Int32, Int32) {
    var ends: [Int32] = [0, 0]
    let type =
        Int32(SOCK_STREAM.rawValue) | Int32(SOCK_NONBLOCK.rawValue)
        | Int32(SOCK_CLOEXEC.rawValue)
    precondition(socketpair(AF_UNIX, type, 0, &ends) == 0)
    return (ends[0], ends[1])
}

func plainPair() -> (ByteStream, ByteStream) {
    let (first, second) = socketPair()
    return (
        ByteStream(Socket(descriptor: first)), ByteStream(Socket(descriptor: second))
    )
}

/// A TLS connection that the test carries by hand: what one end sends waits here until it is given
/// to the other, whole or in parts.
final class CarriedTLS {
    let server: ByteStream
    let client: ByteStream
    private var serverWire: ByteStream
    private let clientWire: ByteStream
    private(set) var toServer: [UInt8] = []
    private(set) var toClient: [UInt8] = []

    init(_ certificate: TestCertificate, host: String = "relay.test") {
        let (serverEnd, serverFar) = socketPair()
        let (clientEnd, clientFar) = socketPair()
        server = ByteStream(Socket(descriptor: serverEnd), certificate.server)
        client = ByteStream(Socket(descriptor: clientEnd))
        client.startTLS(certificate.client, host: host)
        serverWire = ByteStream(Socket(descriptor: serverFar))
        clientWire = ByteStream(Socket(descriptor: clientFar))
    }

    /// Closes the server's connection without a word.
    func cut() { serverWire = clientWire }

    /// Takes what both have sent.
    func collect() throws {
        _ = try serverWire.read(appendingTo: &toClient, room: 1 << 20)
        _ = try clientWire.read(appendingTo: &toServer, room: 1 << 20)
    }

    /// Gives up to `count` bytes of what waits to each.
    func carry(_ count: Int = .max) throws {
        try collect()
        try serverWire.append(Array(toServer.prefix(count)))
        try clientWire.append(Array(toClient.prefix(count)))
        toServer.removeFirst(min(count, toServer.count))
        toClient.removeFirst(min(count, toClient.count))
        try serverWire.send(until: soon)
        try clientWire.send(until: soon)
    }

    /// Both handshakes, each as far as it goes, until both are done.
    func handshake() throws {
        var isDone = (false, false)
        while !isDone.0 || !isDone.1 {
            if !isDone.0 { isDone.0 = try client.handshake() }
            try carry()
            if !isDone.1 { isDone.1 = try server.handshake() }
            try carry()
        }
        // The server's tickets.
        try carry()
    }
}

/// A certificate for `relay.test`, and the two ends' settings.
struct TestCertificate: Sendable {
    let server: TLSContext
    let client: TLSContext
    /// A client that trusts somebody else.
    let stranger: TLSContext

    static let shared = TestCertificate()

    private init() {
        do {
            (server, client, stranger) = try inDirectory { directory in
                let own = try TestFiles(in: directory, "own")
                let other = try TestFiles(in: directory, "other")
                return (
                    try TLSContext(certificate: own.certificate, privateKey: own.privateKey),
                    try TLSContext(trust: own.authority, verifies: true),
                    try TLSContext(trust: other.authority, verifies: true)
                )
            }
        } catch {
            fatalError("cannot make a certificate for the tests: \(error)")
        }
    }
}

/// A certificate for `relay.test`, its key and its authority, in PEM files.
struct TestFiles {
    var certificate: String
    var privateKey: String
    var authority: String

    init(in directory: URL, _ name: String) throws {
        let made = MadeCertificate(names: ["relay.test"], days: 1)
        func file(_ kind: String, _ bytes: [UInt8]) throws -> String {
            let file = directory.appendingPathComponent("\(name)-\(kind).pem")
            try Data(bytes).write(to: file)
            return file.path
        }
        certificate = try file("certificate", made.certificate)
        privateKey = try file("key", made.privateKey)
        authority = try file("authority", made.authority)
    }
}

/// Gives `body` a directory of its own, gone when it returns.
func inDirectory<Result>(_ body: (URL) throws -> Result) throws -> Result {
    let directory = FileManager.default.temporaryDirectory.appendingPathComponent(
        "streams-tests-\(UUID().uuidString)")
    try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: false)
    defer { try? FileManager.default.removeItem(at: directory) }
    return try body(directory)
}
