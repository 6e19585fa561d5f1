// Opens the connection to a relay: TCP, perhaps through a proxy, TLS, and the upgrade.
//
// Called by: RelaySession, on its own thread, before each session.
// Waits for: resolver, proxy and relay, all within the connect timeout.

import Connections
import Program
import Streams
import Threads
import Wire

enum DialError: Error {
    /// The relay does not take this key, or not for this name: trying again would not help.
    case refused(status: Int)
    /// Everything else is tried again.
    case failed(String)

    fileprivate init(_ step: String, _ error: StreamError) {
        self = .failed("\(step): \(error.description)")
    }
}

/// How far `dial` has come.
enum DialStep: Sendable {
    /// TCP to the relay or the proxy, at this address.
    case reached(String)
    /// The proxy lets us through.
    case tunnelled
    /// TLS, and the certificate is good.
    case secured
    /// The relay has answered something, with this Date.
    case answered(date: [UInt8]?)
}

struct RelayDialer: Sendable {
    let remote: AgentConfiguration.Remote
    let name: MirrorName
    let key: APIKey
    /// Nil: `ws:`.
    let tls: TLSContext?
    let timeout: Duration

    /// Connects and upgrades. Blocks until the session can begin, or fails.
    ///
    /// - Parameter steps: grows by each step that held.
    /// - Returns: the connection, what came behind the head of the relay's answer, and what the
    ///   relay speaks.
    func dial(
        _ steps: inout [DialStep]
    ) throws(DialError) -> sending (ByteStream, InputBuffer, ProtocolVersion) {
        let deadline = Deadline.after(timeout)
        let stream = try connect(until: deadline, &steps)
        if let tls {
            stream.startTLS(tls, host: remote.url.address.host)
            do {
                try stream.handshake(until: deadline)
            } catch {
                throw DialError("tls with \(remote.url.address)", error)
            }
            steps.append(.secured)
        }
        let (input, version) = try upgrade(stream, until: deadline, &steps)
        return (stream, input, version)
    }

    private func connect(
        until deadline: Deadline, _ steps: inout [DialStep]
    ) throws(DialError) -> ByteStream {
        let address = remote.proxy?.address ?? remote.url.address
        let stream: ByteStream
        do {
            stream = ByteStream(
                try Streams.dial(
                    host: address.host, port: UInt16(clamping: address.port), until: deadline))
        } catch {
            throw DialError(remote.proxy == nil ? "\(address)" : "proxy \(address)", error)
        }
        steps.append(.reached(stream.peer.description))
        if let proxy = remote.proxy {
            try pass(stream, proxy, until: deadline)
            steps.append(.tunnelled)
        }
        return stream
    }

    /// Asks a proxy for a tunnel (RFC 9110 §9.3.6).
    private func pass(
        _ stream: ByteStream, _ proxy: ProxyURL, until deadline: Deadline
    ) throws(DialError) {
        let target = remote.url.address.description
        var request: [UInt8] = []
        HeadWriter.requestLine(method: "CONNECT", target: Array(target.utf8)[...], to: &request)
        HeadWriter.field("Host", target, to: &request)
        if let authorization = proxy.authorization {
            HeadWriter.field("Proxy-Authorization", authorization, to: &request)
        }
        HeadWriter.end(to: &request)
        let (head, input) = try ask(stream, request, "proxy \(proxy.address)", until: deadline)
        switch head.status {
        case 200...299: break
        case 407 where proxy.authorization == nil:
            throw .failed(
                "proxy \(proxy.address): wants user and password"
                    + " (407; give them as http://USER:PASSWORD@HOST:PORT)")
        // Some proxies say 401 to a wrong password, which is for origins.
        case 401, 407:
            throw .failed("proxy \(proxy.address): refuses user or password (\(head.status))")
        default:
            throw .failed(
                "proxy \(proxy.address): refuses a tunnel to \(target) (\(head.status))")
        }
        // The relay speaks second: what came with the answer would be lost.
        if !input.isEmpty { throw .failed("proxy \(proxy.address): sent bytes behind its answer") }
    }

    private func upgrade(
        _ stream: ByteStream, until deadline: Deadline, _ steps: inout [DialStep]
    ) throws(DialError) -> (InputBuffer, ProtocolVersion) {
        let websocketKey = WebSocketUpgrade.makeKey()
        let separator = remote.url.target.utf8.contains(UInt8(ascii: "?")) ? "&" : "?"
        let target = remote.url.target + separator + "name=" + PercentEncoding.encode(name.text)
        let request = WebSocketUpgrade.request(
            target: Array(target.utf8), host: remote.url.hostField, key: websocketKey,
            credential: key.bytes, userAgent: "magicmirror/\(Version.number)")
        let (head, input) = try ask(stream, request, "\(remote.url.address)", until: deadline)
        steps.append(.answered(date: head.fields.value(.date).map(Array.init)))
        switch head.status {
        case 101: break
        case 401, 403: throw .refused(status: head.status)
        default: throw .failed("\(remote.url.address): answered \(head.status), not an upgrade")
        }
        if let problem = WebSocketUpgrade.problem(with: head, key: websocketKey) {
            throw .failed("\(remote.url.address): \(problem)")
        }
        return (input, WebSocketUpgrade.version(chosenBy: head))
    }

    /// Sends a request without a body and reads the head of the final answer.
    private func ask(
        _ stream: ByteStream, _ request: [UInt8], _ peer: String, until deadline: Deadline
    ) throws(DialError) -> (ResponseHead, InputBuffer) {
        do {
            return try headOfAnswer(to: request, on: stream, until: deadline)
        } catch let error as HeadError {
            throw .failed("\(peer): broken answer: \(error.reason)")
        } catch let error as StreamError {
            throw DialError(peer, error)
        } catch {
            throw .failed("\(peer): \(error)")
        }
    }
}

/// Sends a request without a body and reads the head of the final answer. Blocks until it is there.
///
/// - Returns: the head, and what came behind it.
/// - Throws: a `StreamError` or a `HeadError`.
func headOfAnswer(
    to request: [UInt8], on stream: ByteStream, until deadline: Deadline
) throws -> (ResponseHead, InputBuffer) {
    try stream.append(request)
    try stream.send(until: deadline)
    var input = InputBuffer()
    var scanner = HeadScanner()
    while true {
        if let end = try scanner.end(in: input.bytes, input.range, limits: HeadLimits()) {
            let head = try ResponseHead.parse(input.bytes, input.range.lowerBound..<end)
            input.consume(to: end)
            if !head.isInterim { return (head, input) }
            scanner = HeadScanner()
        }
        if try input.fill(from: stream, room: 4096, until: deadline) == .end {
            throw StreamError.closed
        }
    }
}
