// A connection to an origin that has switched protocols: it carries raw bytes from now on.
//
// Called by: a worker, which gives the connection up; then on the thread `upgrade-NAME`.
// Waits for: what RawTunnel waits for. It may live for days, so it holds no worker; the number of
// such connections has a limit of its own.

import Connections
import Program
import Sessions
import Threads
import Wire

/// All that the thread of an upgraded connection needs, but for the connection.
struct OriginUpgrade: Sendable {
    let worker: OriginWorker
    let job: OriginJob
    let head: RequestHead
    let account: OriginWorker.Account

    /// Gives the connection to a thread of its own.
    func start(on connection: Handover<OriginConnection>) {
        do {
            let doorbell = try Doorbell()
            try Thread.start(name: "upgrade-\(job.mirror.name)") {
                carry(connection.take(), doorbell)
            }
        } catch {
            connection.take().stream.abort()
            let error = OriginError(
                code: .connectionLimitReached,
                reason: "no thread or descriptor for an upgraded connection")
            job.exchange.reset(error.code, error.reason)
            end(0, 0, error)
        }
    }

    private func carry(_ connection: OriginConnection, _ doorbell: Doorbell) {
        worker.metrics.upgrades.add()
        defer { worker.metrics.upgrades.subtract() }
        let input = connection.input
        connection.input = InputBuffer()
        var tunnel = RawTunnel(job.exchange, doorbell, connection.stream, input)
        let error: OriginError? =
            switch tunnel.run(broken: .connectionTerminated) {
            case .complete: nil
            case .cut(let reset): OriginError(code: .cancelled, reason: reset.reason)
            case .broken(let error):
                OriginError(code: .connectionTerminated, reason: error.description)
            case .stopped(let reason): OriginError(code: .cancelled, reason: reason)
            }
        end(tunnel.bytesGiven, tunnel.bytesTaken, error)
    }

    private func end(_ bytesIn: Int, _ bytesOut: Int, _ error: OriginError?) {
        var account = account
        account.bytesIn = bytesIn
        account.bytesOut = bytesOut
        account.error = error
        worker.end(job, head, account)
    }
}
