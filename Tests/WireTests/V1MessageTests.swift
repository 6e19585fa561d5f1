import Foundation
import Testing

@testable import Wire

@Suite struct V1MessageTests {
    private func lines(_ fields: V1Fields, dropping: FieldSet = []) throws -> String {
        var out: [UInt8] = []
        try fields.append(to: &out, dropping: dropping)
        return out.text
    }

    private func fields(_ lines: String) throws -> Fields {
        let bytes = [UInt8](lines + "\r\n")
        return try Fields.parse(bytes, bytes.indices)
    }

    // MARK: - Reading

    @Test func `a request is read`() throws {
        let request = try V1Request.parse(
            [UInt8](
                #"{"method":"PUT","uri":"/a?b\u0026c","body":"aGk=","headers":{"A":["1","2"],"B":[]}}"#
            ))
        #expect(request.method.text == "PUT")
        #expect(request.uri.text == "/a?b&c")
        #expect(request.body?.text == "aGk=")
        #expect(try lines(request.fields) == "A: 1\r\nA: 2\r\n")
    }

    @Test func `a response is read`() throws {
        let response = try V1Response.parse(
            [UInt8](#"{"body":"","headers":{"A":["1"],"a":["2"]},"status_code":404}"#))
        #expect(response.status == 404)
        #expect(response.body?.isEmpty == true)
        #expect(try lines(response.fields) == "A: 1\r\na: 2\r\n")
    }

    @Test(arguments: ["{}", #"{"body":null,"headers":null,"status_code":null,"x":[{"y":null}]}"#])
    func `what is missing or null has its zero value, and unknown keys do not matter`(
        text: String
    ) throws {
        let response = try V1Response.parse([UInt8](text))
        #expect(response.status == 0)
        #expect(response.body == nil)
        #expect(try lines(response.fields) == "")
        let request = try V1Request.parse([UInt8](text))
        #expect(request.method.isEmpty && request.uri.isEmpty && request.body == nil)
    }

    @Test func `keys match whatever the case of their letters`() throws {
        let response = try V1Response.parse(
            [UInt8](#"{"BODY":"eA==","Headers":{"A":["1"],"B":null},"Status_Code":200}"#))
        #expect(response.status == 200)
        #expect(response.body?.text == "eA==")
        #expect(try lines(response.fields) == "A: 1\r\n")
    }

    @Test(arguments: [
        ("[]", JSONError.wrongType), ("null", .wrongType), ("1", .wrongType), ("", .malformed),
        (#"{"status_code":"200"}"#, .wrongType), (#"{"status_code":200.5}"#, .wrongType),
        (#"{"body":1}"#, .wrongType), (#"{"body":[]}"#, .wrongType),
        (#"{"headers":[]}"#, .wrongType),
        (#"{"headers":{"A":"1"}}"#, .wrongType), (#"{"headers":{"A":[1]}}"#, .wrongType),
        (#"{"headers":{"A":[null]}}"#, .wrongType), (#"{"body":"","Body":""}"#, .repeatedKey),
        (#"{"status_code":1,"STATUS_CODE":2}"#, .repeatedKey),
        (#"{"status_code":200}x"#, .malformed),
        (#"{"status_code":200"#, .malformed), (#"{"status_code":}"#, .malformed),
        (#"{"x":[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]}"#, .tooDeep),
    ])
    func `what is no response is refused`(text: String, error: JSONError) {
        #expect(throws: error) { try V1Response.parse([UInt8](text)) }
    }

    @Test(arguments: [
        #"{"method":1}"#, #"{"uri":{}}"#, #"{"method":"GET","Method":"PUT"}"#,
        #"{"headers":{"A":{}}}"#,
    ])
    func `what is no request is refused`(text: String) {
        #expect(throws: JSONError.self) { try V1Request.parse([UInt8](text)) }
    }

    @Test func `more values than any message has are refused`() throws {
        let values = { (count: Int) in
            [UInt8](
                #"{"headers":{"A":["#
                    + Array(repeating: "\"\"", count: count).joined(separator: ",")
                    + "]}}")
        }
        _ = try V1Response.parse(values(30_000))
        #expect(throws: JSONError.tooManyValues) { try V1Response.parse(values(40_000)) }
    }

    @Test(arguments: [
        "a b", "", "a:", "é", "a\\r\\nb", "a\\u0000", "\\na",
    ])
    func `a name that is no token makes no head`(name: String) throws {
        let response = try V1Response.parse([UInt8](#"{"headers":{""# + name + #"":["1"]}}"#))
        #expect(throws: HeadError.malformed(.fieldName)) { try lines(response.fields) }
    }

    @Test(arguments: ["a\\r\\nB: c", "\\n", "a\\r", "\\u0000", "\\u007f", "\\u001f"])
    func `a value that would be more than one line makes no head`(value: String) throws {
        let response = try V1Response.parse([UInt8](#"{"headers":{"A":[""# + value + #""]}}"#))
        #expect(throws: HeadError.malformed(.controlByte)) { try lines(response.fields) }
        // Where the field is left out, too.
        #expect(throws: HeadError.malformed(.controlByte)) {
            try lines(response.fields, dropping: [.host])
        }
    }

    @Test func `fields are left out whatever the case of their names`() throws {
        let response = try V1Response.parse(
            [UInt8](#"{"headers":{"hOST":["1"],"A":["\tb é"],"CONTENT-LENGTH":["2"]}}"#))
        #expect(try lines(response.fields, dropping: [.host, .contentLength]) == "A: \tb é\r\n")
    }

    @Test(arguments: [
        ("/a?b", "/a?b"), ("", "/"), ("a", "/a"), ("?q", "/?q"), ("//a/b", "//a/b"),
        ("http://h/a?b", "/a?b"), ("HTTPS://u:p@h:1/a", "/a"), ("http://h", "/"),
        ("http://h?q=http://x/", "/?q=http://x/"), ("http:", "/http:"), ("/{a}\"", "/{a}\""),
    ])
    func `only path and query of a uri count`(uri: String, target: String) throws {
        let request = try V1Request.parse(
            JSONSerialization.data(withJSONObject: ["uri": uri]).map { $0 })
        #expect(try request.target().text == target)
    }

    @Test(arguments: ["/a b", "/a\\r\\nb", "/é", "/a#b", "/\\u0000", "/\\u007f"])
    func `a uri with bytes that end a target is refused`(uri: String) throws {
        let request = try V1Request.parse([UInt8](#"{"uri":""# + uri + #""}"#))
        #expect(throws: HeadError.malformed(.target)) { try request.target() }
    }

    @Test(arguments: ["", "G T", "GET\\r\\n", "GÉT", "GET /x HTTP/1.1\\r\\nA: b"])
    func `a method that is no token is refused`(method: String) throws {
        let request = try V1Request.parse([UInt8](#"{"method":""# + method + #""}"#))
        #expect(throws: HeadError.malformed(.method)) { try request.requireMethod() }
    }

    // MARK: - Writing

    @Test func `a request is written as the original agent wants it`() throws {
        let fields = try fields(
            "x-own-NAME: 1\r\nHost: h\r\nConnection: X-Hop\r\nX-Hop: 1\r\nX-Own-Name: \"2\\\r\n"
                + "Content-Length: 5\r\nte: trailers\r\n")
        let json = V1Request.json(
            method: [UInt8]("POST")[...], uri: [UInt8]("/a?b&c")[...], fields: fields,
            dropping: [.host, .contentLength], body: [UInt8]("aGk="))
        #expect(
            json.text
                == #"{"method":"POST","uri":"/a?b&c","body":"aGk=","headers":{"X-Own-Name":["1","\"2\\"],"#
                + #""Accept-Encoding":["identity"]}}"#)
        let parsed = try V1Request.parse(json)
        #expect(
            try lines(parsed.fields) == "X-Own-Name: 1\r\nX-Own-Name: \"2\\\r\n"
                + "Accept-Encoding: identity\r\n")
    }

    @Test func `a coding that the client asks for is left to it`() throws {
        let json = V1Request.json(
            method: [UInt8]("GET")[...], uri: [UInt8]("/")[...],
            fields: try fields("accept-encoding: gzip, br\r\n"), dropping: [], body: nil)
        #expect(
            json.text
                == #"{"method":"GET","uri":"/","body":null,"headers":{"Accept-Encoding":["gzip, br"]}}"#
        )
    }

    @Test func `a response is written with its fields in order`() throws {
        let fields = try fields(
            "Set-Cookie: b\r\nA: 1\r\nset-cookie: a\r\nKeep-Alive: 1\r\nContent-Length: 3\r\n")
        #expect(
            V1Response.json(status: 203, fields: fields, body: [UInt8]("YWJj")).text
                == #"{"body":"YWJj","headers":{"Set-Cookie":["b","a"],"A":["1"],"Content-Length":["3"]},"#
                + #""status_code":203}"#)
        #expect(
            V1Response.json(status: 502, fields: [("A", "b")], body: []).text
                == #"{"body":"","headers":{"A":["b"]},"status_code":502}"#)
    }

    @Test func `bytes that JSON cannot carry are replaced`() throws {
        var bytes = [UInt8]("A: x")
        bytes += [0xE9, 0x0D, 0x0A, 0x0D, 0x0A]
        let fields = try Fields.parse(bytes, bytes.indices)
        let json = V1Response.json(status: 200, fields: fields, body: [])
        #expect(
            json.text == "{\"body\":\"\",\"headers\":{\"A\":[\"x\u{FFFD}\"]},\"status_code\":200}")
    }
}
