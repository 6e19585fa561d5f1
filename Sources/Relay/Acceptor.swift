// Step 1 of a request's route: takes connections from one listener.
//
// Called by: RelayProgram starts one for each listener, on a thread `accept-N`.
// Waits for: a new connection; where descriptors have run out, a second for some to come back.
// Hard: a client that speaks slowly must cost no thread, so a fresh connection is parked at once.

import Program
import Streams
import Threads

/// Counts one connection for as long as it lives. Thread-safe: the gauge is atomic.
final class ConnectionPermit: Sendable {
    private let gauge: Gauge

    init(_ gauge: Gauge) {
        self.gauge = gauge
        gauge.add()
    }

    deinit { gauge.subtract() }
}

struct Acceptor: Sendable {
    let listener: Listener
    /// Nil: no TLS.
    let tls: TLSContext?
    let service: Service
    let relay: Relay

    /// Which requests a listener serves.
    enum Service: Sendable { case mirrors, administration, control }

    /// Connections that an operator may have when clients have taken all of theirs.
    static let operatorsReserve = 16

    /// Accepts as long as the program runs. A relay that drains still answers: with 503.
    func run() {
        while true {
            do throws(StreamError) {
                guard let socket = try listener.accept(until: .after(seconds: 60)) else { continue }
                accept(socket)
            } catch {
                relay.metrics.acceptFailures.add()
                relay.journal.error("cannot accept connections, out of descriptors or memory") {
                    $0.field("REASON", error.description)
                }
                relay.pause(until: .after(seconds: 1))
            }
        }
    }

    private func accept(_ socket: consuming Socket) {
        let connections = relay.metrics.connections
        let reserve = service == .mirrors ? 0 : Acceptor.operatorsReserve
        if connections.current >= relay.limits.maximumConnections + reserve {
            // Dropped: an answer would cost what the limit is there to save.
            relay.metrics.droppedConnections.add()
            return
        }
        let stream: ByteStream
        if let tls { stream = ByteStream(socket, tls) } else { stream = ByteStream(socket) }
        let isAnnounced = service == .mirrors && relay.configuration.expectsProxyHeader
        let connection = ClientConnection(
            stream, permit: ConnectionPermit(connections), service: service,
            deadline: .after(
                tls == nil && !isAnnounced
                    ? relay.limits.headTimeout : relay.limits.handshakeTimeout),
            trusted: relay.configuration.trustedProxies)
        if isAnnounced {
            // Whoever may speak to us unannounced could speak as anybody.
            guard connection.isTrusted else {
                relay.metrics.refusedProxyHeaders.add()
                relay.journal.debug("connection refused") {
                    $0.field("CLIENT", connection.peerAddress)
                    $0.field("REASON", "not from a trusted proxy")
                }
                return
            }
            connection.phase = .proxyHeader([])
        }
        relay.parkingLot.park(connection)
    }
}
