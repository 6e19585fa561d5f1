// The agent's numbers, as /metrics shows them.
//
// Filled by: the workers that ask the origins, the threads of the sessions; one atomic addition a
// time.

import Program
import Wire

struct AgentMetrics: Sendable {
    let sessions: Gauge
    let reconnects: Counter
    let failedConnects: Counter
    let exchangesInFlight: Gauge
    let upgrades: Gauge
    /// By the first digit of the status, 1...5.
    private let responses: [Counter]
    /// By error word, in the order of `ResetCode`.
    private let errors: [Counter]
    private let limits: [AgentLimit: Counter]
    let bytesIn: Counter
    let bytesOut: Counter
    let originConnections: Counter
    let originReuses: Counter
    /// 1: yes; 0: no.
    let lastReloadSucceeded: Gauge
    /// Seconds since 1970.
    let lastReloadTime: Gauge
    let all: Metrics

    init(_ journal: Journal) {
        var all = Metrics()
        all.constant(
            "agent_info", "The program that runs.", labels: [("version", Version.number)])
        sessions = all.gauge("agent_sessions", "Sessions with relays now.")
        reconnects = all.counter(
            "agent_reconnects_total", "Sessions that took the place of a lost one.")
        failedConnects = all.counter(
            "agent_failed_connects_total", "Attempts to connect to a relay that failed.")
        exchangesInFlight = all.gauge("agent_exchanges_in_flight", "Exchanges in flight now.")
        upgrades = all.gauge("agent_upgrades", "Upgraded connections now.")
        responses = all.counters(
            "agent_responses_total", "Responses of origins, by class of status.", label: "class",
            values: ["1xx", "2xx", "3xx", "4xx", "5xx"])
        errors = all.counters(
            "agent_errors_total", "Exchanges that failed, by error.", label: "error",
            values: ResetCode.allCases.map { $0.proxyStatus.description })
        limits = all.counters(
            "agent_limits_reached_total",
            "Times that a limit was reached, by its key in agent.conf.",
            label: "limit", of: AgentLimit.self)
        bytesIn = all.counter(
            "agent_request_body_bytes_total", "Bytes of request bodies sent to origins.")
        bytesOut = all.counter(
            "agent_response_body_bytes_total", "Bytes of response bodies taken from origins.")
        originConnections = all.counter(
            "agent_origin_connections_total", "Connections to origins that were opened.")
        originReuses = all.counter(
            "agent_origin_reuses_total", "Requests sent on a connection that was open already.")
        lastReloadSucceeded = all.gauge(
            "agent_config_last_reload_successful", "Whether the last reload was taken: 1 or 0.")
        lastReloadTime = all.gauge(
            "agent_config_last_reload_success_timestamp_seconds",
            "When the configuration that counts was read.")
        lastReloadSucceeded.set(1)
        lastReloadTime.set(WallClock.secondsSince1970)
        all.counter(
            "agent_journal_lost_lines_total", "Lines of the journal that could not be written.",
            journal.lostLines)
        self.all = all
    }

    func count(status: Int) { responses[min(max(status / 100, 1), 5) - 1].add() }

    func count(_ error: ResetCode) { errors[Int(error.rawValue)].add() }

    func reached(_ limit: AgentLimit, _ times: Int = 1) { limits[limit]?.add(times) }
}
