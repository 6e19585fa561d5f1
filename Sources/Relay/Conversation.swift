// What the relay itself says to a client, and the line that it writes about it.
//
// Called by: the workers.
// Waits for: the client taking an answer of the relay's own, a few seconds at most.

import Connections
import Program
import Streams
import Threads
import Wire

/// A request as far as answers and log lines need it.
struct Asked {
    /// Nil: its head could not be read.
    let request: ClientRequest?
    var mirror: MirrorID?
    var key: String?
    let start: Deadline
    /// The body, or some of it, is still to come: the connection can't be used again.
    var bodyIsUnread = false
    var bytesIn = 0
    var exchange: UInt32 = 0
    /// When its head went to an agent, and when the head of the answer had come.
    var sent: Deadline?
    var answered: Deadline?

    init(_ request: ClientRequest) {
        self.request = request
        start = request.start
        bodyIsUnread = request.hasBody
    }

    init(_ request: MirrorRequest) {
        self.init(request.received)
        mirror = request.mirror.id
        key = request.credential?.identity.id
    }

    private init() {
        request = nil
        start = .now
        bodyIsUnread = true
    }

    static var unreadable: Asked { Asked() }

    var head: RequestHead? { request?.head }

    var requestID: [UInt8] { request?.id ?? [] }

    /// Whether the client prefers a page to a problem in JSON (RFC 9110 §12.5.1): it names HTML,
    /// and neither JSON nor problems.
    var prefersHTML: Bool {
        guard let head, let accept = head.fields.value(.accept) else { return false }
        let text = String(decoding: accept.prefix(1024), as: UTF8.self).lowercased()
        return text.contains("text/html") && !text.contains("json")
    }
}

extension Relay {
    /// For pages: more than this fits the buffer of a socket whose client takes its answers.
    private static let answerTimeout = Duration.seconds(5)
    private static let unwaitedBytes = 4096
    private static let lingerTimeout = Duration.seconds(10)

    /// Answers with an error of the table; writes its log line and counts it.
    func answer(
        _ answer: Answer, on connection: ClientConnection, _ asked: Asked, reason: String
    ) -> ClientWorker.Step {
        let closes = asked.bodyIsUnread || asked.head?.wantsClose ?? true || isDraining
        let bytes = answer.bytes(
            requestID: asked.requestID, isHTML: asked.prefersHTML,
            withBody: asked.head?.methodIs("HEAD") != true, closes: closes)
        log(
            asked, connection, status: answer.status, bytesOut: 0,
            error: answer.error.proxyStatus, reason: reason)
        metrics.errors[Int(answer.error.rawValue)].add()
        if let limit = answer.limit { metrics.reached(limit) }
        return say(bytes, on: connection, closes: closes)
    }

    /// Answers a request without a valid key. Whoever has shown too many wrong ones is told to wait.
    ///
    /// A right key is good all the time: its 256 bits cannot be guessed, and whoever shares his
    /// address with a program that shows an old key again and again must not be locked out by it.
    func refuseKey(
        _ asked: Asked, on connection: ClientConnection, reason: String
    ) -> ClientWorker.Step {
        guard let head = asked.head, Credentials.areShown(in: head.fields),
            let seconds = addressLimits.wrongKeyComes(
                from: connection.clientNetwork,
                atMost: connection.snapshot.limits.maximumWrongKeys)
        else { return answer(.noKey, on: connection, asked, reason: reason) }
        return answer(
            .tooManyWrongKeys(retryAfter: seconds), on: connection, asked,
            reason: "too many wrong keys from this address")
    }

    /// Answers with a small page of text.
    func page(
        _ text: String, on connection: ClientConnection, _ asked: Asked,
        mediaType: StaticString = "text/plain; charset=utf-8"
    ) -> ClientWorker.Step {
        page(Array(text.utf8), on: connection, asked, mediaType: mediaType)
    }

    func page(
        _ body: [UInt8], on connection: ClientConnection, _ asked: Asked, mediaType: StaticString
    ) -> ClientWorker.Step {
        guard let head = asked.head, head.methodIs("GET") || head.methodIs("HEAD") else {
            return answer(.methodNotAllowed, on: connection, asked, reason: "method")
        }
        return reply(200, body, on: connection, asked, mediaType: mediaType)
    }

