// The messages of protocol v1: a request or a response as one JSON object (magicmirror-protocol(7)).
//
// Called by: the owners of v1 sessions, once per message. Base64, of the object and of the body in
// it, is theirs: no format here needs it.
// Hard: fields travel as a map, so one name must have one entry whatever the case of its letters,
// and what comes back must not turn into more lines of a head than it was.

/// The fields of a message in their order, as they came.
package struct V1Fields: Sendable {
    private struct Line: Sendable {
        let name: ArraySlice<UInt8>
        let value: ArraySlice<UInt8>
    }

    private var lines: [Line] = []

    /// The map `headers`: each name with an array of values.
    fileprivate init(_ json: inout JSONReader) throws(JSONError) {
        if try json.null() { return }
        var lines: [Line] = []
        try json.object { json, name throws(JSONError) in
            if try json.null() { return }
            try json.array { json throws(JSONError) in
                lines.append(Line(name: name, value: try json.string()))
            }
        }
        self.lines = lines
    }

    fileprivate init() {}

    /// Appends the lines to a head, but those with a name in `dropping`.
    ///
    /// - Throws: for a name that is no token and a value with control bytes.
    package func append(to head: inout [UInt8], dropping: FieldSet) throws(HeadError) {
        let known = FieldNameTable.known
        for line in lines {
            let name = line.name.span
            guard name.isToken(0..<name.count) else { throw .malformed(.fieldName) }
            if line.value.contains(where: \.isControl) { throw .malformed(.controlByte) }
            if dropping.contains(known.find(in: name, from: 0, to: name.count)) { continue }
            head.append(contentsOf: line.name)
            HeadWriter.text(": ", to: &head)
            head.append(contentsOf: line.value)
            HeadWriter.end(to: &head)
        }
    }
}

/// What a relay asks.
package struct V1Request: Sendable {
    package private(set) var method: ArraySlice<UInt8> = []
    package private(set) var uri: ArraySlice<UInt8> = []
    package private(set) var fields = V1Fields()
    /// In base64; nil where it is null or missing.
    package private(set) var body: ArraySlice<UInt8>?

    package static func parse(_ json: [UInt8]) throws(JSONError) -> V1Request {
        var request = V1Request()
        try V1Object.read(json, ["method", "uri", "headers", "body"]) {
            key, json throws(JSONError) in
            switch key {
            case "method": request.method = try json.optionalString() ?? []
            case "uri": request.uri = try json.optionalString() ?? []
            case "headers": request.fields = try V1Fields(&json)
            default: request.body = try json.optionalString()
            }
        }
        return request
    }

    /// - Parameters:
    ///   - dropping: fields that are left out, besides those of one connection.
    ///   - body: in base64.
    package static func json(
        method: ArraySlice<UInt8>, uri: ArraySlice<UInt8>, fields: Fields, dropping: FieldSet,
        body: [UInt8]?
    ) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.key("method")
            json.string(method)
            json.key("uri")
            json.string(uri)
            V1Object.write(body, to: &json)
            V1Object.write(
                fields, dropping: dropping, identity: !fields.present.contains(.acceptEncoding),
                to: &json)
        }
        return json.bytes
    }

    /// What an origin is asked for: `/path?query` of `uri`, whose scheme and host mean nothing.
    ///
    /// - Throws: for bytes that have no place in a request target.
    package func target() throws(HeadError) -> [UInt8] {
        var rest = uri
        if let scheme = ["http://", "https://"].first(where: {
            rest.span.hasPrefixIgnoringCase(0..<rest.count, $0)
        }) {
            rest = rest.dropFirst(scheme.utf8.count).drop { $0 != 0x2F && $0 != 0x3F }
        }
        let target = rest.first == 0x2F ? Array(rest) : [0x2F] + rest
        guard target.allSatisfy({ 0x21...0x7E ~= $0 && $0 != 0x23 }) else {
            throw .malformed(.target)
        }
        return target
    }

    /// - Throws: where `method` is no token.
    package func requireMethod() throws(HeadError) {
        guard method.span.isToken(0..<method.count) else { throw .malformed(.method) }
    }
}

