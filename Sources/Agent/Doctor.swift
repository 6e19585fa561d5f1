// `magicmirror doctor`: tries what serving needs, step by step, and says what to do where a step
// fails.
//
// Called by: the program, instead of AgentProgram; one thread does all of it.
// Waits for: resolver, relays, proxies and origins, each within the connect timeout.
// Hard: it must not disturb an agent that serves. It asks a relay for the upgrade and leaves
// before SETTINGS, without which no relay makes a session of it.

import Connections
import Program
import Streams
import Threads
import Wire

package struct Doctor {
    /// What a mirror is tried with; read from files before the first step.
    private struct Patient {
        let configuration: AgentConfiguration.Mirror
        let mirror: Mirror
        let trust: TLSContext
    }

    private let patients: [Patient]
    private let warnings: [String]
    private let limits: AgentLimits
    private var failures = 0
    private var refusals = 0

    /// Seconds that two clocks may be apart.
    private static let maximumClockDifference = 60

    /// - Throws: where a file that the configuration names cannot be used.
    package init(_ configuration: AgentConfiguration) throws(StartError) {
        limits = configuration.limits
        warnings = configuration.warnings
        var patients: [Patient] = []
        for mirror in configuration.mirrors {
            patients.append(
                Patient(
                    configuration: mirror, mirror: try Mirror(mirror, limits: limits),
                    trust: try mirror.relayContext()))
        }
        self.patients = patients
    }

    /// Tries everything, a line for each step. Blocks that long.
    package consuming func run() -> ExitCode {
        for warning in warnings { StandardOutput.write("note     \(warning)\n") }
        for patient in patients {
            StandardOutput.write("[mirror \(patient.configuration.name)]\n")
            for remote in patient.configuration.remotes { examine(patient, remote) }
            examineOrigin(patient)
        }
        if refusals > 0 { return .refused }
        return failures > 0 ? .failed : .stopped
    }

    // MARK: - Lines

    private func ok(_ step: StaticString, _ text: String) {
        StandardOutput.write("ok       \(step): \(text)\n")
    }

    private mutating func failed(_ step: StaticString, _ text: String, _ advice: String) {
        failures += 1
        StandardOutput.write("failed   \(step): \(text) (\(advice))\n")
    }

    // MARK: - The relay

    private mutating func examine(_ patient: Patient, _ remote: AgentConfiguration.Remote) {
        let next = remote.proxy?.address ?? remote.url.address
        guard resolve(next.host) else { return }
        let dialer = RelayDialer(
            remote: remote, name: patient.configuration.name, key: patient.configuration.key,
            tls: remote.url.isSecure ? patient.trust : nil, timeout: limits.connectTimeout)
        var steps: [DialStep] = []
        do throws(DialError) {
            let (stream, _, version) = try dialer.dial(&steps)
            leave(stream)
            tell(steps, of: remote)
            ok("key", "\(remote.url) takes it for '\(dialer.name)'")
            ok(
                "upgrade",
                version == .v2
                    ? WebSocketUpgrade.subprotocol : "version 1 of the protocol, and no other")
        } catch {
            tell(steps, of: remote)
            switch error {
            case .refused(let status):
                refusals += 1
                failed(
                    "key", "\(remote.url) refuses it (\(status))",
                    status == 401
                        ? "no agent's key, revoked or expired: 'magicmirrorctl key list' shows it,"
                            + " 'magicmirrorctl key add --role agent' makes a new one"
                        : "it is not for the name '\(dialer.name)': --name, or a key for it")
            case .failed(let reason): fail(at: steps.last, remote, reason)
            }
        }
        compareClocks(steps, remote)
    }

    private mutating func resolve(_ host: String) -> Bool {
        do {
            let addresses = try Resolver.system.addresses(
                of: host, port: 0, until: .after(limits.connectTimeout))
            ok("dns", "\(host): " + addresses.map(\.host).joined(separator: ", "))
            return true
        } catch {
            failed("dns", error.description, "is the name right, and /etc/resolv.conf?")
            return false
        }
    }

    private func tell(_ steps: [DialStep], of remote: AgentConfiguration.Remote) {
        for step in steps {
            switch step {
            case .reached(let address): ok("tcp", address)
            case .tunnelled: ok("proxy", "leads to \(remote.url.address)")
            case .secured: ok("tls", "the certificate is for \(remote.url.address.host)")
            case .answered: break
            }
        }
    }

    /// The step behind the last one that held is the one that failed.
    private mutating func fail(
        at last: DialStep?, _ remote: AgentConfiguration.Remote, _ reason: String
    ) {
        switch last {
        case nil:
            failed(
                "tcp", reason,
                "is the port right, and may this machine connect to it? where all must go through"
                    + " an HTTP proxy: --proxy")
        case .reached where remote.proxy != nil:
            failed("proxy", reason, "ask who runs the proxy to let CONNECT through to the relay")
        case .reached where remote.url.isSecure, .tunnelled where remote.url.isSecure:
            failed(
                "tls", reason,
                "a certificate of your own needs --ca-file; its name must be that of --remote; and"
                    + " this machine must know the time, it is \(clock) here")
        default:
            failed(
                "upgrade", reason,
                "does the path of --remote lead to the relay, and do all proxies before it let"
                    + " WebSockets through?")
        }
    }

    /// Ends the connection before it becomes a session.
    private func leave(_ stream: ByteStream) {
        var payload: [UInt8] = []
        ClosePayload(code: 1000, reason: "magicmirror doctor").append(to: &payload)
        var writer = WebSocketWriter(masks: true)
        writer.append(.close, payload)
        // The relay notices in any case that the connection ends.
        try? writer.flush(to: stream)
        try? stream.send(until: .after(limits.connectTimeout))
        stream.end()
    }

    // MARK: - The clock

    private var clock: String { WallClock.text(secondsSince1970: WallClock.secondsSince1970) }

    private mutating func compareClocks(
        _ steps: [DialStep], _ remote: AgentConfiguration.Remote
    ) {
        guard case .answered(let date) = steps.last else { return }
        guard let date, let theirs = WallClock.secondsSince1970(httpDate: date) else {
            return ok("clock", "\(clock) (the relay tells no time to compare it with)")
        }
        let difference = abs(WallClock.secondsSince1970 - theirs)
        if difference <= Self.maximumClockDifference {
            ok("clock", "\(difference) s from the relay's")
        } else {
            failed(
                "clock", "\(clock) here, \(WallClock.text(secondsSince1970: theirs)) at the relay",
                "set it, or let systemd-timesyncd or chrony do so: certificates and keys have dates"
            )
        }
    }

    // MARK: - The origin

    private mutating func examineOrigin(_ patient: Patient) {
        let local = patient.configuration.local
        let probe = OriginProbe(
            mirror: patient.mirror, publicHost: patient.configuration.remotes[0].url.hostField,
            timeout: min(limits.responseTimeout, limits.connectTimeout))
        do throws(OriginError) {
            let status = try probe.ask()
            if let problem = try probe.problem(with: status, local) {
                failed("origin", "\(local): \(problem.what)", problem.advice)
            } else {
                ok("origin", "\(local): answers \(status)")
            }
        } catch {
            failed("origin", error.reason, Self.advice(for: error.code))
        }
    }

    private static func advice(for code: ResetCode) -> String {
        switch code {
        case .connectionRefused: "does the service run, and is --local where it listens?"
        case .dnsError: "is the name in --local right?"
        case .tlsCertificateError:
            "its authority goes into --local-ca-file; where it asks for a certificate:"
                + " --local-certificate and --local-private-key"
        case .httpProtocolError: "is this an HTTP service, and not https or another one?"
        case .connectionTimeout, .destinationIPUnroutable:
            "may this machine connect to it? is --local right?"
        default: "what does its own log say? is it https?"
        }
    }
}
