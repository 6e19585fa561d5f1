// Stand-ins for the original programs, which speak protocol v1 only, as the field knows them.
//
// The agent: one request at a time, frames strictly in their order, answers as text in fragments of
// 4096 bytes, silence where its own request fails; it ends at the tenth failure of one connection
// and at any answer to its handshake but 101, and comes back 3 s after a connection was lost.
// The relay: a plain WebSocket without a subprotocol, one request at a time.

import Foundation

/// A request as it travels in protocol v1.
struct V1Asked: Sendable {
    var method = "GET"
    var uri = "/"
    var headers: [String: [String]] = [:]
    /// Nil is null.
    var body: [UInt8]?

    init(_ method: String, _ uri: String, _ headers: [String: [String]] = [:], body: String? = nil)
    {
        (self.method, self.uri, self.headers) = (method, uri, headers)
        self.body = body.map { Array($0.utf8) }
    }

    init(message: [UInt8]) throws {
        let object = try v1Object(message)
        guard let method = object["method"] as? String, let uri = object["uri"] as? String,
            let headers = object["headers"] as? [String: [String]], let body = v1Body(object),
            object.count == 4
        else { throw Failure("not a v1 request: \(object)") }
        (self.method, self.uri, self.headers, self.body) = (method, uri, headers, body)
    }

    var message: [UInt8] {
        v1Message(["method": method, "uri": uri, "headers": headers, "body": v1Value(body)])
    }
}

/// A response as it travels in protocol v1.
struct V1Reply: Sendable {
    var status = 200
    var headers: [String: [String]] = [:]
    var body: [UInt8]?

    init(_ status: Int, _ headers: [String: [String]] = [:], body: String?) {
        self.init(status, headers, bytes: body.map { Array($0.utf8) })
    }

    init(_ status: Int, _ headers: [String: [String]] = [:], bytes: [UInt8]?) {
        (self.status, self.headers, self.body) = (status, headers, bytes)
    }

    init(message: [UInt8]) throws {
        let object = try v1Object(message)
        guard let status = object["status_code"] as? Int,
            let headers = object["headers"] as? [String: [String]], let body = v1Body(object),
            object.count == 3
        else { throw Failure("not a v1 response: \(object)") }
        (self.status, self.headers, self.body) = (status, headers, body)
    }

    var message: [UInt8] {
        v1Message(["status_code": status, "headers": headers, "body": v1Value(body)])
    }

    var text: String { String(decoding: body ?? [], as: UTF8.self) }
}

private func v1Object(_ message: [UInt8]) throws -> [String: Any] {
    guard let data = Data(base64Encoded: Data(message)) else { throw Failure("not base64") }
    return json(Array(data))
}

/// - Returns: nil where there is none, or it is not base64; nil inside for null.
private func v1Body(_ object: [String: Any]) -> [UInt8]?? {
    if object["body"] is NSNull { return .some(nil) }
    guard let text = object["body"] as? String, let data = Data(base64Encoded: text) else {
        return nil
    }
    return Array(data)
}

private func v1Value(_ body: [UInt8]?) -> Any {
    body.map { Data($0).base64EncodedString() as Any } ?? NSNull()
}

/// As Go writes it: without escaped slashes, with three characters that HTML knows escaped.
private func v1Message(_ object: [String: Any]) -> [UInt8] {
    let data = try? JSONSerialization.data(
        withJSONObject: object, options: [.sortedKeys, .withoutEscapingSlashes])
    let text = String(decoding: data ?? Data(), as: UTF8.self)
        .replacingOccurrences(of: "&", with: "\\u0026")
        .replacingOccurrences(of: "<", with: "\\u003c")
        .replacingOccurrences(of: ">", with: "\\u003e")
    return Array(Data(text.utf8).base64EncodedData())
}

final class OriginalAgent: Sendable {
    /// What it does with a request.
    enum Act: Sendable {
        case reply(V1Reply)
        /// Bytes that no such program would send.
        case send([UInt8])
        /// The local request fails: nothing is said.
        case fail
        /// The local request never ends; the connection is kept.
        case hang
    }

