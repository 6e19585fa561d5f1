// What the relay serves by, from one reading of its configuration to the next.
//
// Made by: Relay, at the start and by each reload. A reload puts a new one in the place of the old
// one; whoever has begun by the old one ends by it.
// Waits for: the disk, in `init`.

import Program
import Streams
import Wire

/// A configuration and what follows from it. Thread-safe: nothing of it ever changes.
final class ConfigurationSnapshot: Sendable {
    let configuration: RelayConfiguration
    let limits: RelayLimits
    let headLimits: HeadLimits
    let agentPath: [UInt8]
    /// Mirrors by host name, in lower case.
    let hosts: [String: MirrorID]
    /// The mirrors with a section of their own.
    let configuredMirrors: Set<MirrorID>
    /// Those whose clients need no key.
    let publicMirrors: Set<MirrorID>
    /// Nil: no TLS.
    let tls: TLSContext?
    /// 1 for the first one.
    let number: Int

    /// Reads certificate and private key.
    init(_ configuration: RelayConfiguration, number: Int) throws(StartError) {
        self.configuration = configuration
        self.number = number
        limits = configuration.limits
        headLimits = configuration.limits.head
        agentPath = Array(configuration.agentPath.utf8)
        var hosts: [String: MirrorID] = [:]
        for mirror in configuration.mirrors {
            for host in mirror.hosts { hosts[host] = MirrorID(mirror) }
        }
        self.hosts = hosts
        configuredMirrors = Set(configuration.mirrors.map(MirrorID.init))
        publicMirrors = Set(
            configuration.mirrors.filter { $0.access == .anybody }.map(MirrorID.init))
        tls = try ConfigurationSnapshot.tls(configuration)
    }

    private static func tls(_ configuration: RelayConfiguration) throws(StartError) -> TLSContext? {
        guard let certificate = configuration.certificate else { return nil }
        do throws(TLSConfigurationError) {
            return try TLSContext(
                certificate: certificate.chainFile, privateKey: certificate.privateKeyFile)
        } catch {
            throw configuration.written.unusable(
                error.subject == .privateKey ? "private-key" : "certificate", error.message)
        }
    }
}

extension MirrorID {
    fileprivate init(_ mirror: RelayConfiguration.Mirror) {
        self.init(user: mirror.user, name: mirror.name)
    }
}
