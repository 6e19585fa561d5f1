// A running relay, its keys, and what a test needs to know to reach it.

import Foundation
import Testing

final class Relay: Sendable {
    struct Key: Decodable, Sendable {
        let id: String
        let secret: String
    }

    let stage: Stage
    private let path: String
    /// The arguments it was started with.
    let arguments: [String]
    let keys: String
    let scheme: String
    /// The certificate that clients and agents have to trust, where the relay speaks TLS.
    let authority: String?
    private let running: Signalled<(program: Program, addresses: [String])>

    var program: Program { running.withLock { $0.program } }
    var addresses: [String] { running.withLock { $0.addresses } }
    var address: String { addresses[0] }
    var port: Int { Int(address.split(separator: ":").last ?? "") ?? 0 }
    var isSecure: Bool { scheme == "https" }
    var remote: String { (isSecure ? "wss://" : "ws://") + address + "/mirror" }

    /// - Parameter path: the program, or one that becomes it.
    init(
        _ stage: Stage, program path: String = Built.relay, arguments: [String], keys: String,
        authority: String?
    ) throws {
        self.stage = stage
        self.path = path
        self.arguments = arguments
        self.keys = keys
        self.authority = authority
        scheme = authority == nil ? "http" : "https"
        running = Signalled(try Self.start(stage, path, arguments))
    }

    private static func start(
        _ stage: Stage, _ path: String, _ arguments: [String]
    ) throws -> (program: Program, addresses: [String]) {
        let program = try stage.start(path, arguments)
        let line = try program.expectReady("ready address=")
        let addresses = line.split(separator: " ").dropFirst().compactMap { word in
            word.hasPrefix("address=") ? String(word.dropFirst("address=".count)) : nil
        }
        return (program, addresses)
    }

    /// Starts the relay anew where it was, after it has ended.
    func startOnSamePort() throws {
        let file = stage.path("relay.conf")
        let text = try String(contentsOfFile: file, encoding: .utf8)
        try stage.write(
            "relay.conf",
            text.replacingOccurrences(of: "listen = 127.0.0.1:0", with: "listen = \(address)"))
        let started = try Self.start(stage, path, arguments)
        running.withLock { $0 = started }
    }

    func url(_ path: String) -> String { "\(scheme)://\(address)\(path)" }

    /// Adds a key while the relay runs, which notices within a second.
    func addKey(
        role: String, user: String = "alice", name: String? = nil, _ options: [String] = []
    ) throws -> Key {
        try stage.addKey(role: role, user: user, name: name, options, to: keys)
    }

    func revoke(_ key: Key) throws {
        let revoked = try stage.run(Built.control, ["key", "revoke", "--keys", keys, key.id])
        guard revoked.exit == .code(0) else { throw Failure("key revoke: \(revoked.error)") }
    }

    /// Waits for the log line of an exchange: one with that status, and that error where one is named.
    @discardableResult
    func expectLine(
        status: Int, error: String? = nil, from start: Int = 0
    ) throws -> String {
        let wanted = ["STATUS=\(status)"] + (error.map { ["ERROR=\($0)"] } ?? [])
        return try program.expectLog(wanted.joined(separator: " "), from: start) { line in
            let words = line.split(separator: " ").map(String.init)
            return wanted.allSatisfy(words.contains)
        }
    }
}

extension Stage {
    /// Adds a key by magicmirrorctl. Before the relay is started it works from the beginning.
    func addKey(
        role: String, user: String = "alice", name: String? = nil, _ options: [String] = [],
        to keys: String? = nil
    ) throws -> Relay.Key {
        let pattern = name.map { ["--name", $0] } ?? []
        let added = try run(
            Built.control,
            [
                "key", "add", "--keys", keys ?? path("keys"), "--user", user, "--role", role,
                "--json",
            ] + pattern + options)
        guard added.exit == .code(0) else { throw Failure("key add: \(added.error)") }
        return try JSONDecoder().decode(Relay.Key.self, from: Data(added.outputBytes))
    }

