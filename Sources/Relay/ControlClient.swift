// The asking end of the control socket.
//
// Called by: magicmirrorctl(8).
// Waits for: the relay's answer, ten seconds at most.

import Connections
import Program
import Streams
import Threads
import Wire

/// What a verb asks of a running relay.
package struct ControlRequest: Sendable, Equatable {
    let method: String
    let target: String

    static let status = ControlRequest(method: "GET", target: "/status")
    static let mirrors = ControlRequest(method: "GET", target: "/mirrors")
    static let drain = ControlRequest(method: "POST", target: "/drain")
    static let reload = ControlRequest(method: "POST", target: "/reload")

    static func disconnect(_ mirror: MirrorID) -> ControlRequest {
        ControlRequest(
            method: "POST", target: "/disconnect?mirror=" + PercentEncoding.encode(mirror.text))
    }
}

/// Why there is no answer, for the operator.
package struct ControlError: Error {
    package let message: String
}

package enum ControlClient {
    private static let timeout = Duration.seconds(10)
    /// A relay with very many mirrors.
    private static let maximumBodyBytes = 64 * 1024 * 1024

    /// Asks once.
    ///
    /// - Parameter wantsJSON: the answer for programs instead of that for people.
    /// - Returns: the answer's body, and whether the relay has done what was asked.
    package static func ask(
        _ request: ControlRequest, socket path: String, wantsJSON: Bool
    ) throws(ControlError) -> (isDone: Bool, body: [UInt8]) {
        let deadline = Deadline.after(timeout)
        let stream: ByteStream
        do throws(StreamError) {
            stream = ByteStream(try connect(to: .unix(path: path), until: deadline))
        } catch {
            let remedy =
                error == .refused
                ? " (is magicmirrord running, with 'control-socket = \(path)'?)"
                : " (its owner and its group may connect)"
            throw ControlError(message: "cannot connect to '\(path)': \(error)\(remedy)")
        }
        do {
            try stream.append(bytes(of: request, wantsJSON: wantsJSON))
            try stream.send(until: deadline)
            return try readAnswer(stream, until: deadline)
        } catch let error as ControlError {
            throw error
        } catch let error as HeadError {
            throw ControlError(message: "broken answer from '\(path)': \(error.reason)")
        } catch {
            throw ControlError(message: "no answer from '\(path)': \(error)")
        }
    }

    private static func bytes(of request: ControlRequest, wantsJSON: Bool) -> [UInt8] {
        var out: [UInt8] = []
        HeadWriter.requestLine(
            method: Array(request.method.utf8)[...], target: Array(request.target.utf8)[...],
            to: &out)
        HeadWriter.field("Host", text: "localhost", to: &out)
        HeadWriter.field(
            "Accept", text: wantsJSON ? "application/json" : "text/plain", to: &out)
        HeadWriter.field("Content-Length", 0, to: &out)
        HeadWriter.field("Connection", text: "close", to: &out)
        HeadWriter.end(to: &out)
        return out
    }

    private static func readAnswer(
        _ stream: ByteStream, until deadline: Deadline
    ) throws -> (isDone: Bool, body: [UInt8]) {
        var input = InputBuffer()
        var scanner = HeadScanner()
        while true {
            if let end = try scanner.end(in: input.bytes, input.range, limits: HeadLimits()) {
                let head = try ResponseHead.parse(input.bytes, input.range.lowerBound..<end)
                input.consume(to: end)
                guard case .length(let length) = try head.framing(requestMethodIsHead: false),
                    length <= maximumBodyBytes
                else {
                    throw ControlError(message: "the relay's answer has no length, or too much")
                }
                while input.count < length { try fill(&input, stream, until: deadline) }
                let start = input.range.lowerBound
                return (head.status == 200, Array(input.bytes[start..<start + length]))
            }
            try fill(&input, stream, until: deadline)
        }
    }

    private static func fill(
        _ input: inout InputBuffer, _ stream: ByteStream, until deadline: Deadline
    ) throws(StreamError) {
        if try input.fill(from: stream, room: 64 * 1024, until: deadline) == .end { throw .closed }
    }
}
