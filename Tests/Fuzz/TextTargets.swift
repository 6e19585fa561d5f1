// Files and command lines: configuration, keys, addresses, rules.

func configuration(_ bytes: [UInt8]) {
    guard let parsed = try? ConfigurationText.parse(bytes) else { return }
    let more = bytes + Array("\n# a comment\n\n".utf8)
    promise((try? ConfigurationText.parse(more)) == parsed, "a comment changes the meaning")
    var last = 0
    for section in [parsed.top] + parsed.sections {
        for entry in section.entries {
            promise(entry.line > last, "lines out of order")
            promise(!entry.key.isEmpty, "an entry without a key")
            last = entry.line
        }
    }
}

func keys(_ bytes: [UInt8]) {
    guard let parsed = try? KeysText.parse(bytes) else { return }
    guard let again = try? KeysText.parse(parsed.bytes) else { fatalError("not accepted again") }
    promise(again == parsed, "written again they are other keys")
    promise(again.bytes == parsed.bytes, "written twice they are other bytes")
}

func text(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let url = try? RemoteURL.parse(text) {
        promise((try? RemoteURL.parse(url.description)) == url, "another remote: \(url)")
    }
    if let url = try? LocalURL.parse(text) {
        promise((try? LocalURL.parse(url.description)) == url, "another local: \(url)")
    }
    if let address = try? SocketAddressText.parse(text) {
        promise(
            (try? SocketAddressText.parse(address.description)) == address,
            "another address: \(address)")
    }
    if let rule = try? AllowRule.parse(text) {
        promise((try? AllowRule.parse(rule.description)) == rule, "another rule: \(rule)")
    }
    if let decoded = PercentEncoding.decode(bytes) {
        promise(
            PercentEncoding.decode(PercentEncoding.encode(decoded)) == decoded,
            "encoded and decoded it is another text")
    }
    if let path = try? PathDoubt.decode(bytes[...]) {
        promise(!path.contains(0), "a zero in a path")
        let encoded = path.split(separator: 0x2F, omittingEmptySubsequences: false)
            .map { PercentEncoding.encode($0) }.joined(separator: [0x2F])
        promise(
            (try? PathDoubt.decode(Array(encoded)[...])) == path,
            "encoded again it is another path")
    }
}
