// Every limit of the relay, with its default, its bounds and its key in relay.conf(5).
//
// Called by: RelayConfiguration. The rest of the relay reads the values.

import Program
import Wire

/// The limits that can be reached, by their keys: /metrics counts how often each was.
///
/// `heartbeat-interval`, `minimum-rate-after` and `drain-delay` are none, but a pace, the window of
/// a rate and a courtesy to load balancers; after `drain-timeout` nobody is left to count it, so that
/// is in the log.
enum RelayLimit: String, CaseIterable {
    case headBytes = "maximum-head-bytes"
    case fields = "maximum-fields"
    case targetBytes = "maximum-target-bytes"
    case legacyBodyBytes = "maximum-v1-body-bytes"
    case handshakeTimeout = "handshake-timeout"
    case headTimeout = "head-timeout"
    case idleTimeout = "idle-timeout"
    case minimumRate = "minimum-rate"
    case responseTimeout = "response-timeout"
    case exchanges = "maximum-exchanges"
    case exchangesPerAddress = "maximum-exchanges-per-address"
    case wrongKeys = "maximum-wrong-keys"
    case connections = "maximum-connections"
    case mirrors = "maximum-mirrors"
    case sessions = "maximum-sessions"
    case upgrades = "maximum-upgrades"
    case heartbeatTimeout = "heartbeat-timeout"
    case workers = "workers"
}

