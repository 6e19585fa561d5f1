// The clients that speak TLS for the tests: curl, and openssl s_client for raw bytes.

import Foundation

extension Stage {
    /// Runs curl against a relay, with the key where one is given.
    func curl(
        _ relay: Relay, _ path: String, key: String? = nil, _ options: [String] = [],
        _ deadline: Deadline = .patient
    ) throws -> CurlAnswer {
        let trust = relay.authority.map { ["--cacert", $0] } ?? []
        let authorization = key.map { ["--header", "Authorization: Bearer \($0)"] } ?? []
        return try curl(relay.url(path), trust + authorization + options, deadline)
    }

    /// What a program counts, from its metrics on a unix socket.
    func metric(_ name: String, at socket: String) throws -> Int {
        let page = try curl("http://a/metrics", ["--unix-socket", socket])
        let line = page.text.split(separator: "\n").first { $0.hasPrefix("magicmirror_\(name) ") }
        guard let number = line.flatMap({ Int($0.split(separator: " ")[1]) }) else {
            throw Failure("no metric '\(name)': \(page.error)")
        }
        return number
    }

    /// Runs curl with `options`, and reads what it shows of the answer.
    func curl(
        _ url: String, _ options: [String], _ deadline: Deadline = .patient
    ) throws -> CurlAnswer {
        let finished = try run(
            "curl", ["--silent", "--show-error", "--include", "--globoff"] + options + [url],
            deadline)
        return try CurlAnswer(finished)
    }

    /// A connection through `openssl s_client`: bytes written are sent in TLS, bytes read were.
    func secureConnection(
        _ address: String, _ options: [String] = []
    ) throws -> (connection: Connection, program: Program) {
        let ends = closedOnExec {
            var ends: [Int32] = [-1, -1]
            socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends)
            return ends
        }
        let program = try start(
            "openssl", ["s_client", "-quiet", "-connect", address] + options, terminal: ends[1])
        close(ends[1])
        return (Connection(ends[0]), program)
    }
}

struct CurlAnswer {
    /// 0, or curl's word for what went wrong: 18 is a cut body, 52 no answer, 56 a reset.
    let exit: Program.Exit
    let error: String
    let response: Response?
    /// All of standard output, for options that show something else than the answer.
    let written: String

    init(_ finished: Finished) throws {
        exit = finished.exit
        error = finished.error
        written = finished.output
        var rest = finished.outputBytes[...]
        var found: Response?
        while let range = Data(rest).range(of: Data("\r\n\r\n".utf8)),
            rest.starts(with: "HTTP/".utf8)
        {
            let head = try Head(String(decoding: rest.prefix(range.lowerBound), as: UTF8.self))
            rest = rest.dropFirst(range.upperBound)
            found = Response(head: head)
            guard (100..<200).contains(found?.status ?? 0) else { break }
        }
        found?.body.bytes = Array(rest)
        found?.body.isWhole = finished.exit == .code(0)
        response = found
    }

    var status: Int { response?.status ?? 0 }
    var text: String { response?.text ?? "" }
    var bytes: [UInt8] { response?.body.bytes ?? [] }
    subscript(_ name: String) -> String? { response?[name] }
}
