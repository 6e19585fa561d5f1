// Step 1 of a request's route: takes connections from one listener.
//
// Called by: Relay starts one for each listener, on a thread `accept-N`.
// Waits for: a new connection, or the relay's end; where descriptors have run out, a second for
// some to come back.
// Hard: a client that speaks slowly must cost no thread, so a fresh connection is parked at once.

import Program
import Streams
import Threads

/// Counts one connection for as long as it lives. Thread-safe: the gauges are atomic.
final class ConnectionPermit: Sendable {
    private let gauges: [Gauge]

    init(_ gauges: [Gauge]) {
        self.gauges = gauges
        for gauge in gauges { gauge.add() }
    }

    deinit { for gauge in gauges { gauge.subtract() } }
}

struct Acceptor: Sendable {
    let listener: Listener
    let service: Service
    let relay: Relay

    /// Which requests a listener serves.
    enum Service: Sendable { case mirrors, administration, control }

    /// Connections that an operator may have when clients have taken all of theirs.
    static let operatorsReserve = 16

    /// Accepts until the relay refuses connections. One that drains still answers: with 503.
    ///
    /// Operators may look on until the program ends.
    func run() {
        let isForAll = service == .mirrors
        var snapshot = relay.snapshot
        while true {
            do throws(StreamError) {
                let isRefusing = isForAll && relay.isRefusing
                // What comes from here on is for the next program that gets this socket.
                if isRefusing, listener.isPassed { break }
                guard
                    let socket = try listener.accept(
                        until: .after(seconds: 60), doorbell: isForAll ? relay.refusingBell : nil)
                else {
                    if isRefusing { break }
                    continue
                }
                if !relay.isCurrent(snapshot) { snapshot = relay.snapshot }
                accept(socket, snapshot)
            } catch {
                relay.metrics.acceptFailures.add()
                relay.journal.error("cannot accept connections, out of descriptors or memory") {
                    $0.field("REASON", error.description)
                }
                relay.pause(until: .after(seconds: 1))
            }
        }
        listener.refuse()
        relay.acceptorEnded()
    }

    private func accept(_ socket: consuming Socket, _ snapshot: ConfigurationSnapshot) {
        let limits = snapshot.limits
        let connections = relay.metrics.connections
        let reserve = service == .mirrors ? 0 : Acceptor.operatorsReserve
        if connections.current >= limits.maximumConnections + reserve {
            // Dropped: an answer would cost what the limit is there to save.
            relay.metrics.reached(.connections)
            return
        }
        let stream: ByteStream
        if service == .mirrors, let tls = snapshot.tls {
            stream = ByteStream(socket, tls)
        } else {
            stream = ByteStream(socket)
        }
        let isAnnounced = service == .mirrors && snapshot.configuration.expectsProxyHeader
        let gauges = service == .mirrors ? [relay.metrics.clientConnections] : []
        let connection = ClientConnection(
            stream, permit: ConnectionPermit([connections] + gauges), service: service,
            deadline: .after(
                stream.isEncrypted || isAnnounced ? limits.handshakeTimeout : limits.headTimeout),
            snapshot: snapshot)
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