/// How much, how many and how long. What comes from the network meets one of these first.
package struct RelayLimits: Sendable, Equatable {
    package var maximumHeadBytes = 32 * 1024
    package var maximumFields = 128
    package var maximumTargetBytes = 16 * 1024
    /// Bodies of a v1 session, which are held whole. Streamed bodies have no limit.
    package var maximumLegacyBodyBytes = 16 * 1024 * 1024
    package var handshakeTimeout = Duration.seconds(10)
    /// From the first byte of a request head to its last.
    package var headTimeout = Duration.seconds(10)
    /// How long a client connection may stay without a request.
    package var idleTimeout = Duration.seconds(75)
    /// The least that a body may bring or take per second, once it has had its time to start.
    package var minimumBytesPerSecond = 500
    package var minimumRateAfter = Duration.seconds(20)
    /// From the end of the request to the head of the answer.
    package var responseTimeout = Duration.seconds(120)
    /// In flight, for each mirror.
    package var maximumExchanges = 128
    /// In flight, for each client address: what one mirror can have, and some for others that share
    /// the address.
    package var maximumExchangesPerAddress = 160
    /// That one address may show in a minute.
    package var maximumWrongKeys = 60
    package var maximumConnections = 16_384
    /// More than that cannot be set.
    static let mostConnections = 1_000_000
    /// That the agents of one user may bring, besides those of the configuration.
    package var maximumMirrors = 1024
    /// Of the agents of one user; each has a thread.
    package var maximumSessions = 1024
    /// Connections passed through after an upgrade; each has a thread.
    package var maximumUpgrades = 1024
    package var heartbeatInterval = Duration.seconds(15)
    package var heartbeatTimeout = Duration.seconds(10)
    package var workers = 256
    /// How long all goes on after SIGTERM, but that load balancers are told to ask elsewhere.
    package var drainDelay = Duration.seconds(0)
    /// How long exchanges may run on after that.
    package var drainTimeout = Duration.seconds(30)

    package init() {}

    /// The limits of a request head, as its parser takes them.
    package var head: HeadLimits {
        var limits = HeadLimits()
        limits.maximumHeadBytes = maximumHeadBytes
        limits.maximumFields = maximumFields
        limits.maximumTargetBytes = maximumTargetBytes
        return limits
    }

    static let settings: [Setting] = [
        Setting("maximum-head-bytes", "SIZE", "largest request head (32KiB)", in: .key),
        Setting("maximum-fields", "NUMBER", "most fields of a head (128)", in: .key),
        Setting("maximum-target-bytes", "SIZE", "longest request target (16KiB)", in: .key),
        Setting("maximum-v1-body-bytes", "SIZE", "largest body to a v1 agent (16MiB)", in: .key),
        Setting("handshake-timeout", "TIME", "for a TLS handshake (10s)", in: .key),
        Setting("head-timeout", "TIME", "for a whole request head (10s)", in: .key),
        Setting("idle-timeout", "TIME", "for a connection without a request (75s)", in: .key),
        Setting("minimum-rate", "SIZE", "of a body, in a second (500)", in: .key),
        Setting("minimum-rate-after", "TIME", "before the rate counts (20s)", in: .key),
        Setting("response-timeout", "TIME", "for the head of an answer (120s)", in: .key),
        Setting("maximum-exchanges", "NUMBER", "in flight for one mirror (128)", in: .key),
        Setting(
            "maximum-exchanges-per-address", "NUMBER", "in flight for one address (160)", in: .key),
        Setting("maximum-wrong-keys", "NUMBER", "of one address in a minute (60)", in: .key),
        Setting("maximum-connections", "NUMBER", "of clients (16384)", in: .key),
        Setting("maximum-mirrors", "NUMBER", "of one user (1024)", in: .key),
        Setting("maximum-sessions", "NUMBER", "agents of one user (1024)", in: .key),
        Setting("maximum-upgrades", "NUMBER", "upgraded connections (1024)", in: .key),
        Setting("heartbeat-interval", "TIME", "between pings to an agent (15s)", in: .key),
        Setting("heartbeat-timeout", "TIME", "for the answer to a ping (10s)", in: .key),
        Setting("workers", "NUMBER", "threads that serve requests (256)", in: .key),
        Setting("drain-delay", "TIME", "to serve on after SIGTERM (0s)", in: .key),
        Setting("drain-timeout", "TIME", "to finish after SIGTERM (30s)", in: .key),
    ]

    /// The defaults, but for what `values` sets.
    init(_ values: SettingValues) throws(StartError) {
        let (second, hour) = (Duration.seconds(1), Duration.seconds(3600))
        let moment = Duration.milliseconds(1)...hour
        // With the fields that we add, a head must fit one message of 64 KiB to the agent.
        maximumHeadBytes = try values.byteCount(
            "maximum-head-bytes", default: maximumHeadBytes, 1024...56 * 1024)
        maximumFields = try values.integer("maximum-fields", default: maximumFields, 16...4096)
        maximumTargetBytes = try values.byteCount(
            "maximum-target-bytes", default: min(maximumTargetBytes, maximumHeadBytes),
            256...maximumHeadBytes)
        maximumLegacyBodyBytes = try values.byteCount(
            "maximum-v1-body-bytes", default: maximumLegacyBodyBytes, 1024...1024 * 1024 * 1024)
        handshakeTimeout = try values.duration(
            "handshake-timeout", default: handshakeTimeout, moment)
        headTimeout = try values.duration("head-timeout", default: headTimeout, moment)
        idleTimeout = try values.duration("idle-timeout", default: idleTimeout, moment)
        minimumBytesPerSecond = try values.byteCount(
            "minimum-rate", default: minimumBytesPerSecond, 0...1024 * 1024)
        minimumRateAfter = try values.duration(
            "minimum-rate-after", default: minimumRateAfter, moment)
        responseTimeout = try values.duration(
            "response-timeout", default: responseTimeout, Duration.milliseconds(1)...hour * 24)
        maximumExchanges = try values.integer(
            "maximum-exchanges", default: maximumExchanges, 1...65_536)
        maximumExchangesPerAddress = try values.integer(
            "maximum-exchanges-per-address", default: maximumExchangesPerAddress, 0...1_000_000)
        maximumWrongKeys = try values.integer(
            "maximum-wrong-keys", default: maximumWrongKeys, 0...1_000_000)
        maximumConnections = try values.integer(
            "maximum-connections", default: maximumConnections, 1...RelayLimits.mostConnections)
        maximumMirrors = try values.integer(
            "maximum-mirrors", default: maximumMirrors, 1...65_536)
        maximumSessions = try values.integer(
            "maximum-sessions", default: maximumSessions, 1...1_000_000)
        maximumUpgrades = try values.integer(
            "maximum-upgrades", default: maximumUpgrades, 0...65_536)
        heartbeatInterval = try values.duration(
            "heartbeat-interval", default: heartbeatInterval, second...hour)
        heartbeatTimeout = try values.duration(
            "heartbeat-timeout", default: heartbeatTimeout, second...hour)
        workers = try values.integer("workers", default: workers, 1...16_384)
        drainDelay = try values.duration("drain-delay", default: drainDelay, .zero...hour)
        drainTimeout = try values.duration("drain-timeout", default: drainTimeout, .zero...hour)
    }
}
