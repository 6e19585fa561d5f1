// `magicmirrord --quickstart`: certificate, keys and the commands to paste, in a state directory.
//
// Called by: the program, before the relay starts; and once it is ready, for the commands.
// Waits for: the disk.
// Hard: a second run with the same directory must go on with the same keys and certificate, or
// every agent and client of the first would have to be set up again.

import Program
import Streams
import Wire

package struct Quickstart: Sendable {
    private let options: RelayCommandLine.Quickstart
    private static let days = 825

    package init(_ options: RelayCommandLine.Quickstart) { self.options = options }

    /// Makes what is not there yet.
    package func prepare() throws {
        try File.makeDirectory(options.stateDirectory)
        if !File.exists(file("ca.pem")) || !File.exists(file("private-key.pem")) {
            var names = ["127.0.0.1", "::1", "localhost"]
            if case .tcp(let address) = options.listening, !names.contains(address.host),
                address.host != "0.0.0.0", address.host != "::"
            {
                names.append(address.host)
            }
            let made = MadeCertificate(names: names, days: Quickstart.days)
            try write(made.privateKey, "private-key.pem", mode: 0o600)
            try write(made.certificate, "certificate.pem", mode: 0o644)
            try write(made.authority, "ca.pem", mode: 0o644)
        }
        try makeKey(.agent, "agent.key")
        try makeKey(.client, "client.key")
    }

    private func makeKey(_ role: KeyRole, _ name: String) throws {
        if File.exists(file(name)), File.exists(file("keys")) { return }
        guard let user = MirrorName("demo") else { fatalError("'demo' is no name") }
        let key = try KeyFile.add(
            to: file("keys"), role: role, user: user, pattern: .any, expires: nil,
            comment: "quickstart", secret: nil)
        try write(Array((key.secret + "\n").utf8), name, mode: 0o600)
    }

    /// Says where the relay listens and how to use it.
    package func announce(_ address: String) throws {
        try write(Array((address + "\n").utf8), "address", mode: 0o644)
        StandardOutput.write(
            """

            Beside the private service (here: a Prometheus on port 9090):

              magicmirror --remote wss://\(address)/mirror --ca-file \(file("ca.pem")) \\
                  --apikey-file \(file("agent.key")) --name prometheus --local http://127.0.0.1:9090

            Then, as a client:

              curl --cacert \(file("ca.pem")) -H "Authorization: Bearer $(cat \(file("client.key")))" \\
                  'https://\(address)/m/demo/prometheus/api/v1/query?query=up'


            """)
    }

    private func file(_ name: String) -> String { options.file(name) }

    private func write(_ bytes: [UInt8], _ name: String, mode: UInt32) throws {
        try File.replace(file(name), with: bytes, mode: mode, owner: nil)
    }
}
