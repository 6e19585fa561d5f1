// The WebSocket of a v1 session: one whole message at a time each way, control frames between them.
//
// Called by: the owner thread of a v1 session, at either end.
// Waits for: nothing; a message goes out as the socket takes it.
// Hard: a message is one frame, however long, so no control frame can go out before its end: what is
// staged meanwhile waits behind it. And a Close in the middle of it would be read as a part of it.

import Connections
import Streams
import Threads
import Wire

/// Not Sendable: it is the session's.
struct LockstepLink {
    private let stream: ByteStream
    private var reader: WebSocketReader
    private var writer: WebSocketWriter
    /// The payload of the message that is going out, and how much of it has gone.
    private var payload: [UInt8] = []
    private var sent = 0

    /// Events that a session takes before it looks at everything else again.
    static let maximumEventsPerTurn = 64

    /// - Parameter isAgent: this side is the WebSocket's client.
    init(
        _ stream: sending ByteStream, _ input: InputBuffer, isAgent: Bool, maximumMessageBytes: Int
    ) {
        self.stream = stream
        reader = WebSocketReader(
            input, expectsMask: !isAgent, maximumPayload: maximumMessageBytes, version: .v1)
        writer = WebSocketWriter(masks: isAgent)
    }

    // MARK: - Writing

    /// Whether the message before is still going out; then no other can be sent.
    var isSending: Bool { !payload.isEmpty }

    mutating func send(text: [UInt8]) throws(SessionEnd) {
        precondition(!isSending)
        payload = text
        writer.begin(text: &payload)
        do {
            try writer.flush(to: stream)
        } catch {
            throw .lost(error.description)
        }
    }

    /// Stages a control frame.
    mutating func send(_ opcode: Opcode, _ payload: [UInt8]) { writer.append(opcode, payload) }

    /// Sends what the socket takes.
    mutating func write() throws(SessionEnd) {
        do {
            while try stream.send() {
                if isSending {
                    let end = min(sent + Session.maximumUnsent, payload.count)
                    try stream.append(payload, sent..<end)
                    sent = end
                    if sent == payload.count {
                        payload = []
                        sent = 0
                    }
                } else {
                    try writer.flush(to: stream)
                }
                if stream.unsent == 0 { return }
            }
        } catch {
            throw .lost(error.description)
        }
        if writer.staged > Session.maximumUnsent {
            throw .protocolError("more pings than answers can be sent")
        }
    }

    // MARK: - Reading

    /// The next event; nil where nothing more is there now, or enough was read for one turn.
    mutating func next() throws(SessionEnd) -> WebSocketEvent? {
        var taken = 0
        do {
            while true {
                if let event = try reader.next() { return event }
                if taken >= Session.maximumReadPerTurn { return nil }
                switch try reader.fill(from: stream) {
                case .bytes(let count): taken += count
                case .nothing: return nil
                case .end: throw SessionEnd.lost("closed without a close frame")
                }
            }
        } catch {
            throw SessionEnd(error)
        }
    }

    // MARK: - Waiting and the end

    /// Blocks until the socket moves, the doorbell rings, or `deadline` passes.
    ///
    /// - Parameter reads: whether arrivals are of interest now.
    func wait(reads: Bool = true, _ doorbell: Doorbell, until deadline: Deadline) {
        var interest: Readiness = reads ? .readable : []
        if stream.unsent > 0 { interest.insert(.writable) }
        let ready = stream.wait(for: interest, doorbell: doorbell, until: deadline)
        if ready.contains(.rung) { doorbell.clear() }
    }

    mutating func lastWord(after end: SessionEnd) -> SessionEnd {
        stream.lastWord(after: end, &reader)
    }

    mutating func close(_ end: SessionEnd) {
        if isSending { return stream.end() }
        stream.close(end, &writer)
    }
}