    /// Starts a relay by a configuration file.
    ///
    /// - Parameters:
    ///   - path: the program, or one that becomes it.
    ///   - more: further lines of the file; sections come last.
    func relay(
        program path: String = Built.relay, plaintext: Bool = true,
        listen: [String] = ["127.0.0.1:0"], _ more: String = ""
    ) throws -> Relay {
        let authority = plaintext ? nil : try certificate("relay")
        let file = try relayConfiguration(listen: listen, certificate: authority, more)
        return try Relay(
            self, program: path, arguments: ["--config", file], keys: self.path("keys"),
            authority: authority?.file)
    }

    /// Starts one more relay that speaks without TLS, with the keys of `other`.
    func relay(beside other: Relay, _ name: String = "second") throws -> Relay {
        let file = try relayConfiguration("\(name).conf", certificate: nil)
        return try Relay(self, arguments: ["--config", file], keys: other.keys, authority: nil)
    }

    /// Writes relay.conf, and an empty keys file where there is none.
    func relayConfiguration(
        _ name: String = "relay.conf", listen: [String] = ["127.0.0.1:0"],
        certificate: Certificate?, _ more: String = ""
    ) throws -> String {
        if !FileManager.default.fileExists(atPath: path("keys")) {
            try write("keys", "# magicmirror keys 1\n")
        }
        let trust =
            certificate.map { "certificate = \($0.file)\nprivate-key = \($0.key)\n" }
            ?? "plaintext = yes\n"
        return try write(
            name,
            listen.map { "listen = \($0)\n" }.joined() + trust + "keys = \(path("keys"))\n" + more)
    }

    /// Starts a relay by `--quickstart`, as a newcomer would.
    func quickstart() throws -> Relay {
        let state = path("quickstart")
        return try Relay(
            self, arguments: ["--quickstart", "--listen", "127.0.0.1:0", "--state", state],
            keys: state + "/keys", authority: state + "/ca.pem")
    }

    /// Starts an agent and waits until it is connected.
    @discardableResult
    func agent(
        _ relay: Relay, key: String, name: String = "prom", local: String, _ options: [String] = []
    ) throws -> Program {
        let agent = try startAgent(relay, key: key, name: name, local: local, options)
        _ = try agent.expectReady("ready mirror=\(name) ")
        return agent
    }

    /// Starts an agent that need not come to be connected.
    ///
    /// - Parameter path: the program, or one that becomes it.
    func startAgent(
        _ relay: Relay, program path: String = Built.agent, key: String, name: String = "prom",
        local: String, _ options: [String] = [], environment: [String: String] = [:]
    ) throws -> Program {
        let keyFile = try write("agent-\(name).key", key + "\n")
        let trust = relay.authority.map { ["--ca-file", $0] } ?? []
        return try start(
            path,
            [
                "--remote", relay.remote, "--apikey-file", keyFile, "--name", name,
                "--local", local,
            ] + trust + options, environment: environment)
    }

    /// A relay, an agent, an origin and a client key: what most scenarios begin with.
    func mirror(
        _ origin: Origin, programs: Programs = Programs(), plaintext: Bool = true, port: Int = 0,
        relay more: String = "", agent options: [String] = []
    ) throws -> Mirror {
        try mirror(
            local: keep(origin).url, programs: programs, plaintext: plaintext, port: port,
            relay: more, agent: options)
    }

    func mirror(
        local: String, programs: Programs = Programs(), plaintext: Bool = true, port: Int = 0,
        relay more: String = "", agent options: [String] = [], environment: [String: String] = [:]
    ) throws -> Mirror {
        let agentKey = try addKey(role: "agent", name: "prom")
        let clientKey = try addKey(role: "client")
        let relay = try self.relay(
            program: programs.relay, plaintext: plaintext, listen: ["127.0.0.1:\(port)"], more)
        let agent = try startAgent(
            relay, program: programs.agent, key: agentKey.secret, local: local, options,
            environment: environment)
        _ = try agent.expectReady("ready mirror=prom ")
        return Mirror(relay: relay, agent: agent, agentKey: agentKey, clientKey: clientKey)
    }
}

