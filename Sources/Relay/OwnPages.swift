// The pages of the relay's own: the list of mirrors for a client, metrics and status for the
// operator.
//
// Called by: the workers.
// Waits for: the client taking the page, a few seconds at most.

import Program
import Wire

extension Relay {
    /// `GET /api/v1/mirrors`: what this client key may use, as JSON.
    func listMirrors(_ request: Asked, on connection: ClientConnection) -> ClientWorker.Step {
        var asked = request
        guard let head = request.head,
            let credential = Credentials.find(
                in: head.fields, role: .client, keys, &connection.credentials)
        else { return refuseKey(asked, on: connection, reason: "no valid key") }
        asked.key = credential.identity.id
        let user = credential.identity.user
        let mine = registry.mirrors(of: user)
            .filter {
                credential.identity.covers(user: user, name: $0.id.name)
                    && isKnown($0, by: connection.snapshot)
            }
            .sorted { $0.id.text < $1.id.text }
        let origin = connection.request?.client
        let authority = String(decoding: origin?.host ?? head.authority ?? [], as: UTF8.self)
        let scheme = origin?.isSecure == true ? "https" : "http"
        let prefix = String(decoding: origin?.prefix ?? [], as: UTF8.self)
        var json = JSONWriter()
        json.array { json in
            for mirror in mine {
                let presence = mirror.presence
                json.object { json in
                    json.member("name", mirror.id.name.text)
                    json.member("user", mirror.id.user.text)
                    json.member("state", presence.sessions > 0 ? "connected" : "disconnected")
                    json.member("sessions", presence.sessions)
                    json.key("since")
                    if let since = presence.since {
                        json.string(WallClock.text(secondsSince1970: since))
                    } else {
                        json.null()
                    }
                    json.member("address", "\(scheme)://\(authority)\(prefix)/m/\(mirror.id.text)/")
                }
            }
        }
        return page(
            json.bytes + [0x0A], on: connection, asked, mediaType: "application/json")
    }

    /// The listener for the operator: `/metrics`, `/status`, `/-/healthy`, `/-/ready`.
    func administer(_ asked: Asked, on connection: ClientConnection) -> ClientWorker.Step {
        let path = asked.head.map { String(decoding: $0.path.prefix(32), as: UTF8.self) } ?? ""
        switch path {
        case "/metrics":
            return page(metrics.all.text(), on: connection, asked, mediaType: Metrics.mediaType)
        case "/status", "/":
            return page(status(), on: connection, asked)
        case "/-/healthy": return page("ok\n", on: connection, asked)
        case "/-/ready":
            return isLeaving
                ? answer(.draining, on: connection, asked, reason: "draining")
                : page("ready\n", on: connection, asked)
        default:
            return answer(.noSuchPage, on: connection, asked, reason: "no such address")
        }
    }
}
