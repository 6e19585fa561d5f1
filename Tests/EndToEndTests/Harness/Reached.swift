// What the programs count of limits that were reached.

import Foundation

/// A program that counts, and the line of its configuration that lets a test ask it.
enum Counting {
    case relay
    case agent

    fileprivate var socket: String { self == .relay ? "relay.metrics" : "agent.metrics" }

    fileprivate var family: String {
        self == .relay
            ? "magicmirror_limits_reached_total" : "magicmirror_agent_limits_reached_total"
    }

    func line(_ stage: Stage) -> String {
        let key = self == .relay ? "admin-listen" : "metrics-listen"
        return "\(key) = unix:\(stage.path(socket))\n"
    }
}

extension Stage {
    /// How often each limit was reached, by its key.
    func reached(_ program: Counting) throws -> [String: Int] {
        let page = try curl("http://a/metrics", ["--unix-socket", path(program.socket)]).text
        var counts: [String: Int] = [:]
        for line in page.split(separator: "\n") where line.hasPrefix(program.family + "{") {
            let parts = line.split(separator: "\"")
            counts[String(parts[1])] = Int(parts[2].dropFirst(2))
        }
        return counts
    }

    /// Waits until this limit was reached so many times.
    func expectReached(_ limit: String, _ count: Int = 1, by program: Counting = .relay) throws {
        let deadline = Deadline.patient
        while !deadline.hasPassed {
            if try reached(program)[limit] == count { return }
        }
        throw Failure("'\(limit)' was not reached \(count) times: \(try reached(program))")
    }
}
