// Which upgrades pass to an origin, and which answers to them are answers (RFC 9110 §7.8).
//
// Called by: the relay for what its clients send, the agent for what the relay sends; both again
// for the answer.
// Hard: what is passed on after the answer is raw bytes, which no policy has seen. So HTTP itself
// must not be what they carry.

/// The protocols that a request asks to switch to.
package struct UpgradeOffer: Sendable {
    /// `NAME` or `NAME/VERSION`; at least one.
    private let protocols: [String]

    /// These would carry further requests past the agent's policy: HTTP in another version
    /// (RFC 9113 §3.1 deprecates `h2c`), and TLS with HTTP inside (RFC 2817).
    private static let refused = ["h2c", "http", "tls"]

    /// Nil where a request asks for nothing that is passed on. Then its Upgrade field is ignored, as
    /// any server may do: in HTTP/1.0, where Connection does not list it, beside a body.
    package init?(_ head: RequestHead, hasBody: Bool) {
        guard head.fields.present.contains(.upgrade), head.minorVersion > 0, !hasBody,
            head.fields.contains(.connection, token: "upgrade")
        else { return nil }
        protocols = head.fields.upgradeElements.filter { element in
            let name = element.prefix { $0 != "/" }.lowercased()
            return !name.isEmpty && !Self.refused.contains(name)
                && element.utf8.allSatisfy { $0.isTokenCharacter || $0 == 0x2F }
        }
        if protocols.isEmpty { return nil }
    }

    /// Whether a 101 answer switches to what was asked for, and to nothing else.
    package func allows(_ head: ResponseHead) -> Bool {
        let chosen = head.fields.upgradeElements.map { $0.lowercased() }
        let offered = protocols.map { $0.lowercased() }
        return !chosen.isEmpty && chosen.allSatisfy(offered.contains)
    }

    /// Appends the fields that ask for the upgrade.
    package func append(to out: inout [UInt8]) {
        HeadWriter.upgrade(to: protocols, &out)
    }
}

extension ResponseHead {
    /// Appends the fields with which 101 names what it switches to, and 426 what it wants; else
    /// nothing, for then they belong to the connection that the answer came on.
    package func appendUpgrade(to out: inout [UInt8]) {
        if status != 101 && status != 426 { return }
        let protocols = fields.upgradeElements
        if !protocols.isEmpty { HeadWriter.upgrade(to: protocols, &out) }
    }
}

extension Fields {
    /// The elements of all Upgrade fields, in their order.
    fileprivate var upgradeElements: [String] {
        var elements: [String] = []
        for line in lines where line.id == .upgrade {
            var list = ListElements(of: line.value)
            while let element = list.next(in: bytes.span) {
                elements.append(String(decoding: bytes[element], as: UTF8.self))
            }
        }
        return elements
    }
}

extension HeadWriter {
    fileprivate static func upgrade(to protocols: [String], _ out: inout [UInt8]) {
        field("Connection", text: "Upgrade", to: &out)
        field("Upgrade", protocols.joined(separator: ", "), to: &out)
    }
}
