// The relay's numbers, as /metrics shows them.
//
// Filled by: acceptors, workers and sessions' owners, one atomic addition a time.

import Program
import Wire

struct RelayMetrics: Sendable {
    let connections: Gauge
    /// The same without those of operators; not shown.
    let clientConnections = Gauge()
    let exchangesInFlight: Gauge
    let upgrades: Gauge
    let sessions: Gauge
    let acceptFailures: Counter
    let failedHandshakes: Counter
    let refusedProxyHeaders: Counter
    /// By the first digit of the status, 1...5.
    let responses: [Counter]
    /// By error word, in the order of `ResetCode`.
    let errors: [Counter]
    private let limits: [RelayLimit: Counter]
    let repeatedRequests: Counter
    let bytesIn: Counter
    let bytesOut: Counter
    let duration: Histogram
    /// 1: yes; 0: no.
    let lastReloadSucceeded: Gauge
    /// Seconds since 1970.
    let lastReloadTime: Gauge
    let all: Metrics

    init(_ journal: Journal) {
        var all = Metrics()
        all.constant(
            "relay_info", "The program that runs.", labels: [("version", Version.number)])
        connections = all.gauge("connections", "Connections of clients and agents now.")
        exchangesInFlight = all.gauge("exchanges_in_flight", "Exchanges in flight now.")
        upgrades = all.gauge("upgrades", "Upgraded connections now.")
        sessions = all.gauge("sessions", "Sessions of agents now.")
        acceptFailures = all.counter(
            "accept_failures_total",
            "Times that no connection could be accepted for lack of resources.")
        failedHandshakes = all.counter("failed_handshakes_total", "TLS handshakes that failed.")
        refusedProxyHeaders = all.counter(
            "refused_proxy_headers_total",
            "Connections without a PROXY header from a trusted proxy, refused.")
        responses = all.counters(
            "responses_total", "Responses to clients, by class of status.", label: "class",
            values: ["1xx", "2xx", "3xx", "4xx", "5xx"])
        errors = all.counters(
            "errors_total", "Answers that the relay made itself, by error.", label: "error",
            values: ResetCode.allCases.map { $0.proxyStatus.description })
        limits = all.counters(
            "limits_reached_total", "Times that a limit was reached, by its key in relay.conf.",
            label: "limit", of: RelayLimit.self)
        repeatedRequests = all.counter(
            "repeated_requests_total", "Requests sent to another agent after one was lost.")
        bytesIn = all.counter("request_body_bytes_total", "Bytes of request bodies taken.")
        bytesOut = all.counter("response_body_bytes_total", "Bytes of response bodies sent.")
        all.counter(
            "journal_lost_lines_total", "Lines of the journal that could not be written.",
            journal.lostLines)
        duration = all.histogram("exchange_duration_seconds", "From request head to end of answer.")
        lastReloadSucceeded = all.gauge(
            "config_last_reload_successful", "Whether the last reload was taken: 1 or 0.")
        lastReloadTime = all.gauge(
            "config_last_reload_success_timestamp_seconds",
            "When the configuration that counts was read.")
        lastReloadSucceeded.set(1)
        lastReloadTime.set(WallClock.secondsSince1970)
        self.all = all
    }

    func reached(_ limit: RelayLimit) { limits[limit]?.add() }
}
