// The configurations under packaging/examples, run as they are shipped but for names, ports and
// places of files.

import Foundation

extension Stage {
    /// Writes a shipped file with other places in it.
    ///
    /// - Parameter places: what stands in the file, and what is to stand there instead. Each has to
    ///   be there, so that no change of the file leaves a test with something else.
    func shipped(_ name: String, _ places: [String: String]) throws -> String {
        let examples = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
            .appendingPathComponent("../../../packaging/examples")
        var text = try String(
            contentsOf: examples.appendingPathComponent(name), encoding: .utf8)
        for (place, other) in places {
            guard text.contains(place) else { throw Failure("\(name) has no '\(place)'") }
            text = text.replacingOccurrences(of: place, with: other)
        }
        return try write(name, text, mode: 0o644)
    }

    /// Starts HAProxy, and waits until it takes connections.
    @discardableResult
    func startHAProxy(_ file: String, ports: [Int]) throws -> Program {
        let program = try start("haproxy", ["-db", "-f", file])
        for port in ports {
            // It says nothing once it serves.
            while (try? Connection.to(port: port, .after(0.05))) == nil {
                if let exit = program.unasked { throw Failure("haproxy ended: \(exit)") }
            }
        }
        return program
    }

    /// What `haproxy*.cfg` has for a machine of its own, and its certificate.
    func haproxyPlaces(
        _ certificate: Certificate, port: Int
    ) throws -> [String: String] {
        let both = try read(certificate.file) + "\n" + read(certificate.key) + "\n"
        return [
            "log /dev/log local0": "log stderr format raw local0",
            "    user haproxy\n    group haproxy\n": "",
            "/run/haproxy/admin.sock": path("haproxy.sock"),
            "/etc/haproxy/relay.pem": try write("haproxy.pem", both),
            "maxconn 20000": "maxconn 1000",
            "bind :443": "bind 127.0.0.1:\(port)",
        ]
    }
}
