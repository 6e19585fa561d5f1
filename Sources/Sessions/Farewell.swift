// The last words on a session's connection, ours and the peer's.
//
// Called by: the session's owner thread, once its loop has ended.
// Waits for: the peer taking our Close and closing, two seconds at most.

import Connections
import Streams
import Threads
import Wire

extension ByteStream {
    /// For the peer to take our Close, and to close.
    private static let closeTimeout = Duration.seconds(2)

    /// What the peer said before the connection broke: writing fails as soon as it has gone, and
    /// its Close may still be here to read.
    func lastWord(after end: SessionEnd, _ reader: inout WebSocketReader) -> SessionEnd {
        guard case .lost = end else { return end }
        do {
            while true {
                while let event = try reader.next() {
                    if case .close(let payload) = event { return SessionEnd(payload) }
                }
                guard case .bytes = try reader.fill(from: self) else { return end }
            }
        } catch {
            return end
        }
    }

    /// Tells the peer how the session ended, where it can still be told, and closes.
    func close(_ sessionEnd: SessionEnd, _ writer: inout WebSocketWriter) {
        guard let payload = sessionEnd.closePayload else { return end() }
        var bytes: [UInt8] = []
        payload.append(to: &bytes)
        writer.append(.close, bytes)
        // The peer learns the reason if it takes it soon; the session is over in any case.
        let deadline = Deadline.after(ByteStream.closeTimeout)
        try? writer.flush(to: self)
        try? send(until: deadline)
        end()
        if sessionEnd != .silent { linger(until: deadline) }
    }

    /// Blocks until the peer has closed too: if its last bytes met a closed socket, the system would
    /// reset the connection, and our Close would be lost on its way.
    private func linger(until deadline: Deadline) {
        var bytes: [UInt8] = []
        while !deadline.hasPassed,
            case .bytes = try? read(
                appendingTo: &bytes, room: Piece.maximumCount, until: deadline)
        {
            bytes.removeAll(keepingCapacity: true)
        }
    }
}
