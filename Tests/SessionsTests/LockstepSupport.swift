// A v1 session under test, and a peer that speaks v1 by hand.

import Connections
import Sessions
import Streams
import Testing
import Threads
import Wire

enum V1Role: Sendable { case relay, agent }

/// A v1 session that talks to a raw peer.
struct V1Confronted {
    let side: Side
    let peer: RawPeer

    /// - Parameter role: of the session; the raw peer plays the other.
    init(
        _ role: V1Role, heartbeats: SessionLimits = Side.calm,
        responseTimeout: Duration = .seconds(3600), maximumBodyBytes: Int = 1024 * 1024,
        transport: Transport = .pair
    ) throws {
        let connected = try Connected(transport)
        let limits = LockstepLimits(
            session: heartbeats, responseTimeout: responseTimeout,
            maximumBodyBytes: maximumBodyBytes)
        switch role {
        case .relay:
            side = try Side(connected.relay) { stream, side in
                try LockstepRelaySession(stream, InputBuffer(), limits: limits, observer: side)
                    .run()
            }
            peer = try RawPeer(.agent, connected.agent)
        case .agent:
            side = try Side(connected.agent) { stream, side in
                try LockstepAgentSession(
                    stream, InputBuffer(), host: [UInt8]("origin.test"), limits: limits,
                    observer: side
                ).run()
            }
            peer = try RawPeer(.relay, connected.relay)
        }
        #expect(side.handle()?.version == .v1)
    }

    func open(_ text: String, ends: Bool = true) throws -> Exchange {
        try side.open(text, ends: ends)
    }

    func get(_ path: String) throws -> Exchange { try side.get(path) }
}

extension Side {
    /// Opens an exchange on a v1 session, once there is a place for it.
    func open(_ text: String, ends: Bool = true) throws -> Exchange {
        #expect(takesPlace(of: 1))
        let handle = try #require(self.handle())
        return try #require(handle.open(request: Piece([UInt8](text)), ends: ends))
    }

    func get(_ path: String) throws -> Exchange {
        try open("GET \(path) HTTP/1.1\r\nHost: h\r\n\r\n")
    }
}

extension RawPeer {
    /// The JSON of the next text message, pings and pongs apart.
    func nextJSON() -> String? {
        while let event = next() {
            switch event {
            case .text(let text): return Cryptography.decodeBase64(text)?.text
            case .ping, .pong: continue
            case .message, .close, .end: return nil
            }
        }
        return nil
    }

    /// The request of a relay, and the payload of the Ping behind it.
    func nextAsked() throws -> (json: String, barrier: [UInt8]) {
        let json = try #require(nextJSON())
        guard case .ping(let barrier) = next() else {
            Issue.record("no ping behind a request")
            return (json, [])
        }
        return (json, barrier)
    }

    static func text(_ json: String) -> [UInt8] { Cryptography.base64([UInt8](json)) }

    func send(json: String) throws { try send(bytes: frame(1, RawPeer.text(json))) }

    func pong(_ payload: [UInt8]) throws { try send(bytes: frame(10, payload)) }

    /// Answers 200 with `text` as its body.
    func answer(_ text: String) throws {
        let body = Cryptography.base64([UInt8](text)).text
        try send(json: #"{"body":"\#(body)","headers":{},"status_code":200}"#)
    }
}

/// What came back on an exchange, whole.
struct V1Outcome: Equatable, CustomStringConvertible {
    var status = 0
    var head = ""
    var body: [UInt8] = []
    var reset: ResetCode?

    var description: String {
        "\(status) '\(body.prefix(50).text)' \(body.count) \(reset, default: "-")"
    }

    static func ok(_ text: String) -> V1Outcome { V1Outcome(status: 200, body: [UInt8](text)) }

    static func == (left: V1Outcome, right: V1Outcome) -> Bool {
        left.status == right.status && left.body == right.body && left.reset == right.reset
    }

    init(status: Int = 0, body: [UInt8] = [], reset: ResetCode? = nil) {
        (self.status, self.body, self.reset) = (status, body, reset)
    }

    /// Takes everything from an exchange.
    init(of exchange: Exchange) throws {
        while true {
            switch exchange.take(until: soon) {
            case .head(let piece, let ends):
                let parsed = try ResponseHead.parse(piece.bytes, piece.payload)
                if parsed.isInterim { continue }
                head = parsed.bytes.text
                status = parsed.status
                if ends { return }
            case .body(let piece, let ends):
                body += piece.bytes[piece.payload]
                if ends { return }
            case .trailers: return
            case .reset(let cut):
                reset = cut.code
                return
            case nil:
                // A cut of what had ended comes without an arrival.
                reset = exchange.cut?.code
                if reset == nil { Issue.record("nothing came") }
                return
            }
        }
    }
}
