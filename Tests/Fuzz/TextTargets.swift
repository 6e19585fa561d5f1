// Files, command lines and targets: configuration, keys, addresses, rules, quantities.

import Program
import Streams
import Wire

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
    // Written with every value in quotes it means the same.
    var quoted = ""
    for section in [parsed.top] + parsed.sections {
        if !section.kind.isEmpty { quoted += section.heading + "\n" }
        for entry in section.entries {
            quoted += "\(entry.key) = \""
            for scalar in entry.value.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { quoted += "\\" }
                quoted.unicodeScalars.append(scalar)
            }
            quoted += "\"\n"
        }
    }
    let again = try? ConfigurationText.parse(Array(quoted.utf8))
    promise(again.map(meaning) == meaning(parsed), "in quotes it means something else:\n\(quoted)")
}

/// Without the numbers of lines.
private func meaning(_ parsed: ConfigurationText) -> [[String]] {
    ([parsed.top] + parsed.sections).map { section in
        [section.kind, section.name] + section.entries.flatMap { [$0.key, $0.value] }
    }
}

func keys(_ bytes: [UInt8]) {
    guard let parsed = try? KeysText.parse(bytes) else { return }
    guard let again = try? KeysText.parse(parsed.bytes) else { fatalError("not accepted again") }
    promise(again == parsed, "written again they are other keys")
    promise(again.bytes == parsed.bytes, "written twice they are other bytes")
}

/// The addresses that an operator writes.
func address(_ bytes: [UInt8]) {
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
    if let address = IPAddress(text) {
        promise(IPAddress(address.description) == address, "another address: \(address)")
        promise(address.description.utf8.count <= 39, "not the shortest form: \(address)")
        promise(
            IPAddress(element: bytes[...]) == address
                && IPAddress(element: Array("[\(text)]".utf8)[...])
                    == (text.utf8.contains(0x3A) ? address : nil),
            "another address among elements: \(address)")
        promise(AddressRange(text)?.contains(address.description) == true, "not in itself")
    }
    if let range = AddressRange(text), let slash = text.firstIndex(of: "/") {
        promise(range.contains(String(text[..<slash])), "a range without its first address")
    }
}

/// Escapes, and what is decoded from targets.
func percent(_ bytes: [UInt8]) {
    promise(
        PercentEncoding.decode(PercentEncoding.encode(bytes)) == bytes,
        "encoded and decoded it is another text")
    if let decoded = PercentEncoding.decode(bytes) {
        promise(
            PercentEncoding.decode(PercentEncoding.encode(decoded)) == decoded,
            "decoded, encoded and decoded it is another text")
    }
    let query = Array("a=1&name=".utf8) + PercentEncoding.encode(bytes) + Array("&b".utf8)
    promise(
        PercentEncoding.queryValue("name", in: query[...]) == bytes, "another value of a query")
    // Whatever the query is: a second parameter of that name takes the value away.
    if PercentEncoding.queryValue("name", in: bytes[...]) != nil {
        promise(
            PercentEncoding.queryValue("name", in: (bytes + Array("&name=x".utf8))[...]) == nil,
            "one of two values is taken")
    }
    if let path = try? PathDoubt.decode(bytes[...]) {
        promise(!path.contains(0), "a zero in a path")
        promise(!PathDoubt.climbs(bytes[...]), "a climbing path is decoded")
        let encoded = path.split(separator: 0x2F, omittingEmptySubsequences: false)
            .map { PercentEncoding.encode($0) }.joined(separator: [0x2F])
        promise(
            (try? PathDoubt.decode(Array(encoded)[...])) == path,
            "encoded again it is another path")
    }
    if let decoded = Cryptography.decodeBase64(bytes) {
        // Bits behind the last byte are lost: a text has one form, its bytes several texts.
        promise(
            Cryptography.decodeBase64(Cryptography.base64(decoded)) == decoded,
            "in base64 it is another text")
    }
    promise(
        Cryptography.decodeBase64(Cryptography.base64(bytes)) == bytes, "base64 is another text")
}

/// A rule, and the path of a request behind a line feed; names and their patterns alike.
func pattern(_ bytes: [UInt8]) {
    let parts = bytes.split(separator: 0x0A, maxSplits: 1, omittingEmptySubsequences: false)
    let text = String(decoding: parts[0], as: UTF8.self)
    let path = parts.count > 1 ? parts[1] : []
    if let rule = try? AllowRule.parse(text) {
        promise((try? AllowRule.parse(rule.description)) == rule, "another rule: \(rule)")
        let method = Array((rule.methods.first ?? "GET").utf8)[...]
        let verdict = RuleVerdict.find(in: [rule], method: method, path: path)
        if rule.path.matchesAll {
            promise(verdict == .allowed(rule: 0), "not all")
        } else if let decoded = try? PathDoubt.decode(path) {
            let expected = matches(Array(rule.path.text.utf8)[...], decoded[...])
            promise((verdict == .allowed(rule: 0)) == expected, "\(rule): \(verdict)")
            promise(!PathDoubt.climbs(path), "a climbing path is allowed")
        } else {
            promise(verdict != .allowed(rule: 0), "a doubtful path is allowed")
        }
        let other = method + [0x21]
        if !rule.methods.isEmpty, !rule.methods.contains(String(decoding: other, as: UTF8.self)) {
            promise(
                RuleVerdict.find(in: [rule], method: other, path: path) != .allowed(rule: 0),
                "another method is allowed")
        }
    }
    if let pattern = NamePattern(text), let name = MirrorName(bytes: path) {
        promise(MirrorName(name.text) == name, "another name")
        promise(
            pattern.matches(name) == matches(parts[0], path), "\(pattern) and \(name)")
    }
}

/// Whether a pattern matches: the plain way, of which the other one is the quick form. Each row
/// says for one length of the pattern which beginnings of the text it matches.
private func matches(_ pattern: ArraySlice<UInt8>, _ text: ArraySlice<UInt8>) -> Bool {
    let text = Array(text)
    var row = [true] + [Bool](repeating: false, count: text.count)
    for byte in pattern {
        var next = row
        next[0] = row[0] && byte == 0x2A
        for end in text.indices {
            next[end + 1] =
                byte == 0x2A ? row[end + 1] || next[end] : row[end] && byte == text[end]
        }
        row = next
    }
    return row[text.count]
}

/// Whole numbers, sizes and times.
func quantity(_ bytes: [UInt8]) {
    let text = String(decoding: bytes, as: UTF8.self)
    if let count = Quantity.byteCount(text) {
        let shown = Quantity.describe(byteCount: count)
        promise(count >= 0 && Quantity.byteCount(shown) == count, "'\(text)' is '\(shown)'")
    }
    if let time = Quantity.duration(text) {
        let shown = Quantity.describe(duration: time)
        promise(time >= .zero && Quantity.duration(shown) == time, "'\(text)' is '\(shown)'")
    }
    if let number = Quantity.integer(text) {
        promise(number >= 0 && Quantity.integer("\(number)") == number, "another number")
    }
}
