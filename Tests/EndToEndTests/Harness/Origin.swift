// A private HTTP service that does as its script says: one thread for each accepted connection.
//
// It counts what it accepted and keeps the requests it read, so that a test can ask what really
// reached the origin. A script that throws closes its connection; the reason is kept.

import Foundation

final class Origin: Sendable {
    private struct Record {
        var accepted = 0
        var ended = 0
        var requests: [Request] = []
        var problems: [String] = []
    }

    private let record = Signalled(Record())
    private let listener: Listener

    private let path: String?

    var port: Int { listener.port }
    var url: String { path.map { "unix:\($0)" } ?? "http://127.0.0.1:\(port)" }
    var accepted: Int { record.withLock { $0.accepted } }
    var requests: [Request] { record.withLock { $0.requests } }
    var problems: [String] { record.withLock { $0.problems } }

    /// Runs `script` on each connection; it closes when the script returns.
    ///
    /// - Parameter path: of the unix socket to listen on instead of a port.
    init(unix path: String? = nil, _ script: @escaping @Sendable (Visit) throws -> Void) throws {
        let listener = try path.map { try Listener(unix: $0) } ?? Listener()
        self.path = path
        let record = self.record
        self.listener = listener
        Thread.detachNewThread {
            while let connection = listener.accept(.long) {
                record.withLock { $0.accepted += 1 }
                nonisolated(unsafe) let moved = connection
                Thread.detachNewThread {
                    let visit = Visit(moved) { request in
                        record.withLock { $0.requests.append(request) }
                    }
                    do {
                        try script(visit)
                    } catch {
                        record.withLock { $0.problems.append("\(error)") }
                    }
                    moved.close()
                    record.withLock { $0.ended += 1 }
                }
            }
        }
    }

    /// An origin that answers each request by `answer`, and keeps its connections.
    static func answering(
        _ answer: @escaping @Sendable (Request) -> Answer
    ) throws -> Origin {
        try Origin { visit in
            while let request = try visit.readRequest(.long) {
                let answer = answer(request)
                try visit.connection.write(answer.bytes(to: request.method))
                if answer.closes { return }
            }
        }
    }

    /// An origin that answers every request by 200 and its own target.
    static func echoingTarget() throws -> Origin {
        try answering { Answer(200, body: $0.target) }
    }

    /// The same, once `gate` is open.
    static func answering(at gate: Gate) throws -> Origin {
        try Origin { visit in
            while let request = try visit.readRequest(.long) {
                try gate.wait("the request may be answered", .long)
                try visit.connection.write(
                    Answer(200, body: request.target).bytes(to: request.method))
            }
        }
    }

    /// Waits until the scripts of `count` connections have come to their end.
    func waitForEnded(_ count: Int, _ deadline: Deadline = .patient) -> Bool {
        record.wait(deadline) { $0.ended >= count ? true : nil } ?? false
    }

    /// Waits for the first request that `matches`.
    func waitForRequest(
        _ deadline: Deadline = .patient, where matches: @escaping (Request) -> Bool = { _ in true }
    ) throws -> Request {
        guard let request = record.wait(deadline, for: { $0.requests.first(where: matches) }) else {
            throw Failure("no such request reached the origin")
        }
        return request
    }

    /// Refuses connections from now on.
    func stop() { listener.shut() }

    deinit { stop() }
}

/// One connection that an origin has accepted, in the hands of its script.
final class Visit {
    let connection: Connection
    private let keep: (Request) -> Void

    init(_ connection: Connection, _ keep: @escaping (Request) -> Void) {
        self.connection = connection
        self.keep = keep
    }

    /// Reads the next request with its body; nil where the agent has closed.
    func readRequest(_ deadline: Deadline = .patient) throws -> Request? {
        guard let request = try connection.readRequest(deadline) else { return nil }
        keep(request)
        return request
    }

    /// Reads the next head alone, and leaves the body where it is.
    func readHead(_ deadline: Deadline = .patient) throws -> Head {
        guard let head = try connection.readHead(deadline) else {
            throw Failure("the agent closed before a request")
        }
        keep(Request(head: head))
        return head
    }

    func write(_ text: String, _ deadline: Deadline = .patient) throws {
        try connection.write(text, deadline)
    }

    /// Waits until the agent closes or resets this connection.
    func waitForEnd(_ deadline: Deadline = .patient) throws {
        _ = try connection.drain(deadline)
    }
}

/// A whole answer of an origin.
struct Answer {
    var status: Int
    var fields: [String]
    var body: [UInt8]
    var closes: Bool

    init(_ status: Int, _ fields: [String] = [], body: String = "", closes: Bool = false) {
        self.init(status, fields, bytes: Array(body.utf8), closes: closes)
    }

    init(_ status: Int, _ fields: [String] = [], bytes: [UInt8], closes: Bool = false) {
        self.status = status
        self.fields = fields
        self.body = bytes
        self.closes = closes
    }

    func bytes(to method: String) -> [UInt8] {
        var head = "HTTP/1.1 \(status) As Asked\r\n"
        if status != 204 && status != 304 { head += "Content-Length: \(body.count)\r\n" }
        if closes { head += "Connection: close\r\n" }
        head += fields.map { $0 + "\r\n" }.joined() + "\r\n"
        return Array(head.utf8) + (method == "HEAD" ? [] : body)
    }
}