    struct State {
        var connects = 0
        var asked: [V1Asked] = []
        var closes: [PlainWebSocket.Event] = []
        /// It has ended for good: with this answer to its handshake, or after ten failures.
        var exit: String?
        var isStopped = false
    }

    private let state = Signalled(State())
    private let port: Int
    private let key: String
    private let name: String
    private let act: @Sendable (V1Asked) -> Act

    var now: State { state.withLock { $0 } }

    /// Begins, and waits until the relay has it.
    init(
        _ relay: Relay, key: Relay.Key, name: String = "prom", waits: Bool = true,
        _ act: @escaping @Sendable (V1Asked) -> Act
    ) throws {
        port = relay.port
        self.key = key.secret
        self.name = name
        self.act = act
        let start = relay.program.log.lines.count
        Thread.detachNewThread { [self] in run() }
        if waits {
            try relay.program.expectLog("agent connected", from: start) {
                $0.contains("agent connected") && $0.contains("PROTOCOL=v1")
            }
        }
    }

    /// Waits for something to have happened to it.
    func wait<Result>(
        _ what: String, _ deadline: Deadline = .patient, _ find: (State) -> Result?
    ) throws -> Result {
        guard let found = state.wait(deadline, for: { find($0) }) else {
            throw Failure("the original agent waited in vain: \(what)")
        }
        return found
    }

    func stop() { state.withLock { $0.isStopped = true } }

    private func run() {
        while now.exit == nil, !now.isStopped {
            do {
                let (head, socket) = try PlainWebSocket.connect(
                    port: port, "/mirror?name=\(name)", ["Authorization: Bearer \(key)"])
                guard let socket, head["Sec-WebSocket-Protocol"] == nil else {
                    return state.withLock { $0.exit = head.startLine }
                }
                state.withLock { $0.connects += 1 }
                try serve(socket)
            } catch {
                // The relay is gone for now.
            }
            // It always waits that long.
            _ = state.wait(.after(3)) { $0.isStopped ? true : nil }
        }
    }

    private func serve(_ socket: PlainWebSocket) throws {
        defer { socket.connection.close() }
        var failures = 0
        while !now.isStopped {
            let event = try socket.next(.long)
            switch event {
            case .ping(let payload):
                try socket.connection.write(pong(payload))
            case .pong: break
            case .close, .end:
                state.withLock { $0.closes.append(event) }
                return
            case .message(_, let bytes):
                let asked = try V1Asked(message: bytes)
                state.withLock { $0.asked.append(asked) }
                switch act(asked) {
                case .reply(let reply): try socket.send(reply.message, fragment: 4096)
                case .send(let bytes): try socket.send(bytes, fragment: 4096)
                case .hang:
                    let closed = try socket.connection.drain(.long)
                    state.withLock { $0.closes.append(.end) }
                    _ = closed
                    return
                case .fail:
                    failures += 1
                    if failures == 10 {
                        return state.withLock { $0.exit = "ten failures" }
                    }
                }
            }
        }
    }

    private func pong(_ payload: [UInt8]) -> [UInt8] {
        [0x8A, UInt8(payload.count) | 0x80, 0, 0, 0, 0] + payload
    }
}

/// A relay of the original kind, with the connections of its agents.
final class OriginalRelay: Sendable {
    private let listener: Listener

    init() throws { listener = try Listener() }

    var remote: String { "ws://127.0.0.1:\(listener.port)/mirror" }

    /// Waits for an agent.
    func accept() throws -> (head: Head, socket: PlainWebSocket) {
        guard let connection = listener.accept(.patient) else { throw Failure("no agent came") }
        return try PlainWebSocket.accept(connection)
    }
}

extension PlainWebSocket {
    /// Sends one request and reads the one answer to it, which is text.
    func ask(_ asked: V1Asked) throws -> V1Reply {
        try send(asked.message)
        return try reply()
    }

    /// The next answer; pings of the agent are passed over, as a plain library does.
    func reply() throws -> V1Reply {
        while true {
            switch try next() {
            case .message(1, let bytes): return try V1Reply(message: bytes)
            case .ping: continue
            case let other: throw Failure("no answer but \(other)")
            }
        }
    }
}
