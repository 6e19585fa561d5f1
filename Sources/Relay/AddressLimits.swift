// What the clients behind one address may have: so many exchanges at once, so many wrong keys in a
// minute.
//
// Called by: the workers, for each request to a mirror and for each wrong key.
// Waits for: nothing.
// Hard: an attacker chooses how many addresses there are. The first table has an entry for each
// address with an exchange, so `maximum-connections` bounds it; the second forgets everything each
// minute and takes no more than so many addresses: who has more of them than that is not held.

import Program
import Threads
import Wire

/// An address, as far as clients are told apart by it.
///
/// Of IPv6 the network of 64 bits: whoever has one address there has all of them (RFC 4291 §2.5.1).
package struct ClientNetwork: Hashable, Sendable {
    private let bits: UInt64
    /// Bytes of the address; 0: it has none, as the peer of a unix socket.
    private let addressBytes: Int

    package init(_ address: IPAddress?) {
        addressBytes = address?.bytes.count ?? 0
        bits = address?.bytes.prefix(8).reduce(0) { $0 << 8 | UInt64($1) } ?? 0
    }
}

/// The limits of each address. Thread-safe: all state is in one monitor.
package final class AddressLimits: Sendable {
    private struct State: Sendable {
        /// Entries of no exchange are taken out.
        var exchanges: [ClientNetwork: Int] = [:]
        var wrongKeys: [ClientNetwork: Int] = [:]
        /// When the wrong keys are forgotten.
        var windowEnd = Deadline.now
    }

    package static let window = Duration.seconds(60)
    /// Addresses whose wrong keys are counted at once.
    package static let maximumAddresses = 16_384

    private let state = Monitor(State())

    package init() {}

    /// Counts an exchange, until `exchangeEnds`.
    ///
    /// - Parameter maximum: 0: no limit.
    /// - Returns: false, and it is not counted, where the address has as many as it may.
    package func exchangeBegins(_ client: ClientNetwork, atMost maximum: Int) -> Bool {
        state.withLock { state in
            let count = state.exchanges[client, default: 0]
            if maximum > 0, count >= maximum { return false }
            state.exchanges[client] = count + 1
            return true
        }
    }

    package func exchangeEnds(_ client: ClientNetwork) {
        state.withLock { state in
            guard let count = state.exchanges[client] else { return }
            state.exchanges[client] = count > 1 ? count - 1 : nil
        }
    }

    /// Counts a wrong key.
    ///
    /// - Parameters:
    ///   - maximum: in a minute; 0: no limit.
    ///   - now: tests set it.
    /// - Returns: nil, or where the address has shown too many: the seconds until they are forgotten.
    package func wrongKeyComes(
        from client: ClientNetwork, atMost maximum: Int, now: Deadline = .now
    ) -> Int? {
        if maximum == 0 { return nil }
        return state.withLock { state in
            if state.windowEnd <= now {
                state.wrongKeys.removeAll(keepingCapacity: true)
                state.windowEnd = now + AddressLimits.window.nanoseconds
            }
            let count = state.wrongKeys[client]
            if count == nil, state.wrongKeys.count >= AddressLimits.maximumAddresses { return nil }
            if let count, count >= maximum {
                return (state.windowEnd.nanoseconds - now.nanoseconds) / 1_000_000_000 + 1
            }
            state.wrongKeys[client] = (count ?? 0) + 1
            return nil
        }
    }

    /// How many addresses the tables hold.
    package var count: (exchanging: Int, withWrongKeys: Int) {
        state.withLock { ($0.exchanges.count, $0.wrongKeys.count) }
    }
}
