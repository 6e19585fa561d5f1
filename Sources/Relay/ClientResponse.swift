// Step 7: the answer as it goes to the client, in the framing that the client can read.
//
// Called by: ClientExchange, on its worker.
// Waits for: the client taking bytes, at least at the minimum rate.
// Hard: what the agent announces is held against what comes: a body that ends before its length is
// cut, never ended; one that goes beyond it never reaches the client, who would read the rest as
// the next answer.

import Connections
import Sessions
import Streams
import Threads
import Wire

/// Why an answer cannot go on.
enum ClientFailure: Error {
    /// The client has gone.
    case gone(StaticString)
    /// The client takes less than it must.
    case tooSlow
    /// The agent sent what cannot be passed on.
    case brokenAnswer(String)
}

struct ClientResponse {
    private enum Framing {
        case none
        case length(left: Int)
        case chunked
        /// For HTTP/1.0: the end of the connection is the end of the body.
        case untilClose
    }

    private var framing = Framing.none
    /// Small pieces collect here, so that a head and a short body share a TLS record.
    private var stage: [UInt8] = []
    private var rate: RateMeter
    /// The final head has come.
    private(set) var hasBegun = false
    /// Some of the answer has gone out: the client can only be told by a cut that it broke.
    private(set) var hasSent = false
    private(set) var isComplete = false
    /// It was a 101: what follows are raw bytes.
    private(set) var isUpgrade = false
    /// The connection ends with this answer.
    private(set) var closes = false
    private(set) var status = 0
    private var interimHeads = 0
    private(set) var bytesOut = 0

    /// Proxy-Status says who made an answer: an origin must not speak for the relay.
    private static let dropped: FieldSet = [.proxyStatus]
    private static let maximumStaged = 8 * 1024
    /// Two TLS records: what may wait, encrypted, for a slow client.
    private static let maximumUnsent = 32 * 1024

    init(_ rate: RateMeter) { self.rate = rate }

    /// Writes what has arrived. Blocks while the client is slow and much is waiting for it.
    ///
    /// - Parameter isLast: no request can follow: the body of this one has not come to its end,
    ///   or the relay stops.
    mutating func write(
        _ arrival: Arriving, of request: MirrorRequest, isLast: Bool, to stream: ByteStream
    ) throws(ClientFailure) {
        switch arrival {
        case .head(let piece, let ends):
            try write(head: piece, ends: ends, request, isLast, stream)
        case .body(let piece, let ends): try write(body: piece, ends: ends, stream)
        case .trailers(let piece): try write(trailers: piece, stream)
        case .reset: return
        }
        if stream.unsent >= ClientResponse.maximumUnsent { try flush(to: stream) }
    }

    // MARK: - The head

    private mutating func write(
        head piece: Piece, ends: Bool, _ request: MirrorRequest, _ isLast: Bool,
        _ stream: ByteStream
    ) throws(ClientFailure) {
        if hasBegun { throw .brokenAnswer("a second head") }
        let asked = request.head
        let head: ResponseHead
        let declared: BodyFraming
        do {
            head = try ResponseHead.parse(
                piece.bytes, piece.payload,
                limits: HeadLimits(
                    maximumHeadBytes: MessageHeader.maximumPayload, maximumFields: 8192))
            declared = try head.framing(requestMethodIsHead: asked.methodIs("HEAD"))
        } catch {
            throw .brokenAnswer(error.reason)
        }
        if head.status == 101, ends || request.upgrade?.allows(head) != true {
            throw .brokenAnswer("an upgrade that nobody asked for")
        }
        if head.isInterim {
            interimHeads += 1
            if interimHeads > ResponseHead.maximumInterim {
                throw .brokenAnswer("too many interim heads")
            }
            if ends { throw .brokenAnswer("an interim head that ends the answer") }
            // RFC 9110 §15.2: an HTTP/1.0 client knows none of them.
            if asked.minorVersion > 0 { try write(interim: head, stream) }
            return
        }
        status = head.status
        isUpgrade = head.status == 101
        // RFC 9110 §10.1.1: whoever answers before the whole request says what becomes of the
        // connection. The rest of the body is not awaited.
        closes = (asked.wantsClose || isLast) && !isUpgrade
        var bodyBytes = 0
        if case .length(let length) = declared { bodyBytes = length }
        // Most bodies go out with their heads.
        stage.reserveCapacity(
            stage.count + head.bytes.count + 256 + min(bodyBytes, ClientResponse.maximumStaged))
        HeadWriter.statusLine(head.status, reason: head.bytes[head.reason], to: &stage)
        var dropped = ClientResponse.dropped
        // RFC 9110 §8.6: not even a length of 0 may stand there.
        if head.status == 204 { dropped.insert(.contentLength) }
        if let mapped = MappedFields(request, head.fields) {
            head.fields.appendEndToEnd(to: &stage, dropping: MappedFields.names.union(dropped))
            mapped.append(head.fields, to: &stage)
        } else {
            head.fields.appendEndToEnd(to: &stage, dropping: dropped)
        }
        let hasNoBody =
            asked.methodIs("HEAD") || head.status == 204 || head.status == 304
        head.appendUpgrade(to: &stage)
        if isUpgrade {
            // Bytes without framing follow.
        } else if hasNoBody {
            if !ends { throw .brokenAnswer("a body where none can be") }
        } else if case .length(let length) = declared {
            framing = .length(left: length)
            if ends, length > 0 { throw .brokenAnswer("no body, but a length") }
        } else if ends {
            HeadWriter.field("Content-Length", 0, to: &stage)
        } else if asked.minorVersion == 0 {
            framing = .untilClose
            closes = true
        } else {
            framing = .chunked
            HeadWriter.field("Transfer-Encoding", text: "chunked", to: &stage)
        }
        if closes {
            HeadWriter.field("Connection", text: "close", to: &stage)
        } else if asked.minorVersion == 0 {
            HeadWriter.field("Connection", text: "keep-alive", to: &stage)
        }
        HeadWriter.end(to: &stage)
        hasBegun = true
        isComplete = ends || isUpgrade
        if stage.count > ClientResponse.maximumStaged { try unstage(stream) }
    }

