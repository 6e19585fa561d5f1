// Step 7, where the answer is 101: a connection that carries raw bytes from now on.
//
// Called by: a worker, which gives the connection up; then on the thread `upgrade-NAME`.
// Waits for: what RawTunnel waits for. An upgraded connection may live for days, so it holds no
// worker and no place in its mirror; their number has a limit of its own.

import Connections
import Program
import Sessions
import Streams
import Threads
import Wire

/// All that the thread of an upgraded connection needs, but for the connection.
struct ClientUpgrade: Sendable {
    let relay: Relay
    let request: MirrorRequest
    let exchange: Exchange
    let asked: Asked

    /// Gives the connection to a thread of its own.
    func start(on connection: sending ClientConnection) {
        let handover = Handover(connection)
        do {
            let doorbell = try Doorbell()
            try Thread.start(name: "upgrade-\(request.mirror.id.name)") {
                carry(handover.take(), doorbell)
            }
        } catch {
            let connection = handover.take()
            connection.stream.abort()
            exchange.reset(.connectionLimitReached, "the relay has no thread for it")
            end(
                connection, bytesIn: 0, bytesOut: 0,
                error: ResetCode.connectionLimitReached.proxyStatus,
                reason: "no thread or descriptor for an upgraded connection")
        }
    }

    private func carry(_ connection: ClientConnection, _ doorbell: Doorbell) {
        relay.metrics.upgrades.add()
        defer { relay.metrics.upgrades.subtract() }
        let input = connection.input
        connection.input = InputBuffer()
        var tunnel = RawTunnel(exchange, doorbell, connection.stream, input) {
            keyIsGood ? nil : "the client's key was revoked"
        }
        let result = tunnel.run(broken: .cancelled)
        let (error, reason): (StaticString?, String?) =
            switch result {
            case .complete: (nil, nil)
            case .cut(let reset): (Answer(reset).error.proxyStatus, reset.reason)
            case .broken(let error): ("client_gone", error.description)
            case .stopped(let reason): (Answer.noKey.error.proxyStatus, reason)
            }
        end(
            connection, bytesIn: tunnel.bytesTaken, bytesOut: tunnel.bytesGiven, error: error,
            reason: reason)
    }

    private var keyIsGood: Bool {
        guard let identity = request.credential?.identity else { return true }
        return relay.keys.isValid(identity)
    }

    private func end(
        _ connection: ClientConnection, bytesIn: Int, bytesOut: Int, error: StaticString?,
        reason: String?
    ) {
        var asked = asked
        asked.bytesIn = bytesIn
        relay.log(asked, connection, status: 101, bytesOut: bytesOut, error: error, reason: reason)
        relay.exchangeEnds(on: connection)
        relay.metrics.exchangesInFlight.subtract()
    }
}
