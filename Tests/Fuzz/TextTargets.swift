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

/// The messages of protocol v1: whatever comes out of them, it is the lines that it looks like.
func json(_ bytes: [UInt8]) {
    var reader = JSONReader(bytes, maximumValues: .max)
    let isDocument = (try? reader.skip()) != nil && (try? reader.finish()) != nil
    if let request = try? V1Request.parse(bytes) {
        promise(isDocument, "a request that is no document")
        if let target = try? request.target() {
            promise(target.first == 0x2F && !target.contains(0x20), "a target of another form")
        }
        check(request.fields)
    }
    if let response = try? V1Response.parse(bytes) {
        promise(isDocument, "a response that is no document")
        check(response.fields)
    }
}

private func check(_ fields: V1Fields) {
    var lines: [UInt8] = []
    guard (try? fields.append(to: &lines, dropping: [.host])) != nil else { return }
    lines += [0x0D, 0x0A]
    let limits = HeadLimits(maximumHeadBytes: .max, maximumFields: .max)
    let parsed = try? Fields.parse(lines, 0..<lines.count, limits: limits)
    promise(parsed != nil, "lines that are none")
    promise(parsed?.present.contains(.host) == false, "a field that was to be left out")
}
