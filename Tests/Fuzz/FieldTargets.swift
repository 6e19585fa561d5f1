// Values of fields and targets that are read further: paths mapped to and fro, who asked, upgrades.

import Program
import Streams
import Wire

/// What MappedFields asks of a request.
struct MirrorRequest {
    let prefix: [UInt8]
    let publicPrefix: [UInt8]
    let publicHost: ArraySlice<UInt8>?
}

/// What ClientOrigin asks of a connection.
struct ClientConnection {
    struct Stream {
        let isEncrypted = false
    }

    let peerAddress: String
    let isTrusted: Bool
    let stream = Stream()

    var peerNetwork: ClientNetwork { ClientNetwork(IPAddress(peerAddress)) }
}

private func bytes(_ text: String) -> ArraySlice<UInt8> { ArraySlice(text.utf8) }

private func text(_ bytes: some Collection<UInt8>) -> String {
    String(decoding: bytes, as: UTF8.self)
}

/// Location, Refresh and Set-Cookie, as they go from the origin through the agent to the client.
func mapped(_ value: [UInt8]) {
    // As a parsed field has it.
    guard !value.contains(where: \.isControl) else { return }
    let value = value[...]
    let relay = MappedFields(prefix: Array("/m/alice/prom".utf8), host: bytes("relay.test"))
    for map in [relay.location, relay.refresh, relay.cookie] {
        let once = map(value)
        let twice = map(once[...])
        promise(twice == once, "mapped '\(text(once))', again '\(text(twice))'")
        promise(!once.contains(where: \.isControl), "a control byte")
    }
    let location = relay.location(value)
    if namesAnotherHost(location[...]) {
        promise(location.elementsEqual(value), "another host: '\(text(location))'")
    } else if value.first == 0x2F {
        promise(location.starts(with: bytes("/m/alice/prom")), "'\(text(location))'")
    }
    // A cookie loses no attribute, and its value is the one that it had.
    let cookie = relay.cookie(value)
    let before = value.split(separator: 0x3B, omittingEmptySubsequences: false)
    let after = cookie.split(separator: 0x3B, omittingEmptySubsequences: false)
    promise(before.count == after.count && before[0] == after[0], "'\(text(cookie))'")

    for local in ["http://127.0.0.1:9090/base", "https://origin.test", "unix:/run/origin"] {
        guard let url = try? LocalURL.parse(local) else { fatalError(local) }
        for host in [nil, Array("origin.test".utf8)] {
            let agent = OriginPaths(url, host: host)
            let seen = agent.location(value, bytes("relay.test:8443"))
            promise(!seen.contains(where: \.isControl), "a control byte")
            if namesAnotherHost(seen) {
                promise(seen == value, "\(local): another host: '\(text(seen))'")
            }
            // A path of the client's, as the origin sees it, comes back as the client's.
            if value.first == 0x2F, !namesAnotherHost(value) {
                let path = agent.prefix + value
                promise(agent.location(path[...], nil).elementsEqual(value), "\(local): lost")
            }
            let cookie = agent.cookie(value)
            promise(cookie.prefix { $0 != 0x3B } == value.prefix { $0 != 0x3B }, "another cookie")
        }
    }
}

/// Whether a client would go to a host that the text names: browsers take a backslash for a slash.
private func namesAnotherHost(_ location: ArraySlice<UInt8>) -> Bool {
    let second = location.dropFirst().first
    return location.first == 0x2F && (second == 0x2F || second == 0x5C)
}

/// The head of a client's request: its route, and the client behind its proxies.
func route(_ input: [UInt8]) {
    guard let head = try? RequestHead.parse(input, 0..<input.count) else { return }
    guard let user = MirrorName("alice"), let name = MirrorName("prom") else { fatalError() }
    let hosts = ["prom.test": MirrorID(user: user, name: name)]
    for domain in [nil, "relay.test"] {
        let route = Route(head, agentPath: Array("/mirror".utf8), domain: domain, hosts: hosts)
        guard case .mirror(let id, let target, let prefix) = route else { continue }
        promise(MirrorID(text: id.text) == id, "another mirror")
        if !prefix.isEmpty { promise(prefix.elementsEqual(bytes("/m/\(id.text)")), "a prefix") }
        // What the origin sees is what came, byte for byte, and a target by itself.
        let path = prefix.isEmpty ? head.path : head.path.dropFirst(prefix.count)
        let query = head.query.map { [0x3F] + $0 } ?? []
        if target != [0x2A] {
            promise(target.elementsEqual((path.isEmpty ? [0x2F] : path) + query), "another target")
        }
        // RFC 9112 §3.2.4: the asterisk goes with OPTIONS only.
        promise(target != [0x2A] || head.methodIs("OPTIONS"), "an asterisk")
        var again: [UInt8] = []
        HeadWriter.requestLine(
            method: head.bytes[head.method], target: target[...], to: &again)
        HeadWriter.field("Host", "origin.test", to: &again)
        HeadWriter.end(to: &again)
        guard !head.methodIs("CONNECT") else { continue }
        let parsed = try? RequestHead.parse(
            again, 0..<again.count, limits: HeadLimits(maximumTargetBytes: .max))
        promise(parsed.map { $0.bytes[$0.target].elementsEqual(target) } == true, "no target")
    }
    origin(head.fields)
}

