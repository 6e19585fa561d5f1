// What a program writes to one of its outputs, read by a thread of its own until the end.
//
// Lines can be waited for while the program runs. Bytes are kept as they came, since an output may
// also be the body of an answer.

import Foundation

final class Capture: Sendable {
    private struct State {
        var bytes: [UInt8] = []
        var lines: [String] = []
        var splitUpTo = 0
        var ended = false

        mutating func split() {
            while let end = bytes[splitUpTo...].firstIndex(of: UInt8(ascii: "\n")) {
                lines.append(String(decoding: bytes[splitUpTo..<end], as: UTF8.self))
                splitUpTo = end + 1
            }
        }
    }

    private let state = Signalled(State())

    /// Takes over `descriptor`.
    init(reading descriptor: Int32) {
        let state = self.state
        Thread.detachNewThread {
            var buffer = [UInt8](repeating: 0, count: 64 * 1024)
            while true {
                let count = read(descriptor, &buffer, buffer.count)
                if count < 0 && errno == EINTR { continue }
                if count <= 0 { break }
                state.withLock { $0.bytes += buffer[..<count] }
            }
            close(descriptor)
            state.withLock { $0.ended = true }
        }
    }

    var lines: [String] {
        state.withLock {
            $0.split()
            return $0.lines
        }
    }

    /// Waits for the output to end, and returns all of it.
    func all(_ deadline: Deadline = .patient) throws -> [UInt8] {
        guard let bytes = state.wait(deadline, for: { $0.ended ? $0.bytes : nil }) else {
            throw Failure("the output was not closed in time")
        }
        return bytes
    }

    /// Waits for a line that `matches`, looking at those from number `start` on.
    func line(
        from start: Int = 0, _ deadline: Deadline = .patient, where matches: (String) -> Bool
    ) -> String? {
        var next = start
        let found = state.wait(deadline) { state -> String?? in
            state.split()
            while next < state.lines.count {
                next += 1
                if matches(state.lines[next - 1]) { return .some(state.lines[next - 1]) }
            }
            return state.ended ? .some(nil) : nil
        }
        return found ?? nil
    }
}
