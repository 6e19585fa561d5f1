// What magicmirrorctl(8) asks of a running relay, over the control socket.
//
// Called by: the workers, for connections of that socket.
// Waits for: the disk, for `reload`; the caller taking the answer, a few seconds at most.
// Hard: only here a request changes the relay. There is no key: the file mode of the socket says who
// may connect, and nothing of this is served anywhere else.

import Program
import Wire

/// An answer in both of its forms.
private struct ControlAnswer {
    var status = 200
    /// For people.
    let text: String
    /// For programs.
    let json: [UInt8]

    init(text: String, _ write: (inout JSONWriter) -> Void) {
        self.text = text
        var json = JSONWriter()
        write(&json)
        self.json = json.bytes + [0x0A]
    }

    init(status: Int, problem detail: String) {
        self.init(text: detail + "\n") { json in
            json.object { json in
                json.member("type", "about:blank")
                json.member("title", reasonPhrase(status).description)
                json.member("status", status)
                json.member("detail", detail)
            }
        }
        self.status = status
    }
}

extension Relay {
    /// Does what a request on the control socket asks for.
    func control(_ asked: Asked, on connection: ClientConnection) -> ClientWorker.Step {
        guard let head = asked.head else { return .close }
        let answer: ControlAnswer
        var stops = false
        switch String(
            decoding: head.bytes[head.method] + [0x20] + head.path.prefix(32), as: UTF8.self)
        {
        case "GET /status": answer = showStatus()
        case "GET /mirrors": answer = showMirrors()
        case "POST /disconnect": answer = disconnect(head)
        case "POST /reload": answer = showReload()
        case "POST /drain":
            answer = showDrain()
            stops = true
        default:
            answer = ControlAnswer(
                status: 404, problem: "this relay knows no such order (is it of another version?)")
        }
        let wantsText = head.fields.contains(.accept, token: "text/plain")
        let step = reply(
            answer.status, wantsText ? Array(answer.text.utf8) : answer.json, on: connection, asked,
            mediaType: wantsText
                ? "text/plain; charset=utf-8"
                : answer.status == 200 ? "application/json" : "application/problem+json")
        // The answer first: an idle relay is gone a moment later.
        if stops { beginDrain() }
        return step
    }

    // MARK: - What there is

    private func showStatus() -> ControlAnswer {
        ControlAnswer(text: status()) { json in
            json.object { json in
                json.member("version", Version.number)
                json.member("state", isLeaving ? "draining" : "serving")
                json.member("since", WallClock.text(secondsSince1970: startTime))
                json.key("addresses")
                json.array { json in for address in addresses { json.string(address) } }
                json.member("connections", metrics.connections.current)
                json.member("parked", parkingLot.count)
                json.member("exchanges", metrics.exchangesInFlight.current)
                json.member("sessions", metrics.sessions.current)
                json.member("workers", limits.workers)
                json.member("idle_workers", idleWorkers)
                json.member("keys", keys.keyCount)
            }
        }
    }

    /// The same for people; also a page of the admin listener.
    func status() -> String {
        let since = WallClock.text(secondsSince1970: startTime)
        return aligned([
            ["version", Version.number],
            ["state", isLeaving ? "draining" : "serving"],
            ["since", since],
            ["addresses", addresses.joined(separator: " ")],
            ["connections", "\(metrics.connections.current), \(parkingLot.count) at rest"],
            ["exchanges", "\(metrics.exchangesInFlight.current) in flight"],
            ["sessions", "\(metrics.sessions.current)"],
            ["workers", "\(limits.workers), \(idleWorkers) idle"],
            ["keys", "\(keys.keyCount)"],
        ])
    }

    /// Those with an agent, and those that could have one.
    private var shownMirrors: [Mirror] {
        let snapshot = snapshot
        return registry.all.filter { $0.presence.sessions > 0 || isKnown($0, by: snapshot) }
            .sorted { $0.id.text < $1.id.text }
    }

    private func showMirrors() -> ControlAnswer {
        let mirrors = shownMirrors
        let publicMirrors = snapshot.publicMirrors
        return ControlAnswer(text: table(of: mirrors)) { json in
            json.array { json in
                for mirror in mirrors {
                    let members = mirror.members
                    json.object { json in
                        json.member("user", mirror.id.user.text)
                        json.member("name", mirror.id.name.text)
                        json.member("state", members.isEmpty ? "disconnected" : "connected")
                        json.member("access", publicMirrors.contains(mirror.id) ? "public" : "key")
                        json.member("exchanges", mirror.inFlight)
                        json.key("sessions")
                        json.array { json in
                            for member in members {
                                json.object { json in
                                    json.member(
                                        "since", WallClock.text(secondsSince1970: member.since))
                                    json.member("key", member.key.id)
                                    json.member("agent", member.session.peer.program)
                                    json.member("protocol", member.session.version.rawValue)
                                    json.member("exchanges", member.inFlight)
                                    json.member("draining", member.isDraining)
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// A line for each session, and one for each mirror without.
    private func table(of mirrors: [Mirror]) -> String {
        var rows = [["MIRROR", "STATE", "SINCE", "EXCHANGES", "KEY", "PROTOCOL", "AGENT"]]
        for mirror in mirrors {
            let members = mirror.members
            if members.isEmpty {
                rows.append([mirror.id.text, "disconnected", "-", "0", "-", "-", "-"])
            }
            // What an agent says of itself is printable ASCII: Settings takes nothing else.
            rows += members.map { member in
                [
                    mirror.id.text, member.isDraining ? "draining" : "connected",
                    WallClock.text(secondsSince1970: member.since), "\(member.inFlight)",
                    member.key.id, member.session.version.rawValue,
                    member.session.peer.program.isEmpty ? "-" : member.session.peer.program,
                ]
            }
        }
        return aligned(rows)
    }

    // MARK: - Orders

    /// Closes the sessions of a mirror. Its agents come back, unless their key has gone.
    private func disconnect(_ head: RequestHead) -> ControlAnswer {
        let name = PercentEncoding.queryValue("mirror", in: head.query ?? []) ?? []
        guard let id = MirrorID(text: String(decoding: name, as: UTF8.self)) else {
            return ControlAnswer(status: 400, problem: "the parameter 'mirror' is not USER/NAME")
        }
        let sessions = registry.find(id)?.sessions ?? []
        guard !sessions.isEmpty else {
            return ControlAnswer(
                status: 404, problem: "no agent of '\(id.text)' is connected (see 'mirrors')")
        }
        for (session, _) in sessions { session.close(.disconnected) }
        journal.info("agents disconnected by the operator") {
            $0.field("MIRROR", id.text)
            $0.field("SESSIONS", sessions.count)
        }
        return ControlAnswer(
            text: "mirror '\(id.text)': \(sessions.count) session(s) disconnected\n"
        ) { json in
            json.object { json in
                json.member("mirror", id.text)
                json.member("sessions", sessions.count)
            }
        }
    }

    private func showDrain() -> ControlAnswer {
        let running = metrics.exchangesInFlight.current
        return ControlAnswer(text: "draining, \(running) exchange(s) in flight\n") { json in
            json.object { json in
                json.member("state", "draining")
                json.member("exchanges", running)
            }
        }
    }

    private func showReload() -> ControlAnswer {
        switch reload() {
        case .success(let count):
            return ControlAnswer(text: "reloaded, \(count) key(s)\n") { json in
                json.object { json in json.member("keys", count) }
            }
        case .failure(let error):
            return ControlAnswer(status: 500, problem: error.line(program: "magicmirrord"))
        }
    }
}
