// What a daemon tells the service manager that has started it (sd_notify(3)).
//
// Called by: the main thread (ready, stopping), whoever reloads, `housekeeping` (status, alive).
// Waits for: the service manager to take what it must not miss, a second at most. Status and alive
// come again, and are dropped where it takes nothing.
// Hard: a notice of another state would undo a state: who reloads while the program starts or stops
// says nothing of it.

import Glibc
import Streams
import Threads

/// The socket named by NOTIFY_SOCKET; without one, all of this does nothing. Thread-safe: what
/// changes is in one monitor, and sent after it.
package final class NotifySocket: Sendable {
    private struct State: Sendable {
        /// READY was said, and STOPPING was not.
        var isServing = false
        var status = ""
    }

    private let socket: NoticeSocket?
    private let address: SocketAddress?
    private let state = Monitor(State())
    /// How long the service manager goes without a sign of life before it acts.
    let watchdogTimeout: Duration?

    private static let timeout = Duration.seconds(1)

    package init(_ environment: Environment = .process) {
        address = environment["NOTIFY_SOCKET"].flatMap { name in
            guard name.hasPrefix("/") || name.hasPrefix("@") else { return nil }
            return try? SocketAddress.unix(pathOrName: name)
        }
        socket = address == nil ? nil : try? NoticeSocket(timeout: NotifySocket.timeout)
        // Meant for another process, if there is another number (sd_watchdog_enabled(3)).
        let isOurs = environment["WATCHDOG_PID"].map { Int32($0) == getpid() } ?? true
        watchdogTimeout = environment["WATCHDOG_USEC"].flatMap { Int($0) }.flatMap { microseconds in
            isOurs && microseconds > 0 ? .microseconds(microseconds) : nil
        }
    }

    /// The program serves.
    ///
    /// - Returns: what kept the service manager from hearing it.
    package func ready() -> StreamError? {
        state.withLock { $0.isServing = true }
        return send("READY=1", waits: true)
    }

    /// A reload begins.
    package func reloading() {
        guard state.withLock({ $0.isServing }) else { return }
        let microseconds = Deadline.now.nanoseconds / 1000
        _ = send("RELOADING=1\nMONOTONIC_USEC=\(microseconds)", waits: true)
    }

    /// A reload has come to its end, whatever that is.
    package func reloaded() {
        guard state.withLock({ $0.isServing }) else { return }
        _ = send("READY=1", waits: true)
    }

    /// The program stops, and may need `timeout` for it.
    package func stopping(within timeout: Duration) {
        state.withLock { $0.isServing = false }
        let microseconds = timeout.nanoseconds / 1000
        _ = send("STOPPING=1\nEXTEND_TIMEOUT_USEC=\(microseconds)", waits: true)
    }

    /// One line for people, of constant words and numbers. Sent where it says something new.
    package func status(_ text: @autoclosure () -> String) {
        guard socket != nil else { return }
        let text = text()
        if state.withLock({ $0.status }) == text { return }
        if send("STATUS=\(text)", waits: false) == nil { state.withLock { $0.status = text } }
    }

    /// A sign of life.
    func alive() { _ = send("WATCHDOG=1", waits: false) }

    private func send(_ text: String, waits: Bool) -> StreamError? {
        guard let socket, let address else { return nil }
        do throws(StreamError) {
            try socket.send(Array(text.utf8), to: address, waits: waits)
            return nil
        } catch {
            return error
        }
    }
}
