// The lines of a file that an operator wrote.

/// Cuts a file into lines, without their ends, counted from 1.
///
/// - Throws: for bytes that are not UTF-8 and for control characters but the tab.
func textLines(of bytes: [UInt8]) throws(LineError) -> [(number: Int, text: String)] {
    // A byte order mark, as some editors write it.
    let start = bytes.starts(with: [0xEF, 0xBB, 0xBF]) ? 3 : 0
    var lines: [(number: Int, text: String)] = []
    var rest = bytes[start...]
    while !rest.isEmpty {
        let number = lines.count + 1
        let feed = rest.firstIndex(of: 0x0A) ?? rest.endIndex
        var line = rest[..<feed]
        rest = rest[feed...].dropFirst()
        if line.last == 0x0D { line.removeLast() }
        if let control = line.first(where: \.isControl) {
            throw LineError(line: number, "control character (byte \(control))")
        }
        guard let text = String(validating: line, as: UTF8.self) else {
            throw LineError(line: number, "not UTF-8")
        }
        lines.append((number, text))
    }
    return lines
}

extension StringProtocol {
    /// Without blanks at both ends.
    var trimmed: String {
        let bytes = Array(utf8)
        return String(decoding: bytes[bytes.span.trimmingBlanks(bytes.indices)], as: UTF8.self)
    }
}
