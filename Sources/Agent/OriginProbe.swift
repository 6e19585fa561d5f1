// Asks an origin as a client behind the relay would, and, where it refuses that, in other ways: so
// the doctor can say which setting is missing.
//
// Called by: Doctor.
// Waits for: the origin, each time within the timeout.

import Connections
import Program
import Streams
import Threads
import Wire

struct OriginProbe {
    let mirror: Mirror
    /// The relay's name, as clients ask for it.
    let publicHost: String
    let timeout: Duration

    /// What is wrong, and what to do.
    struct Problem {
        let what: String
        let advice: String
    }

    /// Asks for the first page.
    ///
    /// - Parameters:
    ///   - isForwarded: with the fields by which the relay says who asks.
    ///   - host: instead of what the origin is to see.
    /// - Returns: the status.
    func ask(isForwarded: Bool = true, host: String? = nil) throws(OriginError) -> Int {
        try answer(isForwarded: isForwarded, host: host).status
    }

    private func answer(
        isForwarded: Bool, host: String?
    ) throws(OriginError) -> (status: Int, ownAddress: String) {
        let connection = try mirror.origin.connect()
        do {
            let (head, _) = try headOfAnswer(
                to: request(isForwarded: isForwarded, host: host), on: connection.stream,
                until: .after(timeout))
            return (head.status, connection.stream.localAddress.host)
        } catch let error as HeadError {
            throw OriginError(code: .httpProtocolError, reason: error.reason)
        } catch let error as StreamError {
            throw OriginError(asking: error)
        } catch {
            throw OriginError(code: .connectionTerminated, reason: "\(error)")
        }
    }

    private func request(isForwarded: Bool, host: String?) -> [UInt8] {
        var bytes: [UInt8] = []
        HeadWriter.requestLine(
            method: "GET", target: (mirror.paths.prefix + Array("/".utf8))[...], to: &bytes)
        let seen = host.map { Array($0.utf8) } ?? mirror.paths.host ?? Array(publicHost.utf8)
        HeadWriter.field("Host", seen, to: &bytes)
        HeadWriter.field("User-Agent", "magicmirror/\(Version.number)", to: &bytes)
        if isForwarded {
            // An address for documentation (RFC 5737): nobody's.
            HeadWriter.field("X-Forwarded-For", text: "192.0.2.1", to: &bytes)
            HeadWriter.field("X-Forwarded-Proto", text: "https", to: &bytes)
            HeadWriter.field("X-Forwarded-Host", publicHost, to: &bytes)
            HeadWriter.field(
                "Forwarded", "for=192.0.2.1;proto=https;host=\"\(publicHost)\"", to: &bytes)
            HeadWriter.field("Via", text: "1.1 magicmirrord", to: &bytes)
        }
        HeadWriter.field("Connection", text: "close", to: &bytes)
        HeadWriter.end(to: &bytes)
        return bytes
    }

    /// Why an origin answers so, where a setting would change it; nil where all is well.
    func problem(with status: Int, _ local: LocalURL) throws(OriginError) -> Problem? {
        if status >= 500 {
            return Problem(what: "answers \(status)", advice: "what does its own log say?")
        }
        // 404: an origin of several names may not know this one.
        guard [400, 403, 404, 421].contains(status) else { return nil }
        let direct = try answer(isForwarded: false, host: nil)
        if direct.status < 400 || (status == 400 && direct.status == 401) {
            return Problem(
                what: "answers \(status) where a proxy forwards, but \(direct.status) else",
                advice: "let it trust \(direct.ownAddress) as a proxy; Home Assistant: in"
                    + " configuration.yaml under 'http:' set 'use_x_forwarded_for: true' and"
                    + " 'trusted_proxies: [\(direct.ownAddress)]'")
        }
        if mirror.paths.host == nil {
            let own = try ask(host: local.hostField)
            if own < 400 || own == 401 {
                return Problem(
                    what: "answers \(status) to 'Host: \(publicHost)', but \(own) to its own name",
                    advice: "set --host-header local, or let it know the public name")
            }
        }
        // It needs a sign-on, or has no first page.
        if status == 403 || status == 404 { return nil }
        return Problem(what: "answers \(status)", advice: "what does its own log say?")
    }
}
