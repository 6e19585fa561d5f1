// Clients that ask without a pause while something happens to the programs, and check that each
// answer is the one to their own request.
//
// Threads: one for each client, with a connection of its own that it keeps as long as it holds.
// A request may be refused by the relay (502, 503, 504) or broken off; what arrives, even a part of
// an answer, must be of the answer that was asked for.

import Foundation

final class Load: Sendable {
    struct Tally: Sendable {
        var right = 0
        /// Answers of the relay's own, by status.
        var refused: [Int: Int] = [:]
        /// Requests whose connection ended before their answer was whole.
        var broken = 0
        /// What must not be: each with its reason.
        var wrong: [String] = []

        var all: Int { right + broken + refused.values.reduce(0, +) + wrong.count }
    }

    private struct State {
        var tally = Tally()
        var running = 0
        var isStopping = false
        /// Whether clients may connect: nothing else should come to listen on the relay's port.
        var isOpen = true
    }

    private let mirror: Mirror
    private let state = Signalled(State())

    var tally: Tally { state.withLock { $0.tally } }

    /// Starts so many clients; `mirror` must be one of `Load.origin`.
    init(_ mirror: Mirror, clients: Int = 4) {
        self.mirror = mirror
        state.withLock { $0.running = clients }
        for number in 0..<clients {
            Thread.detachNewThread { [self] in
                run(number)
                state.withLock { $0.running -= 1 }
            }
        }
    }

    /// Waits for so many more right answers.
    func waitForRight(_ more: Int, _ deadline: Deadline = .patient) throws {
        let wanted = tally.right + more
        guard state.wait(deadline, for: { $0.tally.right >= wanted ? true : nil }) != nil else {
            throw Failure("no \(more) more right answers: \(tally)")
        }
    }

    /// Keeps clients from connecting while the relay is away.
    func holdBack(_ isHeldBack: Bool) { state.withLock { $0.isOpen = !isHeldBack } }

    /// Lets each client finish what it asks, and closes the connections.
    func stop(_ deadline: Deadline = .patient) throws -> Tally {
        state.withLock { $0.isStopping = true }
        guard let tally = state.wait(deadline, for: { $0.running == 0 ? $0.tally : nil }) else {
            throw Failure("a client waits for an answer that does not come: \(tally)")
        }
        return tally
    }

    private func run(_ number: Int) {
        var connection: Connection?
        var count = 0
        while state.withLock({ !$0.isStopping }) {
            count += 1
            if connection == nil {
                _ = state.wait(.long) { $0.isOpen || $0.isStopping ? true : nil }
                connection = try? mirror.connect()
            }
            guard let open = connection else {
                // The relay has just gone, and is not back; nothing to count.
                _ = state.wait(.after(0.02)) { $0.isStopping ? true : nil }
                continue
            }
            let asked = Asked(client: number, number: count)
            let result = ask(asked, on: open)
            if result.ends { connection = nil }
            state.withLock { result.count(&$0.tally) }
        }
    }

    private struct Result {
        var ends = true
        var count: (inout Tally) -> Void
    }

    private func ask(_ asked: Asked, on connection: Connection) -> Result {
        var response: Response?
        do {
            let body = asked.body
            let length = body.isEmpty ? [] : ["Content-Length: \(body.utf8.count)"]
            try connection.write(
                mirror.request(asked.method, asked.path, length, body: body))
            response = try connection.readResponse()
        } catch {
            return Result { $0.broken += 1 }
        }
        guard let response else { return Result { $0.broken += 1 } }
        let ends = !response.body.isWhole || response["Connection"] == "close"
        switch response.status {
        case 200:
            let expected = asked.answer
            if response.body.isWhole, response.body.bytes == expected {
                return Result(ends: ends) { $0.right += 1 }
            }
            if !response.body.isWhole, expected.starts(with: response.body.bytes) {
                return Result { $0.broken += 1 }
            }
            let start = String(decoding: response.body.bytes.prefix(80), as: UTF8.self)
            return Result { $0.wrong.append("\(asked.path) was answered by \(start)") }
        case 502, 504: return Result(ends: ends) { $0.refused[response.status, default: 0] += 1 }
        case 503 where Int(response["Retry-After"] ?? "") != nil:
            return Result(ends: ends) { $0.refused[503, default: 0] += 1 }
        default:
            return Result { $0.wrong.append("\(asked.path): \(response.head.startLine)") }
        }
    }

    // MARK: - The origin

    /// An origin that answers as `Load` expects it.
    ///
    /// - Parameters:
    ///   - path: of the unix socket to listen on instead of a port.
    ///   - seen: counts, for each request that changes something, how often it came.
    static func origin(
        unix path: String? = nil, _ seen: Signalled<[String: Int]> = Signalled([:])
    ) throws -> Origin {
        try Origin(unix: path) { visit in
            while let request = try visit.connection.readRequest(.long) {
                if request.method == "POST" {
                    seen.withLock { $0[request.target, default: 0] += 1 }
                }
                let bytes = Asked.answer(to: request.target, request.body.text)
                try visit.connection.write(Answer(200, bytes: bytes).bytes(to: request.method))
            }
        }
    }

    /// One request, which names itself.
    private struct Asked {
        let path: String
        let method: String
        let body: String

        init(client: Int, number: Int) {
            // Small ones, and now and then one that takes many messages of a session.
            let size = number % 8 == 0 ? 200_000 : number % 300
            path = "/load/\(client)/\(number)/\(size)/\(UInt64.random(in: 0 ... .max))"
            method = number % 3 == 0 ? "POST" : "GET"
            body =
                method == "POST"
                ? String(repeating: path + " ", count: number % 8 == 0 ? 2000 : 1) : ""
        }

        var answer: [UInt8] { Self.answer(to: path, body) }

        /// The path over and over, as long as it says, then the request's body.
        static func answer(to path: String, _ body: String) -> [UInt8] {
            let size = path.split(separator: "/").dropFirst(3).first.flatMap { Int($0) } ?? 0
            let once = Array((path + "\n").utf8)
            var bytes: [UInt8] = []
            bytes.reserveCapacity(size + once.count + body.utf8.count)
            repeat { bytes += once } while bytes.count < size
            return bytes + Array(body.utf8)
        }
    }
}

extension Program {
    /// How many descriptors the program has open. It must still run.
    func descriptorCount() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd").count
    }

    /// How many threads it has.
    func threadCount() throws -> Int {
        try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/task").count
    }

    /// Waits until it has no more descriptors and threads than these.
    func expectNoMore(
        descriptors: Int, threads: Int, _ deadline: Deadline = .patient
    ) throws {
        while true {
            let now = (try descriptorCount(), try threadCount())
            if now.0 <= descriptors, now.1 <= threads { return }
            if deadline.hasPassed {
                let open = try FileManager.default.contentsOfDirectory(atPath: "/proc/\(pid)/fd")
                    .map {
                        try FileManager.default.destinationOfSymbolicLink(
                            atPath: "/proc/\(pid)/fd/\($0)")
                    }
                throw Failure(
                    "\(name) has \(now.0) descriptors and \(now.1) threads, not \(descriptors) and"
                        + " \(threads): \(open)")
            }
            // Looking is all there is to do: nothing tells when another program closes.
            _ = Signalled(()).wait(.after(0.05)) { _ in Bool?.none }
        }
    }
}
