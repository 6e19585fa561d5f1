// The private service: how to reach it, and the connections to it that wait for their next request.
//
// Called by: OriginExchange on the pool's workers; the housekeeping thread closes what is too old.
// Waits for: the origin to connect, in `connect` only.
// Hard: an origin may close a kept connection at the moment in which it is used. `take` finds out
// what has happened already; for the rest see OriginExchange on when a request may be sent again.

import Connections
import Streams
import Threads
import Wire

/// A connection to an origin. Not Sendable: one worker owns it, or the store does.
final class OriginConnection {
    let stream: ByteStream
    var input = InputBuffer()
    /// It has carried an exchange before.
    var isReused = false

    init(_ stream: sending ByteStream) { self.stream = stream }
}

/// Why an origin could not be asked, or did not answer as it should.
struct OriginError: Error {
    let code: ResetCode
    let reason: String
    /// The limit that was reached.
    var limit: AgentLimit?
}

/// Where an origin is, and its idle connections. Thread-safe: all state is in one monitor.
final class Origin: Sendable {
    private struct Idle: Sendable {
        let connection: Handover<OriginConnection>
        let since: Deadline
        let descriptor: Int32
    }

    private let local: LocalURL
    private let tls: TLSContext?
    private let limits: AgentLimits
    /// The last one put is the first one taken: the others can grow old.
    private let idle = Monitor<[Idle]>([])

    init(_ local: LocalURL, tls: TLSContext?, limits: AgentLimits) {
        self.local = local
        self.tls = tls
        self.limits = limits
    }

    /// The Host of the origin's own.
    var hostField: [UInt8] { Array(local.hostField.utf8) }

    /// An idle connection, if there is one that has not waited for too long.
    ///
    /// - Parameter isRepeatable: the request can be sent again where the origin closes the
    ///   connection just then. Other requests get a connection that was used a moment ago, which
    ///   the origin is not about to close.
    func take(isRepeatable: Bool) -> sending OriginConnection? {
        let maximumIdle = isRepeatable ? limits.idleTimeout : .seconds(1)
        while true {
            let limit = Deadline.now + -maximumIdle.nanoseconds
            let found = idle.withLock { idle -> Idle? in
                guard let last = idle.last, last.since >= limit else { return nil }
                return idle.removeLast()
            }
            guard let found else { return nil }
            let connection = found.connection.take()
            // Readable at rest: closed, or bytes that nobody asked for and that the next client
            // would get for its answer.
            if poll(found.descriptor, for: .readable, until: .now).isEmpty {
                connection.isReused = true
                return connection
            }
        }
    }

    /// Keeps a connection for the next request.
    func put(_ connection: sending OriginConnection) {
        connection.stream.trim()
        let descriptor = connection.stream.descriptor
        let entry = Idle(
            connection: Handover(connection), since: .now, descriptor: descriptor)
        let surplus = idle.withLock { idle -> Idle? in
            idle.append(entry)
            return idle.count > limits.workers ? idle.removeFirst() : nil
        }
        // Closed here, outside the lock.
        _ = surplus?.connection.take()
    }

    /// Closes the connections that have waited for longer than the limit, or that the origin has
    /// closed. Called every second.
    ///
    /// - Returns: how many had waited for too long.
    func closeOld() -> Int {
        let limit = Deadline.now + -limits.idleTimeout.nanoseconds
        let old = idle.withLock { idle -> [Idle] in
            let old = idle.filter {
                $0.since < limit || !poll($0.descriptor, for: .hungUp, until: .now).isEmpty
            }
            if !old.isEmpty {
                idle.removeAll { entry in old.contains { $0.connection === entry.connection } }
            }
            return old
        }
        for entry in old { _ = entry.connection.take() }
        return old.count { $0.since < limit }
    }

    /// Opens a connection. Blocks until it stands, fails, or the connect timeout has passed.
    func connect() throws(OriginError) -> sending OriginConnection {
        let deadline = Deadline.after(limits.connectTimeout)
        do throws(StreamError) {
            switch local.place {
            case .unix(let path):
                return OriginConnection(
                    ByteStream(try Streams.connect(to: .unix(path: path), until: deadline)))
            case .tcp(let address):
                let stream = ByteStream(
                    try dial(
                        host: address.host, port: UInt16(clamping: address.port), until: deadline))
                if let tls {
                    stream.startTLS(tls, host: address.host)
                    try stream.handshake(until: deadline)
                }
                return OriginConnection(stream)
            }
        } catch {
            throw OriginError(connecting: error, to: local)
        }
    }
}

extension OriginError {
    /// Before the connection stood.
    init(connecting error: StreamError, to local: LocalURL) {
        let code: ResetCode =
            switch error {
            case .timedOut: .connectionTimeout
            case .closed: .connectionTerminated
            case .refused: .connectionRefused
            case .unreachable, .failed: .destinationIPUnroutable
            case .nameUnknown: .dnsError
            case .certificate, .tls: .tlsCertificateError
            case .exhausted: .destinationUnavailable
            }
        self.init(
            code: code, reason: "\(local): \(error.description)",
            limit: code == .connectionTimeout ? .connectTimeout : nil)
    }

    /// On a connection that stood, before the head of the answer was complete.
    init(asking error: StreamError) {
        let code: ResetCode =
            switch error {
            case .timedOut: .httpResponseTimeout
            // Under TLS 1.3 an origin refuses our certificate, or misses it, only now.
            case .certificate, .tls: .tlsCertificateError
            default: .connectionTerminated
            }
        self.init(code: code, reason: error.description)
    }

    /// In the head of the answer.
    init(_ error: HeadError) {
        let limit: AgentLimit? =
            switch error {
            case .headTooLarge: .headBytes
            case .tooManyFields: .fields
            default: nil
            }
        self.init(code: .httpProtocolError, reason: error.reason, limit: limit)
    }

    /// Inside the body of the answer.
    init(_ error: BodyError) {
        switch error {
        case .truncated:
            self.init(code: .httpResponseIncomplete, reason: "the origin closed inside the body")
        case .malformed(let error):
            self.init(code: .httpProtocolError, reason: error.rawValue)
        case .stream(let error):
            self.init(code: .httpResponseIncomplete, reason: error.description)
        }
    }
}
