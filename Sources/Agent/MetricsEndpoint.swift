// Serves /metrics for Prometheus, on this machine only.
//
// Called by: AgentProgram, which gives it the thread `metrics`.
// Waits for: a connection; then for its request and for its taking the answer, both within one
// deadline. It serves one connection at a time: a scrape is rare and short.

import Connections
import Program
import Streams
import Threads
import Wire

struct MetricsEndpoint: Sendable {
    let listener: Listener
    let metrics: Metrics

    /// For a whole conversation.
    private static let timeout = Duration.seconds(5)
    private static let limits = HeadLimits(
        maximumHeadBytes: 8 * 1024, maximumFields: 64, maximumTargetBytes: 1024)

    /// Serves as long as the program runs.
    func run() -> Never {
        // Only there to be waited for: a pause where descriptors have run out.
        let pause = Monitor(())
        while true {
            do throws(StreamError) {
                if let socket = try listener.accept(until: .distantFuture) {
                    serve(ByteStream(socket))
                }
            } catch {
                _ = pause.wait(until: .after(seconds: 1)) { _ -> Bool? in nil }
            }
        }
    }

    private func serve(_ stream: ByteStream) {
        let deadline = Deadline.after(MetricsEndpoint.timeout)
        // Whoever goes away, or takes too long, gets no answer.
        guard let response = try? respond(to: stream, until: deadline) else { return }
        try? stream.append(response)
        try? stream.send(until: deadline)
        stream.end()
    }

    private func respond(
        to stream: ByteStream, until deadline: Deadline
    ) throws(StreamError) -> [UInt8]? {
        var input = InputBuffer()
        var scanner = HeadScanner()
        while true {
            do throws(HeadError) {
                if let end = try scanner.end(
                    in: input.bytes, input.range, limits: MetricsEndpoint.limits)
                {
                    return response(
                        to: try RequestHead.parse(
                            input.bytes, input.range.lowerBound..<end,
                            limits: MetricsEndpoint.limits))
                }
            } catch {
                return MetricsEndpoint.response(400, "Bad Request", error.reason)
            }
            if try input.fill(from: stream, room: 4096, until: deadline) == .end { return nil }
        }
    }

    private func response(to head: RequestHead) -> [UInt8] {
        guard head.methodIs("GET") || head.methodIs("HEAD") else {
            return MetricsEndpoint.response(405, "Method Not Allowed", "GET and HEAD only")
        }
        guard head.path.elementsEqual("/metrics".utf8) else {
            return MetricsEndpoint.response(404, "Not Found", "see /metrics")
        }
        return MetricsEndpoint.response(
            200, "OK", metrics.text(), Metrics.mediaType, isHead: head.methodIs("HEAD"))
    }

    private static func response(
        _ status: Int, _ phrase: StaticString, _ text: String
    ) -> [UInt8] {
        response(status, phrase, Array((text + "\n").utf8), "text/plain; charset=utf-8")
    }

    private static func response(
        _ status: Int, _ phrase: StaticString, _ body: [UInt8], _ mediaType: StaticString,
        isHead: Bool = false
    ) -> [UInt8] {
        var out: [UInt8] = []
        HeadWriter.statusLine(status, reason: phrase, to: &out)
        HeadWriter.field("Content-Type", text: mediaType, to: &out)
        HeadWriter.field("Content-Length", body.count, to: &out)
        if status == 405 { HeadWriter.field("Allow", text: "GET, HEAD", to: &out) }
        HeadWriter.field("Connection", text: "close", to: &out)
        HeadWriter.end(to: &out)
        return isHead ? out : out + body
    }
}
