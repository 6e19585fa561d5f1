// The real private services: Prometheus and nginx, on ports that were free a moment ago.

import Foundation

/// Prometheus takes a good deal of memory and processor time to start.
private let prometheusSlots = Slots(2)

struct Service {
    let program: Program
    let port: Int
    var url: String { "http://127.0.0.1:\(port)" }
}

extension Stage {
    /// Starts a Prometheus that scrapes nothing, and waits until it serves.
    func prometheus() throws -> Service {
        try take(prometheusSlots)
        let configuration = try write("prometheus.yml", "global:\n  scrape_interval: 1h\n")
        return try onFreePort { port in
            let program = try start(
                "prometheus",
                [
                    "--config.file=\(configuration)", "--storage.tsdb.path=\(path("tsdb-\(port)"))",
                    "--web.listen-address=127.0.0.1:\(port)",
                ])
            let line = program.log.line { $0.contains("Server is ready to receive web requests") }
            return line == nil ? nil : program
        }
    }

    /// Starts an nginx that serves `directory` by plain files.
    ///
    /// It is one process: workers would outlive a master that is killed.
    ///
    /// - Parameters:
    ///   - address: where it listens, on whatever port is free.
    ///   - protocols: more words of `listen`, such as `ssl`.
    ///   - more: further lines of its `server` block.
    func nginx(
        serving directory: String, on address: String = "127.0.0.1", port fixed: Int? = nil,
        protocols: String = "", _ more: String = ""
    ) throws -> Service {
        try onFreePort(fixed) { port in
            let configuration = try write(
                "nginx-\(port).conf",
                """
                daemon off;
                master_process off;
                pid \(path("nginx-\(port).pid"));
                error_log stderr notice;
                events { worker_connections 1024; }
                http {
                    access_log off;
                    client_body_temp_path \(path("body"));
                    proxy_temp_path \(path("proxy"));
                    fastcgi_temp_path \(path("fastcgi"));
                    uwsgi_temp_path \(path("uwsgi"));
                    scgi_temp_path \(path("scgi"));
                    default_type application/octet-stream;
                    sendfile on;
                    keepalive_requests 100000;
                    server {
                        listen \(address):\(port) \(protocols);
                        root \(directory);
                        \(more)
                    }
                }
                """, mode: 0o644)
            let program = try start("nginx", ["-c", configuration])
            let line = program.log.line { $0.contains("event method") }
            return line == nil ? nil : program
        }
    }

    /// Starts a tinyproxy that lets loopback through, with a user and a password where given.
    ///
    /// - Parameter connectPort: the only port that it makes tunnels to.
    func tinyproxy(user: String? = nil, connectPort: Int? = nil) throws -> Service {
        try onFreePort { port in
            let configuration = try write(
                "tinyproxy-\(port).conf",
                """
                Port \(port)
                Listen 127.0.0.1
                Allow 127.0.0.1
                LogLevel Info
                \(user.map { "BasicAuth \($0)" } ?? "")
                \(connectPort.map { "ConnectPort \($0)" } ?? "")
                """)
            let program = try start("tinyproxy", ["-d", "-c", configuration])
            let line = program.output.line { $0.contains("Accepting connections") }
            return line == nil ? nil : program
        }
    }

    /// A TLS server of openssl that shows a page and that nobody has reason to trust.
    func untrustedServer() throws -> Service {
        let certificate = try certificate("untrusted")
        let program = try start(
            "openssl",
            [
                "s_server", "-www", "-accept", "127.0.0.1:0", "-cert", certificate.file, "-key",
                certificate.key,
            ])
        let line = try program.expectOutput("ACCEPT") { $0.hasPrefix("ACCEPT ") }
        guard let port = line.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw Failure("no port in '\(line)'")
        }
        return Service(program: program, port: port)
    }

    /// Tries ports until `start` gives a program that serves: another may take a port meanwhile.
    private func onFreePort(
        _ fixed: Int? = nil, _ start: (Int) throws -> Program?
    ) throws -> Service {
        for _ in 0..<5 {
            let port = try fixed ?? Listener.freePort()
            if let program = try start(port) { return Service(program: program, port: port) }
        }
        throw Failure("nothing could be started on a free port")
    }
}
