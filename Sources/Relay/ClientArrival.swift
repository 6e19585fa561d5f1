// Step 3 before the first request: the PROXY header, the first byte, the TLS handshake.
//
// Called by: ClientWorker, when a new connection has become readable or has passed its deadline.
// Waits for: nothing; what is unfinished goes back to the parking lot and holds no worker.
// Hard: TLS reads the socket itself. So what comes before it is looked at where it is, and exactly
// that is taken.

import Program
import Streams
import Threads
import Wire

extension ClientWorker {
    /// Reads the PROXY header, and nothing behind it: that may belong to TLS.
    func readProxyHeader(_ connection: ClientConnection, _ begun: [UInt8]) -> Step {
        if connection.deadline.hasPassed {
            relay.metrics.reached(.handshakeTimeout)
            return refuse(connection, "PROXY header too slow")
        }
        do {
            guard
                let seen = try connection.stream.peek(ProxyHeader.maximumLength - begun.count)
            else {
                // Some proxies look in this way whether we are there.
                return begun.isEmpty ? .close : refuse(connection, "closed in the PROXY header")
            }
            let bytes = begun + seen
            guard let header = try ProxyHeader.parse(bytes) else {
                connection.stream.skip(seen.count)
                connection.phase = .proxyHeader(bytes)
                return .park
            }
            connection.stream.skip(header.length - begun.count)
            connection.learn(header)
        } catch let error as ProxyHeaderError {
            return refuse(connection, error.rawValue)
        } catch {
            return .close
        }
        if connection.stream.isEncrypted {
            connection.phase = .greeting
        } else {
            connection.phase = .head
            connection.deadline = .after(connection.snapshot.limits.headTimeout)
        }
        return .next
    }

    /// A trusted proxy does not do what it should: the operator has to know.
    private func refuse(_ connection: ClientConnection, _ reason: String) -> Step {
        relay.metrics.refusedProxyHeaders.add()
        relay.journal.warning("connection refused") {
            $0.field("CLIENT", connection.peerAddress)
            $0.field("REASON", reason)
        }
        return .close
    }

    /// Tells a client that speaks HTTP in the clear where it is; TLS begins with no letter.
    func readGreeting(_ connection: ClientConnection) -> Step {
        guard let first = try? connection.stream.peek(1) else { return .close }
        guard let byte = first.first else { return awaitHandshake(connection) }
        if (byte | 0x20) &- 0x61 >= 26 {
            connection.phase = .handshake
            return .next
        }
        connection.stream.dropTLS()
        return relay.answer(
            .plainOnTLS, on: connection, .unreadable,
            reason: "plain HTTP on a TLS port")
    }

    /// Goes on with the TLS handshake.
    func handshake(_ connection: ClientConnection) -> Step {
        do {
            if try connection.stream.handshake() {
                connection.phase = .head
                connection.deadline = .after(connection.snapshot.limits.headTimeout)
                return .next
            }
            return awaitHandshake(connection)
        } catch {
            relay.metrics.failedHandshakes.add()
            relay.journal.debug("handshake failed") {
                $0.field("CLIENT", connection.stream.peer.host)
                $0.field("REASON", error.description)
            }
            return .close
        }
    }

    private func awaitHandshake(_ connection: ClientConnection) -> Step {
        if !connection.deadline.hasPassed { return .park }
        relay.metrics.reached(.handshakeTimeout)
        return .close
    }
}
