// Asks the system's resolver for the addresses of a name, and leaves it at the deadline.
//
// Called by: `dial`, before each connection; the agent's doctor.
// Waits for: the resolver, and before that for one of the lookups that may run at once.
// Hard: getaddrinfo(3) takes no deadline and cannot be stopped; it waits as long as resolv.conf(5),
// or a module of nsswitch.conf(5), lets it. So it runs on a thread of its own, which outlives the
// one who asked and ends when the resolver does. Their number is limited, so a resolver that hangs
// costs so many threads and no more; who comes then waits for his deadline, and nobody longer.

import Glibc
import Threads

/// Lookups of names. Thread-safe: all state is in monitors.
package final class Resolver: Sendable {
    package typealias Lookup =
        @Sendable (_ host: String, _ port: UInt16) throws(StreamError) -> [SocketAddress]

    /// The one of the program.
    package static let system = Resolver(maximumLookups: 32) { host, port throws(StreamError) in
        try SocketAddress.resolve(host: host, port: port)
    }

    private let maximumLookups: Int
    private let lookup: Lookup
    private let running = Monitor(0)

    package init(maximumLookups: Int, _ lookup: @escaping Lookup) {
        self.maximumLookups = maximumLookups
        self.lookup = lookup
    }

    /// The addresses of a host, in the order in which getaddrinfo(3) wants them tried.
    ///
    /// Blocks until the resolver has answered, or `deadline` has passed. One in figures is read at
    /// once.
    package func addresses(
        of host: String, port: UInt16, until deadline: Deadline
    ) throws(StreamError) -> [SocketAddress] {
        if let known = try? SocketAddress.resolve(host: host, port: port, numericOnly: true) {
            return known
        }
        let late = StreamError.nameUnknown("no answer from the resolver in time ('\(host)')")
        let isTaken = running.wait(until: deadline) { [maximumLookups] running -> Bool? in
            guard running < maximumLookups else { return nil }
            running += 1
            return true
        }
        if isTaken == nil { throw late }
        let answer = Monitor<Result<[SocketAddress], StreamError>?>(nil)
        do {
            try Thread.start(name: "resolver") { [self] in
                let result = Result { () throws(StreamError) in try lookup(host, port) }
                answer.withLock { $0 = result }
                answer.signal()
                endLookup()
            }
        } catch {
            endLookup()
            throw .exhausted(EAGAIN)
        }
        guard let result = answer.wait(until: deadline, { $0 }) else { throw late }
        return try result.get()
    }

    private func endLookup() {
        running.withLock { $0 -= 1 }
        running.signal()
    }
}