    /// Answers whatever the method.
    func reply(
        _ status: Int, _ body: [UInt8], on connection: ClientConnection, _ asked: Asked,
        mediaType: StaticString
    ) -> ClientWorker.Step {
        guard let head = asked.head else { return .close }
        let closes = asked.bodyIsUnread || head.wantsClose || isDraining
        var out: [UInt8] = []
        HeadWriter.statusLine(status, reason: reasonPhrase(status), to: &out)
        HeadWriter.field("Date", WallClock.httpDate(), to: &out)
        HeadWriter.field("Content-Type", text: mediaType, to: &out)
        HeadWriter.field("Content-Length", body.count, to: &out)
        HeadWriter.field("Cache-Control", text: "no-store", to: &out)
        if closes {
            HeadWriter.field("Connection", text: "close", to: &out)
        } else if head.minorVersion == 0 {
            HeadWriter.field("Connection", text: "keep-alive", to: &out)
        }
        HeadWriter.end(to: &out)
        if !head.methodIs("HEAD") { out.append(contentsOf: body) }
        return say(out, on: connection, closes: closes)
    }

    private func say(
        _ bytes: [UInt8], on connection: ClientConnection, closes: Bool
    ) -> ClientWorker.Step {
        do {
            try connection.stream.append(bytes)
            // A client that asks and asks and takes no answers must hold no worker.
            let isShort = bytes.count <= Relay.unwaitedBytes
            try connection.stream.send(until: isShort ? .now : .after(Relay.answerTimeout))
        } catch {
            return .close
        }
        return closes ? linger(connection) : awaitNext(connection)
    }

    /// The connection is done, but what its client still sends must not reset the answer away.
    func linger(_ connection: ClientConnection) -> ClientWorker.Step {
        connection.stream.end()
        connection.phase = .lingering
        connection.headHasBegun = true
        connection.deadline = .after(Relay.lingerTimeout)
        connection.input.consume(to: connection.input.range.upperBound)
        return .next
    }

    /// Makes the connection ready for the next request.
    func awaitNext(_ connection: ClientConnection) -> ClientWorker.Step {
        connection.phase = .head
        connection.scanner = HeadScanner()
        connection.mayLinger = true
        connection.headHasBegun = !connection.input.isEmpty
        connection.deadline = .after(
            connection.headHasBegun
                ? connection.snapshot.limits.headTimeout : connection.snapshot.limits.idleTimeout)
        return .next
    }

    // MARK: - The log line

    /// One line for an exchange, and its numbers.
    func log(
        _ asked: Asked, _ connection: ClientConnection, status: Int, bytesOut: Int,
        error: StaticString? = nil, reason: String? = nil
    ) {
        let duration = nanosecondsSince(asked.start)
        metrics.responses[min(max(status / 100, 1), 5) - 1].add()
        metrics.bytesIn.add(asked.bytesIn)
        metrics.bytesOut.add(bytesOut)
        metrics.duration.observe(nanoseconds: duration)
        let level: Journal.Level =
            status >= 500 || (error != nil && status < 400) ? .warning : .info
        journal.write(level, "exchange") { line in
            if let mirror = asked.mirror {
                line.field("MIRROR", mirror.user, mirror.name)
            }
            if asked.exchange > 0 { line.field("EXCHANGE", Int(asked.exchange)) }
            if let request = asked.request { line.field("REQUEST_ID", request.id) }
            line.field("CLIENT", connection.clientAddress)
            if let key = asked.key { line.field("KEY_ID", key) }
            if let request = asked.request {
                let logsQuery = connection.snapshot.configuration.logsQueries
                line.field("METHOD", request.head.bytes[request.head.method])
                line.field("PATH", request.head.path(withQuery: logsQuery))
            }
            line.field("STATUS", status)
            if let error { line.field("ERROR", error) }
            if let reason, !reason.isEmpty { line.field("REASON", reason) }
            line.field("BYTES_IN", asked.bytesIn)
            line.field("BYTES_OUT", bytesOut)
            if let sent = asked.sent {
                line.field("WAIT_MS", milliseconds: sent - asked.start)
                if let answered = asked.answered {
                    line.field("FIRST_BYTE_MS", milliseconds: answered - sent)
                }
            }
            line.field("DURATION_MS", milliseconds: duration)
        }
    }
}
