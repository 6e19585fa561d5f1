// Writes heads: lines appended to a buffer that goes out as it is.
//
// Called by: relay and agent, for every message they send.
// Hard: no byte given here may become a line of its own. Names are constants of the program, and a
// control byte in a value is written as a space (RFC 9110 §5.5).

package enum HeadWriter {
    /// `GET /path HTTP/1.1`
    package static func requestLine(
        method: ArraySlice<UInt8>, target: ArraySlice<UInt8>, to out: inout [UInt8]
    ) {
        value(method, to: &out)
        out.append(0x20)
        value(target, to: &out)
        text(" HTTP/1.1\r\n", to: &out)
    }

    /// `GET /path HTTP/1.1` with a constant method.
    package static func requestLine(
        method: StaticString, target: ArraySlice<UInt8>, to out: inout [UInt8]
    ) {
        text(method, to: &out)
        out.append(0x20)
        value(target, to: &out)
        text(" HTTP/1.1\r\n", to: &out)
    }

    /// `HTTP/1.1 200 OK`; `status` is 100...999.
    package static func statusLine(
        _ status: Int, reason: ArraySlice<UInt8>, to out: inout [UInt8]
    ) {
        text("HTTP/1.1 ", to: &out)
        decimal(status, to: &out)
        out.append(0x20)
        value(reason, to: &out)
        end(to: &out)
    }

    package static func statusLine(
        _ status: Int, reason: StaticString, to out: inout [UInt8]
    ) {
        text("HTTP/1.1 ", to: &out)
        decimal(status, to: &out)
        out.append(0x20)
        text(reason, to: &out)
        end(to: &out)
    }

    package static func field(
        _ name: StaticString, _ bytes: ArraySlice<UInt8>, to out: inout [UInt8]
    ) {
        text(name, to: &out)
        text(": ", to: &out)
        value(bytes, to: &out)
        end(to: &out)
    }

    package static func field(_ name: StaticString, _ bytes: [UInt8], to out: inout [UInt8]) {
        field(name, bytes[...], to: &out)
    }

    package static func field(
        _ name: StaticString, text constant: StaticString, to out: inout [UInt8]
    ) {
        text(name, to: &out)
        text(": ", to: &out)
        text(constant, to: &out)
        end(to: &out)
    }

    package static func field(_ name: StaticString, _ string: String, to out: inout [UInt8]) {
        text(name, to: &out)
        text(": ", to: &out)
        let start = out.count
        out.append(contentsOf: string.utf8)
        replaceControls(in: &out, from: start)
        end(to: &out)
    }

    package static func field(_ name: StaticString, _ number: Int, to out: inout [UInt8]) {
        text(name, to: &out)
        text(": ", to: &out)
        decimal(number, to: &out)
        end(to: &out)
    }

    /// Copies a parsed line, which holds no control byte.
    package static func copy(_ line: FieldLine, from fields: Fields, to out: inout [UInt8]) {
        out.append(contentsOf: fields.bytes[line.name])
        text(": ", to: &out)
        out.append(contentsOf: fields.bytes[line.value])
        end(to: &out)
    }

    /// The end of a line; after the last line, the end of the head.
    @inline(__always)
    package static func end(to out: inout [UInt8]) {
        out.append(0x0D)
        out.append(0x0A)
    }

    /// Appends a constant as it is.
    @inline(__always)
    package static func text(_ constant: StaticString, to out: inout [UInt8]) {
        // Unsafe: the pointer is to constant memory of the program, used within the closure only.
        constant.withUTF8Buffer { unsafe out.append(contentsOf: $0) }
    }

    /// Appends bytes that may come from anywhere, each control byte as a space.
    package static func value(_ bytes: ArraySlice<UInt8>, to out: inout [UInt8]) {
        let start = out.count
        out.append(contentsOf: bytes)
        replaceControls(in: &out, from: start)
    }

    /// Appends a number in decimal.
    package static func decimal(_ number: Int, to out: inout [UInt8]) {
        if 0...9 ~= number { return out.append(0x30 + UInt8(truncatingIfNeeded: number)) }
        if number < 0 { out.append(0x2D) }
        // From the last digit on; no number of 64 bits has more than 20.
        var digits = InlineArray<20, UInt8>(repeating: 0x30)
        var first = 20
        var rest = number.magnitude
        repeat {
            first -= 1
            digits[first] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        out.append(addingCapacity: 20 - first) { out in
            for index in first..<20 { out.append(digits[index]) }
        }
    }

    private static func replaceControls(in out: inout [UInt8], from start: Int) {
        let end = out.count
        var at = out.span.indexOfControl(from: start, to: end)
        while at < end {
            out[at] = 0x20
            at = out.span.indexOfControl(from: at + 1, to: end)
        }
    }
}