/// The mirror alice/prom, with its agent connected.
struct Mirror: Sendable {
    let relay: Relay
    let agent: Program
    let agentKey: Relay.Key
    let clientKey: Relay.Key
    /// The port of a proxy that clients ask instead of the relay.
    var front: Int?

    /// Where `path` of the origin stands on the relay.
    func path(_ path: String) -> String { "/m/alice/prom" + path }

    /// The text of a request with the client's key.
    func request(
        _ method: String, _ path: String, _ fields: [String] = [], body: String = "",
        version: String = "HTTP/1.1"
    ) -> String {
        "\(method) \(self.path(path)) \(version)\r\nHost: relay.test\r\n"
            + "Authorization: Bearer \(clientKey.secret)\r\n"
            + fields.map { $0 + "\r\n" }.joined() + "\r\n" + body
    }

    func connect(from host: UInt8 = 1, receiveBuffer: Int32? = nil) throws -> Connection {
        try Connection.to(port: front ?? relay.port, from: host, receiveBuffer: receiveBuffer)
    }

    func get(_ path: String, _ fields: [String] = []) throws -> Response {
        try ask("GET", path, fields)
    }

    /// Asks once, on a connection of its own.
    func ask(
        _ method: String, _ path: String, _ fields: [String] = [], body: String = "",
        _ deadline: Deadline = .patient
    ) throws -> Response {
        let connection = try connect()
        try connection.write(request(method, path, fields, body: body))
        return try connection.readResponse(to: method, deadline)
    }
}

/// Asks a relay that speaks without TLS once, for `target` as it stands.
func ask(
    _ relay: Relay, _ target: String, _ fields: [String] = [], method: String = "GET"
) throws -> Response {
    let connection = try Connection.to(port: relay.port)
    try connection.write(
        "\(method) \(target) HTTP/1.1\r\nHost: relay.test\r\n"
            + fields.map { $0 + "\r\n" }.joined() + "\r\n")
    return try connection.readResponse(to: method)
}

/// Asks over and over until an answer `matches`.
///
/// For what a program notices by itself after a while: the pace is that of the answers.
func askUntil(
    _ what: String, _ deadline: Deadline, _ ask: () throws -> Response,
    _ matches: (Response) -> Bool
) throws -> Response {
    var last: Response?
    while !deadline.hasPassed {
        let response = try ask()
        if matches(response) { return response }
        last = response
    }
    throw Failure("\(what): not in time, the last answer was \(last?.head.startLine ?? "none")")
}

func bearer(_ key: Relay.Key) -> String { "Authorization: Bearer \(key.secret)" }

/// Expects an answer of the relay's own: the status, the word in Proxy-Status, a problem as body.
func expectProblem(
    _ response: Response, _ status: Int, _ error: String,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    #expect(response.status == status, sourceLocation: sourceLocation)
    let proxyStatus = (response["Proxy-Status"] ?? "").split(separator: ";").map {
        $0.trimmingCharacters(in: .whitespaces)
    }
    #expect(proxyStatus.first == "magicmirrord", sourceLocation: sourceLocation)
    #expect(
        proxyStatus.contains("error=\(error)"), "\(proxyStatus)", sourceLocation: sourceLocation)
    #expect(
        response["Content-Type"] == "application/problem+json", sourceLocation: sourceLocation)
    let problem = json(response.body.bytes)
    #expect(problem["status"] as? Int == status, "\(response.text)", sourceLocation: sourceLocation)
    #expect(problem["title"] is String, "\(response.text)", sourceLocation: sourceLocation)
    #expect(response.body.isWhole, sourceLocation: sourceLocation)
}

/// The members of a JSON object; none where it is something else.
func json(_ bytes: [UInt8]) -> [String: Any] {
    (try? JSONSerialization.jsonObject(with: Data(bytes))) as? [String: Any] ?? [:]
}
