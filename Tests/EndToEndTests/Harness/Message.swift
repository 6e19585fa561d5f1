// HTTP/1.1 messages as the tests' clients and origins read them from a connection.
//
// Written apart from the parser of the programs, so that the two can't share a mistake. It is
// strict in what the programs must write and keeps every name, value and order as they came.

import Foundation

typealias Field = (name: String, value: String)

struct Head {
    var startLine: String
    var fields: [Field]

    init(_ text: String) throws {
        var lines = text.components(separatedBy: "\r\n")
        startLine = lines.removeFirst()
        fields = try lines.filter { !$0.isEmpty }.map { line in
            guard let colon = line.firstIndex(of: ":") else {
                throw Failure("not a field line: '\(line)'")
            }
            return (
                String(line[..<colon]),
                line[line.index(after: colon)...].trimmingCharacters(in: .whitespaces)
            )
        }
    }

    /// The values of every field of that name, in order.
    func all(_ name: String) -> [String] {
        fields.filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }

    subscript(_ name: String) -> String? { all(name).first }

    var isChunked: Bool { self["Transfer-Encoding"]?.lowercased() == "chunked" }
    var length: Int? { self["Content-Length"].flatMap { Int($0) } }
}

/// How the other end stopped sending.
struct Body {
    var bytes: [UInt8] = []
    var trailers: [Field] = []
    /// False where the stream ended before the framing said so.
    var isWhole = true

    var text: String { String(decoding: bytes, as: UTF8.self) }
}

struct Request {
    let head: Head
    var body = Body()

    var method: String { word(0) }
    var target: String { word(1) }
    var version: String { word(2) }

    private func word(_ index: Int) -> String {
        head.startLine.components(separatedBy: " ").dropFirst(index).first ?? ""
    }
}

struct Response {
    let head: Head
    var interim: [Head] = []
    var body = Body()

    var status: Int { Int(head.startLine.dropFirst(9).prefix(3)) ?? 0 }
    var text: String { body.text }
    subscript(_ name: String) -> String? { head[name] }
}

extension Connection {
    /// Reads one head, or nil where the stream ends before one begins.
    func readHead(_ deadline: Deadline = .patient) throws -> Head? {
        guard let text = try read(through: "\r\n\r\n", deadline) else {
            guard buffer.isEmpty else {
                throw Failure(
                    "the stream ended inside a head: \(String(decoding: buffer, as: UTF8.self))")
            }
            return nil
        }
        return try Head(text)
    }

    /// Reads a request with its body, or nil where the client has closed.
    func readRequest(_ deadline: Deadline = .patient) throws -> Request? {
        guard let head = try readHead(deadline) else { return nil }
        var request = Request(head: head)
        if head.isChunked || head.length != nil {
            request.body = try readBody(head, deadline)
        }
        return request
    }

    /// Reads the head of the final answer, and those of the interim ones before it.
    func readResponseHead(_ deadline: Deadline = .patient) throws -> Response {
        var interim: [Head] = []
        while true {
            guard let head = try readHead(deadline) else {
                throw Failure("the connection ended (\(state)) where an answer was expected")
            }
            let response = Response(head: head, interim: interim)
            guard (100..<200).contains(response.status), response.status != 101 else {
                return response
            }
            interim.append(head)
        }
    }

    func readResponse(to method: String = "GET", _ deadline: Deadline = .patient) throws -> Response
    {
        var response = try readResponseHead(deadline)
        if method != "HEAD", response.status != 204, response.status != 304 {
            response.body = try readBody(response.head, deadline)
        }
        return response
    }

    func readBody(_ head: Head, _ deadline: Deadline = .patient) throws -> Body {
        var body = Body()
        if head.isChunked {
            while true {
                guard let chunk = try readChunk(deadline) else {
                    body.isWhole = false
                    return body
                }
                if chunk.isEmpty { break }
                body.bytes += chunk
            }
            guard let trailers = try readTrailers(deadline) else {
                body.isWhole = false
                return body
            }
            body.trailers = trailers
        } else if let length = head.length {
            while buffer.count < length, try fill(deadline) {}
            body.isWhole = buffer.count >= length
            body.bytes = take(min(length, buffer.count))
        } else {
            body.bytes = try readToEnd(deadline)
            body.isWhole = state == .closed
        }
        return body
    }

    /// Reads one chunk: empty is the last one, nil the end of the stream before it was whole.
    func readChunk(_ deadline: Deadline = .patient) throws -> [UInt8]? {
        guard let line = try read(through: "\r\n", deadline) else { return nil }
        guard let size = Int(line.dropLast(1).prefix { $0 != ";" && $0 != "\r\n" }, radix: 16)
        else {
            throw Failure("not a chunk size: '\(line)'")
        }
        if size == 0 { return [] }
        guard let piece = try read(exactly: size + 2, deadline) else { return nil }
        guard piece[size] == 13, piece[size + 1] == 10 else {
            throw Failure("a chunk does not end in CRLF")
        }
        return Array(piece[..<size])
    }

    /// Reads the trailer section behind the last chunk.
    func readTrailers(_ deadline: Deadline = .patient) throws -> [Field]? {
        var text = ""
        while true {
            guard let line = try read(through: "\r\n", deadline) else { return nil }
            if line == "\r\n" { return try Head("\r\n" + text).fields }
            text += line
        }
    }

    func writeChunk(_ text: String, _ deadline: Deadline = .patient) throws {
        try write(String(text.utf8.count, radix: 16) + "\r\n" + text + "\r\n", deadline)
    }
}
