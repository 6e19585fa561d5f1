// Which mirror, or which page of the relay's own, a request is for.
//
// Called by: the workers, for each request.
// Waits for: nothing.
// Hard: the target that the origin sees is cut out of the one that came, byte for byte. Nothing is
// decoded or normalised, so the origin and its agent's policy judge what the client wrote.

import Wire

/// A mirror's full name: `USER/NAME`.
struct MirrorID: Hashable, Sendable {
    let user: MirrorName
    let name: MirrorName

    var text: String { "\(user)/\(name)" }
}

extension MirrorID {
    /// From `USER/NAME`.
    init?(text: String) {
        let parts = text.split(separator: "/", omittingEmptySubsequences: false)
        guard parts.count == 2, let user = MirrorName(String(parts[0])),
            let name = MirrorName(String(parts[1]))
        else { return nil }
        self.init(user: user, name: name)
    }
}

enum Route {
    case healthy
    case ready
    case mirrorList
    case agent
    /// `target` is what the origin sees; `prefix` what stood before it (`/m/USER/NAME`, or nothing).
    case mirror(MirrorID, target: ArraySlice<UInt8>, prefix: ArraySlice<UInt8>)
    case unknown

    private static let mirrorPrefix = Array("/m/".utf8)

    /// - Parameter hosts: mirrors by host name, in lower case.
    init(
        _ head: RequestHead, agentPath: [UInt8], domain: String?, hosts: [String: MirrorID]
    ) {
        let path = head.path
        // The relay's own host names have the relay's own paths; a mirror's host has none of them.
        if domain != nil || !hosts.isEmpty,
            let id = Route.mirror(byHost: head, domain: domain, hosts: hosts)
        {
            self = .mirror(id, target: Route.target(of: head, from: path.startIndex), prefix: [])
            return
        }
        if path.starts(with: Route.mirrorPrefix) {
            self = Route.mirror(byPath: head, path)
        } else if path.elementsEqual(agentPath) {
            self = .agent
        } else {
            switch String(decoding: path.prefix(32), as: UTF8.self) {
            case "/-/healthy": self = .healthy
            case "/-/ready": self = .ready
            case "/api/v1/mirrors": self = .mirrorList
            default: self = .unknown
            }
        }
    }

    private static func mirror(byPath head: RequestHead, _ path: ArraySlice<UInt8>) -> Route {
        let slash = UInt8(ascii: "/")
        let userStart = path.startIndex + mirrorPrefix.count
        guard let userEnd = path[userStart...].firstIndex(of: slash) else { return .unknown }
        let nameEnd = path[(userEnd + 1)...].firstIndex(of: slash) ?? path.endIndex
        guard let user = MirrorName(bytes: path[userStart..<userEnd]),
            let name = MirrorName(bytes: path[(userEnd + 1)..<nameEnd])
        else { return .unknown }
        return .mirror(
            MirrorID(user: user, name: name), target: target(of: head, from: nameEnd),
            prefix: path[..<nameEnd])
    }

    /// The path from `start` on and the query, in origin form; `*` stays.
    private static func target(of head: RequestHead, from start: Int) -> ArraySlice<UInt8> {
        // RFC 9112 §3.2.4: OPTIONS for a URL without a path asks about the whole server.
        if head.form == .asterisk
            || head.path.isEmpty && head.query == nil && head.methodIs("OPTIONS")
        {
            return [UInt8(ascii: "*")]
        }
        let target = head.bytes[start..<(head.query?.endIndex ?? head.path.endIndex)]
        return target.first == UInt8(ascii: "/") ? target : [UInt8(ascii: "/")] + target
    }

    private static func mirror(
        byHost head: RequestHead, domain: String?, hosts: [String: MirrorID]
    ) -> MirrorID? {
        guard let authority = head.authority else { return nil }
        // Without the port; an IPv6 address in brackets is nobody's name. A name may end with the
        // root's dot (RFC 1034 §3.1).
        var name = authority.prefix { $0 != UInt8(ascii: ":") }
        if name.last == UInt8(ascii: ".") { name.removeLast() }
        let host = String(decoding: name, as: UTF8.self).lowercased()
        if let id = hosts[host] { return id }
        guard let domain, host.hasSuffix("." + domain) else { return nil }
        let label = Array(host.utf8.dropLast(domain.utf8.count + 1))
        // A name has no `--` inside, so there is one place to divide.
        for index in label.indices.dropFirst() where index + 2 < label.count {
            if label[index] == 0x2D, label[index + 1] == 0x2D,
                let name = MirrorName(bytes: label[..<index]),
                let user = MirrorName(bytes: label[(index + 2)...])
            {
                return MirrorID(user: user, name: name)
            }
        }
        return nil
    }
}
