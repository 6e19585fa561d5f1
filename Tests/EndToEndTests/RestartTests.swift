// A relay that is restarted on a socket that systemd holds, again and again under constant load.
//
// In systemd's place stands a script that makes the socket and starts each relay with it; it is
// also the load: clients that keep their connection busy, that pause, and that connect anew for
// each request, all by TLS. To them every request has to be answered.

import Foundation
import Testing

struct RestartTests {
    @Test func `restarts on a passed socket under load leave no request without an answer`() throws
    {
        try stage { stage in
            let origin = stage.keep(try Origin.echoingTarget())
            let agentKey = try stage.addKey(role: "agent", name: "prom")
            let clientKey = try stage.addKey(role: "client")
            let certificate = try stage.certificate()
            let file = try stage.relayConfiguration(listen: ["systemd"], certificate: certificate)
            let load = try stage.start(
                "python3",
                [
                    "-c", script, Built.relay, file, certificate.file, clientKey.secret,
                    "/m/alice/prom/", "20",
                ])
            let port = try load.expectOutput("port") { $0.hasPrefix("port ") }.dropFirst(5)
            // It comes back soon, or most of the time there would be nobody to ask.
            let agent = try stage.write(
                "agent.conf",
                """
                remote = wss://localhost:\(port)/mirror
                ca-file = \(certificate.file)
                apikey = \(agentKey.secret)
                name = prom
                local = \(origin.url)
                reconnect-delay = 50ms
                maximum-reconnect-delay = 100ms
                """)
            _ = try stage.start(Built.agent, ["--config", agent])

            #expect(try load.exit(.long) == .code(0))
            let result = json(Array(try load.expectOutput("a result") { $0.hasPrefix("{") }.utf8))
            let faults = result["faults"] as? [String] ?? ["none told"]
            #expect(faults.isEmpty, "\(faults.count): \(faults.prefix(10))")
            let counts = result["counts"] as? [String: Int] ?? [:]
            #expect(Set(counts.keys).isSubset(of: ["200", "503"]), "\(counts)")
            #expect(counts["200", default: 0] >= 20 * 20, "\(counts)")
        }
    }

    private let script = """
        import collections, http.client, json, os, random, signal, socket, ssl, subprocess, sys
        import threading, time

        program, file, authority, key, path, restarts = sys.argv[1:7]
        listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
        port = listener.getsockname()[1]
        os.dup2(listener.fileno(), 9, inheritable=True)
        print("port", port, flush=True)

        def start():
            # The process keeps its number through exec: the socket is passed to that one.
            made = subprocess.Popen(
                ["sh", "-c", 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@" 3<&9 9<&-', program,
                 "--config", file],
                pass_fds=[9], stdout=subprocess.PIPE, text=True)
            line = made.stdout.readline()
            if not line.startswith("ready address="):
                sys.exit("not ready: " + line)
            return made

        def stop(relay):
            relay.send_signal(signal.SIGTERM)
            if relay.wait(60) != 0:
                faults.append("exit status %d" % relay.returncode)

        trust = ssl.create_default_context(cafile=authority)
        lock, counts, faults = threading.Lock(), collections.Counter(), []
        over = threading.Event()

        def load(pause, keeps):
            connection = None
            while not over.is_set():
                try:
                    if connection is None:
                        connection, asked = http.client.HTTPSConnection(
                            "localhost", port, timeout=120, context=trust), 0
                        connection.connect()
                    asked += 1
                    word = "%08x" % random.getrandbits(32)
                    fields = {"Authorization": "Bearer " + key}
                    connection.request(
                        "GET", path + word,
                        headers=fields if keeps else fields | {"Connection": "close"})
                    answer = connection.getresponse()
                    body = answer.read().decode()
                    closes = answer.will_close
                    good = (body == "/" + word if answer.status == 200
                            else answer.status == 503 and int(answer.headers["Retry-After"]) > 0)
                    with lock:
                        counts[answer.status] += 1
                        if not good:
                            faults.append("%d %s" % (answer.status, body[:200]))
                    if closes:
                        connection.close()
                        connection = None
                except Exception as error:
                    with lock:
                        faults.append("request %d of a connection: %r" % (asked, error))
                    connection = None
                if pause:
                    time.sleep(random.expovariate(1 / pause))

        relay = start()
        threads = [threading.Thread(target=load, args=arguments, daemon=True)
                   for arguments in [(0.002, True)] * 3 + [(0.03, True)] * 3 + [(0.01, False)] * 2]
        for thread in threads:
            thread.start()
        for _ in range(int(restarts)):
            # Requests reach the origin again: the agent is back.
            before = counts[200]
            while counts[200] < before + 20:
                time.sleep(0.01)
            stop(relay)
            relay = start()
        over.set()
        for thread in threads:
            thread.join(120)
        stop(relay)
        print(json.dumps({"counts": counts, "faults": faults}), flush=True)
        """
}