/// What a client writes to the left of what the proxies wrote changes nobody's mind.
private func origin(_ fields: Fields) {
    var trusted = TrustedProxies()
    trusted.ranges = ["10.0.0.0/8", "fd00::/8"].compactMap { AddressRange($0) }
    let stranger = ClientConnection(peerAddress: "192.0.2.1", isTrusted: false)
    let unbelieved = ClientOrigin(stranger, fields, trusted)
    promise(
        unbelieved.hops == ["192.0.2.1"] && unbelieved.host == nil && unbelieved.prefix.isEmpty
            && !unbelieved.isSecure, "a stranger is believed")

    let proxy = ClientConnection(peerAddress: "10.0.0.1", isTrusted: true)
    let known = ClientOrigin(proxy, fields, trusted)
    promise(IPAddress(known.address) != nil, "no address: '\(known.address)'")
    promise(known.network == ClientNetwork(IPAddress(known.address)), "limits of another address")
    promise(known.proxies.allSatisfy(trusted.contains), "a proxy that is none: \(known.proxies)")
    promise(!namesAnotherHost(known.prefix), "a prefix that is a host")
    promise(known.prefix.isEmpty || known.prefix.first == 0x2F, "a prefix that is no path")
    promise(known.host.map(isAuthority) != false, "a host that is none")
    var claimed = Array("X-Forwarded-For: 203.0.113.7, 10.1.1.1\r\n".utf8)
    for line in fields.lines where line.id == .xForwardedFor {
        HeadWriter.copy(line, from: fields, to: &claimed)
    }
    HeadWriter.end(to: &claimed)
    let limits = HeadLimits(maximumHeadBytes: .max, maximumFields: .max)
    guard let forged = try? Fields.parse(claimed, 0..<claimed.count, limits: limits) else {
        fatalError("lines that are none")
    }
    let misled = ClientOrigin(proxy, forged, trusted)
    if !trusted.contains(known.address) {
        promise(misled.hops == known.hops, "\(known.hops) is now \(misled.hops)")
    }
}

/// A request for an upgrade, and its answer behind it.
func upgrade(_ input: [UInt8]) {
    var scanner = HeadScanner()
    guard let end = try? scanner.end(in: input, 0..<input.count),
        let request = try? RequestHead.parse(input, 0..<end),
        let offer = UpgradeOffer(request, hasBody: false)
    else { return }
    var again: [UInt8] = []
    HeadWriter.requestLine(
        method: request.bytes[request.method], target: request.bytes[request.target], to: &again)
    HeadWriter.field("Host", Array(request.authority ?? []), to: &again)
    offer.append(to: &again)
    HeadWriter.end(to: &again)
    guard let passed = try? RequestHead.parse(again, 0..<again.count),
        let kept = UpgradeOffer(passed, hasBody: false)
    else { fatalError("an offer that is none: \(text(again))") }
    for refused in ["h2c", "http", "tls", "H2C", "HTTP/2.0", "TLS/1.3"] {
        promise(!passed.fields.contains(.upgrade, token: refused), "\(refused) is passed on")
    }
    guard let answer = try? ResponseHead.parse(input, end..<input.count) else { return }
    promise(offer.allows(answer) == kept.allows(answer), "another offer")
    if offer.allows(answer), answer.status == 101 {
        var lines: [UInt8] = []
        HeadWriter.statusLine(101, reason: "", to: &lines)
        answer.appendUpgrade(to: &lines)
        HeadWriter.end(to: &lines)
        guard let named = try? ResponseHead.parse(lines, 0..<lines.count) else {
            fatalError("no answer: \(text(lines))")
        }
        promise(offer.allows(named), "another upgrade")
    }
}
