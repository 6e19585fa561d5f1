// What relay.conf(5) says, checked and as values.
//
// Called by: RelayCommandLine, at the start and for each reload. Then a constant that every thread
// may read.

import Program
import Wire

/// Everything that the operator of a relay can set.
package struct RelayConfiguration: Sendable {
    /// Where clients and agents connect.
    package enum Listening: Sendable, Equatable {
        case address(SocketAddressText)
        /// The sockets that systemd passes (sd_listen_fds(3)).
        case systemd
    }

    /// Files in PEM: the chain, and the key of its first certificate.
    package struct Certificate: Sendable, Equatable {
        package let chainFile: String
        package let privateKeyFile: String

        package init(chainFile: String, privateKeyFile: String) {
            self.chainFile = chainFile
            self.privateKeyFile = privateKeyFile
        }
    }

    /// What a `[mirror USER/NAME]` section says.
    package struct Mirror: Sendable, Equatable {
        package enum Access: Sendable {
            /// A client shows a key.
            case key
            /// Anybody may ask.
            case anybody
        }

        package let user: MirrorName
        package let name: MirrorName
        package var access = Access.key
        /// Lower case.
        package var hosts: [String] = []
    }

    package static let defaultKeysFile = "/var/lib/magicmirrord/keys"

    package var listening: [Listening]
    /// Nil: no TLS.
    package var certificate: Certificate?
    package var trustedProxies = TrustedProxies()
    /// Each connection begins with a PROXY header.
    package var expectsProxyHeader = false
    /// Lower case. Nil: no addressing by host but for the mirrors' own.
    package var domain: String?
    package var adminListening: SocketAddressText?
    package var controlSocket: String?
    package var keysFile = defaultKeysFile
    package var agentPath = "/mirror"
    package var mirrors: [Mirror] = []
    package var limits = RelayLimits()
    package var logLevel = Journal.Level.info
    /// Log lines have the query with the path.
    package var logsQueries = false
    /// What the operator should know though nothing is wrong, one line each.
    package var warnings: [String] = []
    /// As it was written, to say where something stands that only shows when it is used.
    package var written = SettingValues()

    /// One listener, everything else as it is by default.
    package init(listening: [Listening], certificate: Certificate?, keysFile: String) {
        self.listening = listening
        self.certificate = certificate
        self.keysFile = keysFile
    }

    static let settings: [Setting] =
        [
            Setting(
                "listen", "ADDR:PORT", "where clients and agents connect", in: .key,
                repeatable: true),
            Setting("certificate", "FILE", "certificate chain in PEM", in: .key),
            Setting("private-key", "FILE", "its private key in PEM", in: .key),
            Setting("plaintext", nil, "no TLS, behind a proxy that has it", in: .key),
            Setting(
                "trusted-proxies", "ADDRESSES", "whose X-Forwarded fields are believed", in: .key,
                repeatable: true),
            Setting(
                "proxy-protocol", nil, "connections begin with a PROXY header of theirs", in: .key),
            Setting("domain", "NAME", "enables NAME--USER.DOMAIN", in: .key),
            Setting("admin-listen", "ADDR:PORT", "metrics and status, loopback only", in: .key),
            Setting("control-socket", "PATH", "for magicmirrorctl(8)", in: .key),
            Setting("keys", "FILE", "the keys of agents and clients", in: .key),
            Setting("log-query", nil, "log the query, too, which may hold secrets", in: .key),
            Setting("agent-path", "PATH", "where agents connect (/mirror)", in: .key),
            Setting("access", "key|public", "who may ask (key)", in: .sectionKey),
            Setting("hosts", "NAMES", "more host names", in: .sectionKey, repeatable: true),
        ] + RelayLimits.settings

    /// The configuration in a file.
    init(_ file: ConfigurationFile, logLevel: Journal.Level) throws(StartError) {
        let values = file.values
        written = values
        listening = []
        for value in values.all("listen") {
            let new = try Self.listening(value)
            if new == .systemd && listening.contains(.systemd) {
                throw value.error("'systemd' stands twice (it takes all sockets at once)")
            }
            listening.append(new)
        }
        guard !listening.isEmpty else {
            throw .configuration(
                place: file.path, message: "key 'listen' is missing (such as: listen = [::]:443)")
        }
        certificate = try Self.certificate(values, file)
        for value in try values.list("trusted-proxies") {
            if value.text == ClientOrigin.unixPeer {
                trustedProxies.includesUnix = true
            } else if let range = AddressRange(value.text) {
                trustedProxies.ranges.append(range)
            } else {
                throw value.error(
                    "'\(value.text)' is no address or network such as 10.0.0.0/8, nor 'unix'")
            }
        }
        expectsProxyHeader = try values.flag("proxy-protocol")
        if expectsProxyHeader, trustedProxies.isEmpty {
            throw values.first("proxy-protocol")!
                .error("it needs 'trusted-proxies' (those that send the header)")
        }
        domain = try values.first("domain").map(Self.hostName)
        adminListening = try values.first("admin-listen").map { value throws(StartError) in
            try value.localListeningAddress(port: 9480)
        }
        controlSocket = try values.path("control-socket")
        // unix(7): sun_path holds 108 bytes with the zero that ends it.
        if let path = controlSocket, path.utf8.count > 107 {
            throw values.first("control-socket")!
                .error("'\(path)' has \(path.utf8.count) bytes (at most 107)")
        }
        keysFile = try values.path("keys") ?? keysFile
        agentPath = try values.first("agent-path").map(Self.agentPath) ?? agentPath
        mirrors = try Self.mirrors(file.sections)
        limits = try RelayLimits(values)
        self.logLevel = logLevel
        logsQueries = try values.flag("log-query")
    }

    private static func listening(_ value: SettingValue) throws(StartError) -> Listening {
        if value.text == "systemd" { return .systemd }
        return .address(try value.listeningAddress())
    }

    private static func certificate(
        _ values: SettingValues, _ file: ConfigurationFile
    ) throws(StartError) -> Certificate? {
        let chain = try values.path("certificate")
        let key = try values.path("private-key")
        if try values.flag("plaintext") {
            if let value = values.first("certificate") ?? values.first("private-key") {
                throw value.error("it has no use beside 'plaintext = yes' (take one of them away)")
            }
            return nil
        }
        switch (chain, key) {
        case (let chain?, let key?):
            return Certificate(chainFile: chain, privateKeyFile: key)
        case (nil, nil):
            throw .configuration(
                place: file.path,
                message: "keys 'certificate' and 'private-key' are missing"
                    + " (behind a proxy that has TLS: plaintext = yes)")
        case (_, nil):
            throw values.first("certificate")!.error("its 'private-key' is missing")
        case (nil, _):
            throw values.first("private-key")!.error("its 'certificate' is missing")
        }
    }

    private static func agentPath(_ value: SettingValue) throws(StartError) -> String {
        let path = value.text
        let isPlain = path.utf8.allSatisfy { byte in
            (0x21...0x7E).contains(byte) && !"?#%".utf8.contains(byte)
        }
        guard path.hasPrefix("/"), path.utf8.count > 1, isPlain else {
            throw value.error("'\(path)' is not a path such as /mirror")
        }
        for taken in ["/m", "/api", "/-"] where path == taken || path.hasPrefix(taken + "/") {
            throw value.error("'\(path)' is in use by the relay itself (below '\(taken)/')")
        }
        return path
    }

    /// A host name in lower case: labels of letters, digits and hyphens.
    private static func hostName(_ value: SettingValue) throws(StartError) -> String {
        let name = value.text.lowercased()
        let labels = name.split(separator: ".", omittingEmptySubsequences: false)
        let isName = labels.allSatisfy { label in
            (1...63).contains(label.utf8.count) && label.first != "-" && label.last != "-"
                && label.utf8.allSatisfy {
                    (0x61...0x7A).contains($0) || (0x30...0x39).contains($0) || $0 == 0x2D
                        || $0 == 0x5F
                }
        }
        guard isName, name.utf8.count <= 253 else {
            throw value.error("'\(value.text)' is not a host name (no scheme, port or path)")
        }
        return name
    }

    private static func mirrors(
        _ sections: [ConfigurationFile.Section]
    ) throws(StartError) -> [Mirror] {
        var mirrors: [Mirror] = []
        var owners: [String: String] = [:]
        for section in sections {
            let parts = section.name.split(separator: "/", omittingEmptySubsequences: false)
            guard parts.count == 2, let user = MirrorName(String(parts[0])),
                let name = MirrorName(String(parts[1]))
            else {
                throw .configuration(
                    place: section.place,
                    message: "'\(section.name)' is not USER/NAME (each \(MirrorName.rule))")
            }
            var mirror = Mirror(user: user, name: name)
            mirror.access = try section.values.choice(
                "access", default: .key, [("key", .key), ("public", .anybody)])
            for value in try section.values.list("hosts") {
                let host = try hostName(value)
                if let owner = owners.updateValue(section.name, forKey: host) {
                    throw value.error("'\(host)' already leads to mirror '\(owner)'")
                }
                mirror.hosts.append(host)
            }
            mirrors.append(mirror)
        }
        return mirrors
    }
}