    private mutating func write(interim head: ResponseHead, _ stream: ByteStream)
        throws(ClientFailure)
    {
        var out: [UInt8] = []
        HeadWriter.statusLine(head.status, reason: head.bytes[head.reason], to: &out)
        head.fields.appendEndToEnd(to: &out, dropping: [.proxyStatus, .contentLength])
        HeadWriter.end(to: &out)
        try append(out, 0..<out.count, stream)
    }

    // MARK: - The body

    private mutating func write(
        body piece: Piece, ends: Bool, _ stream: ByteStream
    ) throws(ClientFailure) {
        if !hasBegun { throw .brokenAnswer("a body before its head") }
        let count = piece.count
        switch framing {
        case .none: throw .brokenAnswer("a body where none can be")
        case .length(let left):
            if count > left || (ends && count < left) {
                throw .brokenAnswer("a body of another length than announced")
            }
            framing = .length(left: left - count)
            try append(piece.bytes, piece.payload, stream)
        case .untilClose: try append(piece.bytes, piece.payload, stream)
        case .chunked:
            var piece = piece
            if count > 0 {
                let framed = piece.frameAsChunk()
                // The last chunk shares the write with the body's last bytes.
                if ends { piece.bytes.append(contentsOf: lastChunk) }
                try append(
                    piece.bytes, framed.lowerBound..<piece.bytes.count, stream)
            } else if ends {
                try append(lastChunk, 0..<lastChunk.count, stream)
            }
        }
        bytesOut += count
        isComplete = ends
    }

    private mutating func write(trailers piece: Piece, _ stream: ByteStream) throws(ClientFailure) {
        if !hasBegun { throw .brokenAnswer("trailers before a head") }
        switch framing {
        case .none: throw .brokenAnswer("trailers where no body can be")
        case .length(let left):
            if left > 0 { throw .brokenAnswer("a body of another length than announced") }
        case .untilClose: break
        case .chunked:
            let fields: Fields
            do {
                fields = try Fields.parse(trailers: piece.bytes[piece.payload])
            } catch {
                throw .brokenAnswer(error.reason)
            }
            var out = Array("0\r\n".utf8)
            fields.appendEndToEnd(to: &out, dropping: .forbiddenInTrailers)
            HeadWriter.end(to: &out)
            try append(out, 0..<out.count, stream)
        }
        isComplete = true
    }

    // MARK: - Sending

    private mutating func append(
        _ bytes: [UInt8], _ range: Range<Int>, _ stream: ByteStream
    ) throws(ClientFailure) {
        if stage.count + range.count <= ClientResponse.maximumStaged {
            stage.append(contentsOf: bytes[range])
            return
        }
        try unstage(stream)
        hasSent = hasSent || hasBegun
        // Few records at a time, so that no more than those wait encrypted for a slow client.
        var start = range.lowerBound
        while start < range.upperBound {
            let end = min(start + ClientResponse.maximumUnsent, range.upperBound)
            do {
                try stream.append(bytes, start..<end)
            } catch {
                throw .gone("the connection to the client broke")
            }
            start = end
            if start < range.upperBound { try flush(to: stream) }
        }
    }

    private mutating func unstage(_ stream: ByteStream) throws(ClientFailure) {
        if stage.isEmpty { return }
        hasSent = hasSent || hasBegun
        do {
            try stream.append(stage)
        } catch {
            throw .gone("the connection to the client broke")
        }
        stage.removeAll(keepingCapacity: true)
    }

    /// Blocks until the client has taken everything so far.
    mutating func flush(to stream: ByteStream) throws(ClientFailure) {
        try unstage(stream)
        do {
            while stream.unsent > 0, try !stream.send() {
                let start = Deadline.now
                let before = stream.unacknowledged
                _ = stream.wait(for: .writable, until: rate.deadline)
                if !rate.account(since: start, bytes: before - stream.unacknowledged) {
                    throw ClientFailure.tooSlow
                }
            }
        } catch let failure as ClientFailure {
            throw failure
        } catch {
            throw .gone("the connection to the client broke")
        }
    }
}
