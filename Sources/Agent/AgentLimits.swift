// Every limit of the agent, with its default, its bounds and its key in agent.conf(5).
//
// Called by: AgentConfiguration. The rest of the agent reads the values.

import Program
import Wire

/// The limits that can be reached, by their keys: /metrics counts how often each was.
///
/// The paces of heartbeats and of coming back are none. A body too large for protocol v1 shows in
/// the log, as `drain-timeout` does: after that nobody is left to count.
enum AgentLimit: String, CaseIterable {
    case headBytes = "maximum-head-bytes"
    case fields = "maximum-fields"
    case workers = "workers"
    case upgrades = "maximum-upgrades"
    case connectTimeout = "connect-timeout"
    case responseTimeout = "response-timeout"
    case idleTimeout = "idle-timeout"
    case heartbeatTimeout = "heartbeat-timeout"
}

/// How much, how many and how long.
package struct AgentLimits: Sendable, Equatable {
    /// Threads that ask the origins, and so the exchanges in flight at once, for each mirror.
    package var workers = 128
    /// Of the heads of origins' answers.
    package var maximumHeadBytes = 32 * 1024
    package var maximumFields = 128
    /// Bodies of a session of protocol v1, which are held whole. Streamed bodies have no limit.
    package var maximumLegacyBodyBytes = 64 * 1024 * 1024
    /// Connections to origins after an upgrade, of all mirrors; each has a thread.
    package var maximumUpgrades = 1024
    /// For a connection to a relay or an origin, TLS and proxy included.
    package var connectTimeout = Duration.seconds(10)
    /// From the end of a request to the head of the origin's answer.
    package var responseTimeout = Duration.seconds(120)
    /// How long a connection to the origin is kept without a request.
    package var idleTimeout = Duration.seconds(60)
    package var heartbeatInterval = Duration.seconds(15)
    package var heartbeatTimeout = Duration.seconds(10)
    /// Before the first attempt to connect again. It doubles with each failure, with full jitter.
    package var reconnectDelay = Duration.milliseconds(500)
    package var maximumReconnectDelay = Duration.seconds(30)
    /// How long exchanges may run on after SIGTERM.
    package var drainTimeout = Duration.seconds(30)

    package init() {}

    /// The limits of the head of an answer, as its parser takes them.
    var head: HeadLimits {
        HeadLimits(maximumHeadBytes: maximumHeadBytes, maximumFields: maximumFields)
    }

    static let settings: [Setting] = [
        Setting("workers", "NUMBER", "exchanges at once, for each mirror (128)", in: .key),
        Setting("maximum-head-bytes", "SIZE", "largest head of an answer (32KiB)", in: .key),
        Setting("maximum-fields", "NUMBER", "most fields of a head (128)", in: .key),
        Setting("maximum-v1-body-bytes", "SIZE", "largest body with a v1 relay (64MiB)", in: .key),
        Setting("maximum-upgrades", "NUMBER", "upgraded connections (1024)", in: .key),
        Setting("connect-timeout", "TIME", "to connect to relay or origin (10s)", in: .key),
        Setting("response-timeout", "TIME", "for the head of an answer (120s)", in: .key),
        Setting("idle-timeout", "TIME", "for a connection to the origin (60s)", in: .key),
        Setting("heartbeat-interval", "TIME", "between pings to the relay (15s)", in: .key),
        Setting("heartbeat-timeout", "TIME", "for the answer to a ping (10s)", in: .key),
        Setting("reconnect-delay", "TIME", "before connecting again (500ms)", in: .key),
        Setting("maximum-reconnect-delay", "TIME", "after many failures (30s)", in: .key),
        Setting("drain-timeout", "TIME", "to finish after SIGTERM (30s)", in: .key),
    ]

    /// The defaults, but for what `values` sets.
    init(_ values: SettingValues) throws(StartError) {
        let (second, hour) = (Duration.seconds(1), Duration.seconds(3600))
        let moment = Duration.milliseconds(1)...hour
        workers = try values.integer("workers", default: workers, 1...16_384)
        // The head must fit one message of 64 KiB to the relay.
        maximumHeadBytes = try values.byteCount(
            "maximum-head-bytes", default: maximumHeadBytes, 1024...56 * 1024)
        maximumFields = try values.integer("maximum-fields", default: maximumFields, 16...4096)
        maximumLegacyBodyBytes = try values.byteCount(
            "maximum-v1-body-bytes", default: maximumLegacyBodyBytes, 1024...1024 * 1024 * 1024)
        maximumUpgrades = try values.integer(
            "maximum-upgrades", default: maximumUpgrades, 0...65_536)
        connectTimeout = try values.duration("connect-timeout", default: connectTimeout, moment)
        responseTimeout = try values.duration(
            "response-timeout", default: responseTimeout, Duration.milliseconds(1)...hour * 24)
        idleTimeout = try values.duration("idle-timeout", default: idleTimeout, .zero...hour)
        heartbeatInterval = try values.duration(
            "heartbeat-interval", default: heartbeatInterval, second...hour)
        heartbeatTimeout = try values.duration(
            "heartbeat-timeout", default: heartbeatTimeout, second...hour)
        reconnectDelay = try values.duration("reconnect-delay", default: reconnectDelay, moment)
        maximumReconnectDelay = try values.duration(
            "maximum-reconnect-delay", default: max(maximumReconnectDelay, reconnectDelay),
            reconnectDelay...hour)
        drainTimeout = try values.duration("drain-timeout", default: drainTimeout, .zero...hour)
    }
}
