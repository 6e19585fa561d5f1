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
        let connection = ClientConnection(
            stream, permit: ConnectionPermit(connections), service: service,
            deadline: .after(
                tls == nil ? relay.limits.headTimeout : relay.limits.handshakeTimeout))
        relay.parkingLot.park(connection)
    }
}
