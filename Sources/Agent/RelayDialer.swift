// Opens the connection to a relay: TCP, perhaps through a proxy, TLS, and the upgrade.
//
// Called by: RelaySession, on its own thread, before each session.
// Waits for: resolver, proxy and relay, all within the connect timeout (the resolver has its own).

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

struct RelayDialer: Sendable {
    let remote: AgentConfiguration.Remote
    let name: MirrorName
    let key: APIKey
    /// Nil: `ws:`.
    let tls: TLSContext?
    let timeout: Duration

    /// Connects and upgrades. Blocks until the session can begin, or fails.
    ///
    /// - Returns: the connection, and what came behind the head of the relay's answer.
    func dial() throws(DialError) -> sending (ByteStream, InputBuffer) {
        let deadline = Deadline.after(timeout)
        let stream = try connect(until: deadline)
        if let tls {
            stream.startTLS(tls, host: remote.url.address.host)
            do {
                try stream.handshake(until: deadline)
            } catch {
                throw DialError("tls with \(remote.url.address)", error)
            }
        }
        let input = try upgrade(stream, until: deadline)
        return (stream, input)
    }

    private func connect(until deadline: Deadline) throws(DialError) -> ByteStream {
        let address = remote.proxy?.address ?? remote.url.address
        let stream: ByteStream
        do {
            stream = ByteStream(
                try Streams.dial(
                    host: address.host, port: UInt16(clamping: address.port), until: deadline))
        } catch {
            throw DialError(remote.proxy == nil ? "\(address)" : "proxy \(address)", error)
        }
        if let proxy = remote.proxy { try pass(stream, proxy, until: deadline) }
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
        if !(200...299 ~= head.status) {
            throw .failed("proxy \(proxy.address): answered \(head.status) to CONNECT")
        }
        // The relay speaks second: what came with the answer would be lost.
        if !input.isEmpty { throw .failed("proxy \(proxy.address): sent bytes behind its answer") }
    }

    private func upgrade(
        _ stream: ByteStream, until deadline: Deadline
    ) throws(DialError) -> InputBuffer {
        let websocketKey = WebSocketUpgrade.makeKey()
        let separator = remote.url.target.utf8.contains(UInt8(ascii: "?")) ? "&" : "?"
        let target = remote.url.target + separator + "name=" + PercentEncoding.encode(name.text)
        let request = WebSocketUpgrade.request(
            target: Array(target.utf8), host: remote.url.hostField, key: websocketKey,
            credential: key.bytes, userAgent: "magicmirror/\(Version.number)")
        let (head, input) = try ask(stream, request, "\(remote.url.address)", until: deadline)
        switch head.status {
        case 101: break
        case 401, 403: throw .refused(status: head.status)
        default: throw .failed("\(remote.url.address): answered \(head.status), not an upgrade")
        }
        if let problem = WebSocketUpgrade.problem(with: head, key: websocketKey) {
            throw .failed("\(remote.url.address): \(problem)")
        }
        return input
    }

    /// Sends a request without a body and reads the head of the final answer.
    private func ask(
        _ stream: ByteStream, _ request: [UInt8], _ peer: String, until deadline: Deadline
    ) throws(DialError) -> (ResponseHead, InputBuffer) {
        do {
            try stream.append(request)
            try stream.send(until: deadline)
            var input = InputBuffer()
            var scanner = HeadScanner()
            while true {
                if let end = try scanner.end(
                    in: input.bytes, input.range, limits: HeadLimits())
                {
                    let head = try ResponseHead.parse(input.bytes, input.range.lowerBound..<end)
                    input.consume(to: end)
                    if !head.isInterim { return (head, input) }
                    scanner = HeadScanner()
                }
                if try input.fill(from: stream, room: 4096, until: deadline) == .end {
                    throw StreamError.closed
                }
            }
        } catch let error as HeadError {
            throw .failed("\(peer): broken answer: \(error.reason)")
        } catch let error as StreamError {
            throw DialError(peer, error)
        } catch {
            throw .failed("\(peer): \(error)")
        }
    }
}