/// What an agent answers.
package struct V1Response: Sendable {
    /// As it came, 0 where it is missing.
    package private(set) var status = 0
    package private(set) var fields = V1Fields()
    /// In base64; nil where it is null or missing.
    package private(set) var body: ArraySlice<UInt8>?

    package static func parse(_ json: [UInt8]) throws(JSONError) -> V1Response {
        var response = V1Response()
        try V1Object.read(json, ["status_code", "headers", "body"]) { key, json throws(JSONError) in
            switch key {
            case "status_code": response.status = try json.null() ? 0 : json.integer()
            case "headers": response.fields = try V1Fields(&json)
            default: response.body = try json.optionalString()
            }
        }
        return response
    }

    /// - Parameter body: in base64.
    package static func json(status: Int, fields: Fields, body: [UInt8]) -> [UInt8] {
        json(status: status, body: body) { V1Object.write(fields, dropping: [], to: &$0) }
    }

    /// An answer of the agent's own: `fields` has one value for each name.
    package static func json(status: Int, fields: [(String, String)], body: [UInt8]) -> [UInt8] {
        json(status: status, body: body) { json in
            json.key("headers")
            json.object { json in
                for (name, value) in fields {
                    json.key(name)
                    json.array { $0.string(value) }
                }
            }
        }
    }

    private static func json(
        status: Int, body: [UInt8], _ headers: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            V1Object.write(body, to: &json)
            headers(&json)
            json.member("status_code", status)
        }
        return json.bytes
    }
}

/// What both objects have in common.
private enum V1Object {
    /// More than any real message has.
    private static let maximumValues = 32 * 1024

    /// Reads an object; keys match whatever the case of their letters, unknown ones are ignored.
    static func read(
        _ bytes: [UInt8], _ keys: [String],
        _ member: (String, inout JSONReader) throws(JSONError) -> Void
    ) throws(JSONError) {
        var seen: [String] = []
        var json = JSONReader(bytes, maximumValues: maximumValues)
        try json.object { json, name throws(JSONError) in
            guard
                let key = keys.first(where: {
                    name.span.equalsIgnoringCase(0..<name.count, $0.utf8.span)
                })
            else { return try json.skip() }
            // One reader would take the first, another the last.
            if seen.contains(key) { throw .repeatedKey }
            seen.append(key)
            try member(key, &json)
        }
        try json.finish()
    }

    static func write(_ body: [UInt8]?, to json: inout JSONWriter) {
        json.key("body")
        if let body { json.plain(body) } else { json.null() }
    }

    /// Writes the map `headers`: an entry for each name, its values in their order.
    ///
    /// - Parameter identity: no other coding than that is asked for.
    static func write(
        _ fields: Fields, dropping: FieldSet, identity: Bool = false, to json: inout JSONWriter
    ) {
        var lines: [UInt8] = []
        fields.appendEndToEnd(to: &lines, dropping: dropping)
        HeadWriter.end(to: &lines)
        // What was parsed once is parsed again.
        let kept = try? Fields(
            lines, linesFrom: 0,
            limits: HeadLimits(maximumHeadBytes: .max, maximumFields: .max))
        json.key("headers")
        json.object { json in
            if let kept { write(kept, to: &json) }
            if identity {
                json.key("Accept-Encoding")
                json.array { $0.string("identity") }
            }
        }
    }

    private static func write(_ fields: Fields, to json: inout JSONWriter) {
        for (index, line) in fields.lines.enumerated() {
            if fields.lines[..<index].contains(where: { isSame($0, line, fields) }) { continue }
            json.key(String(decoding: canonical(fields.bytes[line.name]), as: UTF8.self))
            json.array { json in
                for other in fields.lines[index...] where isSame(other, line, fields) {
                    json.string(fields.bytes[other.value])
                }
            }
        }
    }

    private static func isSame(_ left: FieldLine, _ right: FieldLine, _ fields: Fields) -> Bool {
        let bytes = fields.bytes.span
        return left.id == right.id
            && bytes.equalsIgnoringCase(left.name, bytes.extracting(right.name))
    }

    /// `Content-Type` for `content-type`: the original programs look names up in this form only.
    private static func canonical(_ name: ArraySlice<UInt8>) -> [UInt8] {
        var startsWord = true
        return name.map { byte in
            defer { startsWord = byte == 0x2D }
            return startsWord && 0x61...0x7A ~= byte
                ? byte & ~0x20 : startsWord ? byte : byte.lowercased
        }
    }
}

extension JSONReader {
    /// A string, or nil for `null`.
    fileprivate mutating func optionalString() throws(JSONError) -> ArraySlice<UInt8>? {
        try null() ? nil : string()
    }
}
