// What can go wrong between this program and a socket, as far as callers act on it differently.

import Glibc

/// Errors of this target. Bugs of ours (EBADF, EFAULT) trap instead.
package enum StreamError: Error, Equatable {
    /// The deadline passed.
    case timedOut
    /// The peer closed, or reset, the connection.
    case closed
    /// Nobody listens at the address (ECONNREFUSED, a unix socket without a server).
    case refused
    /// No route, or the network is down: what the system said.
    case unreachable(Int32)
    /// The name has no address: what the resolver said.
    case nameUnknown(String)
    /// The peer's certificate was refused: why.
    case certificate(String)
    /// The peer does not speak TLS as we do: what OpenSSL said.
    case tls(String)
    /// Descriptors or memory have run out: the number.
    case exhausted(Int32)
    /// Anything else, with the name of the call.
    case failed(call: StaticString, Int32)

    package static func == (left: StreamError, right: StreamError) -> Bool {
        left.description == right.description
    }

    /// The case for an errno value of `call`.
    init(_ number: Int32, _ call: StaticString) {
        switch number {
        case ECONNREFUSED, ENOENT: self = .refused
        case ECONNRESET, EPIPE, ENOTCONN, ECONNABORTED: self = .closed
        case ETIMEDOUT: self = .timedOut
        case ENETUNREACH, EHOSTUNREACH, ENETDOWN, EHOSTDOWN, EADDRNOTAVAIL, EACCES:
            self = .unreachable(number)
        case EMFILE, ENFILE, ENOBUFS, ENOMEM: self = .exhausted(number)
        case EBADF, EFAULT, ENOTSOCK: fatalError("\(call): errno \(number)")
        default: self = .failed(call: call, number)
        }
    }
}

extension StreamError: CustomStringConvertible {
    package var description: String {
        switch self {
        case .timedOut: "timed out"
        case .closed: "connection closed by the peer"
        case .refused: "connection refused"
        case .unreachable(let number): describe(errno: number)
        case .nameUnknown(let reason): reason
        case .certificate(let reason): "certificate refused: \(reason)"
        case .tls(let reason): "tls: \(reason)"
        case .exhausted(let number): describe(errno: number)
        case .failed(let call, let number): "\(call): \(describe(errno: number))"
        }
    }
}

/// The system's words for an errno value.
package func describe(errno number: Int32) -> String {
    // strerror(3) gives a constant string for every known number on glibc.
    String(cString: strerror(number))
}
