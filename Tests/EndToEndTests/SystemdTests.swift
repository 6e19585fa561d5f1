// `listen = systemd`: the sockets that a .socket unit passes.
//
// In systemd's place stands a script: it makes the sockets, and becomes the relay.

import Foundation
import Testing

struct SystemdTests {
    @Test func `a relay serves on every socket that systemd passes`() throws {
        try stage { stage in
            let relay = try passing(
                stage, ["tcp", "unix:\(stage.path("socket"))"],
                listen: ["127.0.0.1:0", "systemd"])
            let ready = try relay.expectReady("ready address=")
            let addresses = ready.split(separator: " ").dropFirst().map {
                String($0.dropFirst("address=".count))
            }
            #expect(addresses.count == 3)
            #expect(addresses.last == "unix:\(stage.path("socket"))")
            for address in addresses.prefix(2) {
                #expect(try stage.curl("http://\(address)/-/healthy", []).status == 200)
            }
            let local = try stage.curl(
                "http://relay.test/-/healthy", ["--unix-socket", stage.path("socket")])
            #expect(local.status == 200, "\(local.error)")

            // The file of that socket is not the relay's: the next one is to listen on it.
            relay.send(SIGTERM)
            #expect(try relay.exit() == .code(0))
            #expect(FileManager.default.fileExists(atPath: stage.path("socket")))
        }
    }

    @Test(arguments: [
        (["datagram"], "descriptor 3", "ListenStream="),
        (["tcp", "connected"], "descriptor 4", "Accept=no"),
        ([], "passed no sockets", "systemd.socket(5)"),
    ])
    func `sockets of systemd that cannot serve are named`(
        sockets: [String], words: String, remedy: String
    ) throws {
        try stage { stage in
            let relay = try passing(stage, sockets, listen: ["systemd"])
            #expect(try relay.exit() == .code(78))
            let line = String(decoding: try relay.log.all(.patient), as: UTF8.self)
            #expect(line.split(separator: "\n").count == 1, "\(line)")
            #expect(line.hasPrefix("\(stage.path("relay.conf")):1: "), "\(line)")
            #expect(line.contains(words) && line.contains(remedy), "\(line)")
        }
    }

    @Test func `sockets that systemd passed to another program are not taken`() throws {
        try stage { stage in
            let relay = try passing(stage, ["tcp"], listen: ["systemd"], processID: "1")
            #expect(try relay.exit() == .code(78))
        }
    }

    /// Starts a relay with `sockets` from descriptor 3 on.
    private func passing(
        _ stage: Stage, _ sockets: [String], listen: [String], processID: String = ""
    ) throws -> Program {
        let script = """
            import os, socket, sys
            file, program, process, names = sys.argv[1], sys.argv[2], sys.argv[3], sys.argv[4:]
            made, kept = [], []
            for name in names:
                kind = socket.SOCK_DGRAM if name == "datagram" else socket.SOCK_STREAM
                one = socket.socket(
                    socket.AF_UNIX if name.startswith("unix:") else socket.AF_INET, kind)
                one.bind(name[5:] if name.startswith("unix:") else ("127.0.0.1", 0))
                if kind == socket.SOCK_STREAM:
                    one.listen()
                if name == "connected":
                    kept += [one, socket.create_connection(one.getsockname())]
                    one = one.accept()[0]
                made.append(one)
            # Out of the way first: one may stand where another is to go.
            high = [os.dup2(one.fileno(), 100 + number) for number, one in enumerate(made)]
            for number, descriptor in enumerate(high):
                os.dup2(descriptor, 3 + number, inheritable=True)
            os.environ["LISTEN_PID"] = process or str(os.getpid())
            os.environ["LISTEN_FDS"] = str(len(made))
            os.execv(program, [program, "--config", file])
            """
        let file = try stage.relayConfiguration(listen: listen, certificate: nil)
        return try stage.start(
            "python3", ["-c", script, file, Built.relay, processID] + sockets)
    }
}
