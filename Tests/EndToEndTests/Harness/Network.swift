// A network of two machines with a bad link between them: two network namespaces, each with a
// tunnel device of its own, and a process that carries, delays and drops the packets between them.
//
// The relay is on the one (10.77.0.1) and, with a socket that it is given, on this machine's
// loopback, where the tests' clients are. The agent is on the other (10.77.0.2), with its origin
// behind a unix socket. Needs root. The namespaces are nobody's but the process's and the
// programs': they go with them.

import Foundation

final class Network: Sendable {
    private let stage: Stage
    private let link: Program
    private let control: Signalled<Connection>
    private let agentSpace: String
    private let relaySpace: String

    static let relayAddress = "10.77.0.1:8443"

    init(_ stage: Stage) throws {
        self.stage = stage
        let ends = closedOnExec {
            var ends: [Int32] = [-1, -1]
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
            return ends
        }
        link = try stage.start("python3", ["-c", Network.linkScript], terminal: ends[1])
        close(ends[1])
        let connection = Connection(ends[0])
        guard let line = try connection.read(through: "\n") else {
            throw Failure("no network namespaces\n\(link.logTail)")
        }
        control = Signalled(connection)
        let descriptors = line.split(whereSeparator: \.isWhitespace)
        agentSpace = "/proc/\(link.pid)/fd/\(descriptors[0])"
        relaySpace = "/proc/\(link.pid)/fd/\(descriptors[1])"
    }

    /// Makes the link lose packets from now on: none at 0, all at 1.
    func lose(toRelay: Double = 0, toAgent: Double = 0, delayed seconds: Double = 0) throws {
        try control.withLock { control in
            try control.write("\(toRelay) \(toAgent) \(seconds)\n")
            _ = try control.read(through: "\n")
        }
    }

    /// Runs a command on the agent's machine.
    func onAgent(_ words: String...) throws {
        let done = try stage.run("nsenter", ["--net=\(agentSpace)"] + words)
        guard done.exit == .code(0) else { throw Failure("\(words): \(done.error)") }
    }

    /// Starts relay and agent, with what `Load` asks for behind them.
    func mirror(_ origin: Origin, relay more: String = "", agent lines: String = "") throws
        -> Mirror
    {
        let agentKey = try stage.addKey(role: "agent", name: "prom")
        let clientKey = try stage.addKey(role: "client")
        let configuration = try stage.relayConfiguration(
            listen: ["systemd", Network.relayAddress], certificate: nil, more)
        let relay = try Relay(
            stage, program: "python3",
            arguments: [
                "-c", Network.relayScript, relaySpace, Built.relay, "--config", configuration,
            ], keys: stage.path("keys"), authority: nil)
        let file = try stage.write(
            "agent.conf",
            """
            remote = ws://\(Network.relayAddress)/mirror
            apikey-file = \(try stage.write("agent.key", agentKey.secret))
            name = prom
            local = \(stage.keep(origin).url)
            \(lines)
            """)
        let agent = try stage.start(
            "nsenter", ["--net=\(agentSpace)", Built.agent, "--config", file])
        _ = try agent.expectReady("ready mirror=prom ")
        return Mirror(relay: relay, agent: agent, agentKey: agentKey, clientKey: clientKey)
    }

    /// Two namespaces, and the packets between them. Each line read is the new state of the link.
    private static let linkScript = """
        import ctypes, fcntl, heapq, itertools, os, random, select, struct, subprocess, time

        def namespace(address):
            if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):
                raise OSError(ctypes.get_errno(), "unshare (needs root)")
            device = os.open("/dev/net/tun", os.O_RDWR)
            fcntl.ioctl(device, 0x400454ca, struct.pack("16sH22x", b"wire", 0x1001))
            for words in "addr add " + address + "/24 dev wire", "link set wire up", "link set lo up":
                subprocess.run(["ip"] + words.split(), check=True)
            return device, os.open("/proc/self/ns/net", os.O_RDONLY)

        agent, agent_space = namespace("10.77.0.2")
        relay, relay_space = namespace("10.77.0.1")
        print(agent_space, relay_space, flush=True)
        loss, delay = {agent: 0.0, relay: 0.0}, 0.0
        way, number, dice, order = [], itertools.count(), random.Random(1), {agent: relay, relay: agent}
        while True:
            rest = max(0, way[0][0] - time.monotonic()) if way else None
            for source in select.select([agent, relay, 0], [], [], rest)[0]:
                if source == 0:
                    line = os.read(0, 4096)
                    if not line: raise SystemExit
                    loss[agent], loss[relay], delay = map(float, line.split())
                    print("done", flush=True)
                    continue
                packet = os.read(source, 65536)
                if dice.random() >= loss[source]:
                    heapq.heappush(way, (time.monotonic() + delay, next(number), order[source], packet))
            while way and way[0][0] <= time.monotonic():
                _, _, target, packet = heapq.heappop(way)
                try: os.write(target, packet)
                except OSError: pass  # The device is down.
        """

    /// Becomes the relay, on its machine, with a socket on the loopback of this one.
    private static let relayScript = """
        import ctypes, os, socket, sys
        listener = socket.socket()
        listener.bind(("127.0.0.1", 0))
        listener.listen(512)
        os.set_inheritable(os.dup2(listener.fileno(), 3), True)
        space = os.open(sys.argv[1], os.O_RDONLY)
        if ctypes.CDLL(None, use_errno=True).setns(space, 0x40000000):
            raise OSError(ctypes.get_errno(), "setns")
        os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
        os.execv(sys.argv[2], sys.argv[2:])
        """
}
