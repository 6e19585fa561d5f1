// Heads: what is accepted is written back so that it parses to the same, however it was split.

/// The end that a scanner finds when the bytes come in steps, and the error where it throws.
private func scanned(_ bytes: [UInt8], step: Int) -> (value: Int?, error: String?) {
    outcome {
        var scanner = HeadScanner()
        var end = 0
        while true {
            end = min(end + step, bytes.count)
            if let found = try scanner.end(in: bytes, 0..<end) { return found }
            if end == bytes.count { return -1 }
        }
    }
}

private func checkSplit(_ bytes: [UInt8]) -> Int? {
    let whole = scanned(bytes, step: max(bytes.count, 1))
    for step in [1, 3, 7] {
        let split = scanned(bytes, step: step)
        promise(
            split.value == whole.value && split.error == whole.error,
            "split by \(step): \(split), whole: \(whole)")
    }
    guard let end = whole.value, end >= 0 else { return nil }
    return end
}

private func pairs(_ fields: Fields) -> [[UInt8]] {
    fields.lines.flatMap { [Array(fields.bytes[$0.name]), Array(fields.bytes[$0.value])] }
}

private func written(_ fields: Fields, after line: [UInt8]) -> [UInt8] {
    var out = line
    for line in fields.lines { HeadWriter.copy(line, from: fields, to: &out) }
    HeadWriter.end(to: &out)
    return out
}

func requestHead(_ bytes: [UInt8]) {
    guard let end = checkSplit(bytes),
        let head = try? RequestHead.parse(bytes, 0..<end)
    else { return }
    var line: [UInt8] = []
    HeadWriter.requestLine(
        method: head.bytes[head.method], target: head.bytes[head.target], to: &line)
    let again = written(head.fields, after: line)
    // Written as HTTP/1.1, which asks for a Host where HTTP/1.0 does not.
    if head.minorVersion == 1 {
        guard let parsed = try? RequestHead.parse(again, 0..<again.count) else {
            fatalError("not accepted again: \(String(decoding: again, as: UTF8.self))")
        }
        promise(parsed.bytes[parsed.method] == head.bytes[head.method], "another method")
        promise(parsed.bytes[parsed.target] == head.bytes[head.target], "another target")
        promise(pairs(parsed.fields) == pairs(head.fields), "other fields")
        promise(
            outcome { try parsed.framing() }.value == outcome { try head.framing() }.value,
            "another framing")
    }
    passed(head.fields)
    _ = head.path
    _ = head.query
    _ = head.authority
    _ = head.wantsClose
    _ = try? PathDoubt.decode(head.path)
    promise(
        !PathDoubt.climbs(head.path) || (try? PathDoubt.decode(head.path)) == nil,
        "a climbing path is decoded")
}

/// What is passed on has no field that belongs to the connection, and parses.
private func passed(_ fields: Fields) {
    var out: [UInt8] = []
    fields.appendEndToEnd(to: &out, dropping: [.host])
    HeadWriter.end(to: &out)
    guard let passed = try? Fields.parse(out, 0..<out.count) else {
        fatalError("what is passed on is not accepted: \(String(decoding: out, as: UTF8.self))")
    }
    for name in [FieldName.connection, .keepAlive, .transferEncoding, .upgrade, .host] {
        promise(passed.count(name) == 0, "\(name) was passed on")
    }
}

func responseHead(_ bytes: [UInt8]) {
    guard let end = checkSplit(bytes),
        let head = try? ResponseHead.parse(bytes, 0..<end)
    else { return }
    var line: [UInt8] = []
    HeadWriter.statusLine(head.status, reason: head.bytes[head.reason], to: &line)
    let again = written(head.fields, after: line)
    guard let parsed = try? ResponseHead.parse(again, 0..<again.count) else {
        fatalError("not accepted again: \(String(decoding: again, as: UTF8.self))")
    }
    promise(parsed.status == head.status, "another status")
    promise(pairs(parsed.fields) == pairs(head.fields), "other fields")
    // Written as HTTP/1.1; of HTTP/1.0 the end of the body is read in another way.
    for isHead in [true, false] where head.minorVersion == 1 {
        let before = outcome { try head.framing(requestMethodIsHead: isHead) }
        let after = outcome { try parsed.framing(requestMethodIsHead: isHead) }
        promise(before.value == after.value && before.error == after.error, "another framing")
    }
    passed(head.fields)
}

/// The header of a TCP proxy: no prefix of it is one, and what follows changes nothing.
func proxyHeader(_ bytes: [UInt8]) {
    if let address = IPAddress(element: bytes[...]) {
        promise(
            IPAddress(address.description) == address, "written it is another address: \(address)")
    }
    guard let header = try? ProxyHeader.parse(bytes) else { return }
    promise(header.length <= min(bytes.count, ProxyHeader.maximumLength), "beyond its limit")
    promise(
        (try? ProxyHeader.parse(Array(bytes[..<header.length]))) == header,
        "what follows changes it")
    for end in 0..<header.length {
        let part = outcome { try ProxyHeader.parse(Array(bytes[..<end])) }
        promise(part.error == nil && part.value == .some(nil), "\(end) bytes of it are \(part)")
    }
}
