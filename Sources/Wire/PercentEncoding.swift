// Percent-encoding of URI components (RFC 3986 §2.1).
//
// Called by: whoever reads names and queries from a target or builds one.
// Hard: nothing is decoded twice, and a broken escape is an error rather than text.

package enum PercentEncoding {
    /// Decodes every escape of `text`; a plus sign stays one.
    ///
    /// - Returns: nil for a percent sign without two hexadecimal digits.
    package static func decode(_ text: some Sequence<UInt8>) -> [UInt8]? {
        decode(text, plusIsSpace: false)
    }

    /// Encodes all but unreserved characters (RFC 3986 §2.3), so that the result is one segment of
    /// a path or one value of a query.
    package static func encode(_ text: some Sequence<UInt8>) -> [UInt8] {
        var out: [UInt8] = []
        for byte in text {
            if byte.isUnreserved {
                out.append(byte)
            } else {
                out.append(0x25)
                out.append(upper(byte >> 4))
                out.append(upper(byte & 0xF))
            }
        }
        return out
    }

    package static func encode(_ text: String) -> String {
        String(decoding: encode(text.utf8), as: UTF8.self)
    }

    /// The decoded value of the first parameter `name` of a query `a=b&c=d`; a plus sign is a space.
    ///
    /// - Returns: nil where the parameter is missing, or broken, or stands there twice: two
    ///   programs could take different ones.
    package static func queryValue(_ name: String, in query: ArraySlice<UInt8>) -> [UInt8]? {
        var found: [UInt8]?
        for parameter in query.split(separator: 0x26) {
            let equals = parameter.firstIndex(of: 0x3D) ?? parameter.endIndex
            guard
                decode(parameter[..<equals], plusIsSpace: true).map({ $0.elementsEqual(name.utf8) })
                    == true
            else { continue }
            let text = parameter[equals...].dropFirst()
            guard found == nil, let value = decode(text, plusIsSpace: true) else { return nil }
            found = value
        }
        return found
    }

    private static func decode(_ text: some Sequence<UInt8>, plusIsSpace: Bool) -> [UInt8]? {
        var out: [UInt8] = []
        var rest = text.makeIterator()
        while let byte = rest.next() {
            if byte == 0x25 {
                guard let high = rest.next()?.hexadecimalValue,
                    let low = rest.next()?.hexadecimalValue
                else { return nil }
                out.append(high << 4 | low)
            } else {
                out.append(plusIsSpace && byte == 0x2B ? 0x20 : byte)
            }
        }
        return out
    }

    private static func upper(_ digit: UInt8) -> UInt8 { digit < 10 ? 0x30 + digit : 0x37 + digit }
}

extension UInt8 {
    /// RFC 3986 §2.3.
    var isUnreserved: Bool {
        isLetter || isDigit || self == 0x2D || self == 0x2E || self == 0x5F || self == 0x7E
    }
}
