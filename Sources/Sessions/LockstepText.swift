// Between HTTP heads and the messages of protocol v1: base64 of JSON that holds base64.
//
// Called by: the owners of v1 sessions, once for each request and each answer.
// Hard: a message comes from somebody who is not trusted, and becomes a head that others read. So
// it is written down as a head first, and then read by the same strict parser as every other one.
// An origin that closed inside its answer shows only in a body that is not as long as announced.

import Connections
import Streams
import Wire

/// What is wrong with an answer.
enum LockstepFault: Error {
    /// The session cannot go on.
    case protocolError(String)
    /// This answer is lost; the next one may be whole.
    case reset(Reset)
}

enum LockstepText {
    /// A Ping that begins so asks what has been answered: an agent that answers pings while a
    /// request runs answers this one in its turn.
    static let barrier = Array("answered? ".utf8)

    /// What a head may be once JSON has escaped it.
    private static let maximumHeadBytes = 512 * 1024
    /// A head is ours, or has had its limit in JSON.
    private static let limits = HeadLimits(
        maximumHeadBytes: maximumHeadBytes, maximumFields: 8192,
        maximumTargetBytes: maximumHeadBytes)

    /// How long a message with such a body can be.
    static func maximumMessageBytes(bodyBytes: Int) -> Int {
        let json = (bodyBytes + 2) / 3 * 4 + maximumHeadBytes
        return (json + 2) / 3 * 4
    }

    private static func json(of message: consuming Piece) -> [UInt8]? {
        Cryptography.decodeBase64(message.bytes[WebSocketReader.payloadStart...])
    }

    // MARK: - The relay

    /// The relay's own head for an agent.
    static func requestHead(_ piece: Piece) throws(HeadError) -> RequestHead {
        try RequestHead.parse(piece.bytes, piece.payload, limits: limits)
    }

    /// The message that asks for it.
    static func request(_ head: RequestHead, body: [UInt8]?) -> [UInt8] {
        var uri = head.bytes[head.target]
        // As a reference `//a/b` names a host and not a path (RFC 3986 §4.2); which host is named
        // does not matter to an agent.
        if uri.starts(with: "//".utf8) { uri = Array("http://localhost".utf8) + uri }
        return Cryptography.base64(
            V1Request.json(
                method: head.bytes[head.method], uri: uri, fields: head.fields,
                dropping: [.host, .contentLength, .expect, .trailer],
                body: body.map(Cryptography.base64)))
    }

    /// The answer in a message: its head and its body.
    static func answer(
        in message: consuming Piece, methodIsHead: Bool, maximumBodyBytes: Int
    ) throws(LockstepFault) -> (head: Piece, body: [UInt8]) {
        guard let json = json(of: message) else {
            throw .protocolError("an answer that is not base64")
        }
        let response: V1Response
        do {
            response = try V1Response.parse(json)
        } catch {
            throw .protocolError("an answer that is not the JSON of a response")
        }
        guard 100...599 ~= response.status else {
            throw .protocolError("a status_code outside 100 to 599")
        }
        guard let body = Cryptography.decodeBase64(response.body ?? []) else {
            throw .protocolError("a body that is not base64")
        }
        // The limit of messages leaves room for a head: a body can be in it, and too large.
        if body.count > maximumBodyBytes {
            throw .reset(
                Reset(.httpProtocolError, reason: "an answer too large for protocol v1"))
        }
        let declared: BodyFraming
        let head: ResponseHead
        do throws(HeadError) {
            var bytes: [UInt8] = []
            HeadWriter.statusLine(response.status, reason: "", to: &bytes)
            // The body is whole, whatever it came in.
            try response.fields.append(to: &bytes, dropping: [.transferEncoding, .trailer])
            HeadWriter.end(to: &bytes)
            head = try ResponseHead.parse(bytes, 0..<bytes.count, limits: limits)
            declared = try head.framing(requestMethodIsHead: methodIsHead)
        } catch {
            throw .reset(Reset(.httpProtocolError, reason: error.reason))
        }
        // None of them can be the final answer to a request that asked for no upgrade.
        if head.status < 200 {
            throw .reset(Reset(.httpProtocolError, reason: "an interim answer as the final one"))
        }
        if case .length(let length) = declared, length != body.count {
            throw .reset(
                Reset(.httpResponseIncomplete, reason: "a body of another length than announced"))
        }
        if declared == .none, !body.isEmpty {
            throw .reset(Reset(.httpProtocolError, reason: "a body where none can be"))
        }
        var piece = Piece(capacity: head.bytes.count + 32)
        HeadWriter.statusLine(head.status, reason: "", to: &piece.bytes)
        head.fields.appendEndToEnd(to: &piece.bytes)
        if declared == .untilClose {
            HeadWriter.field("Content-Length", body.count, to: &piece.bytes)
        }
        HeadWriter.end(to: &piece.bytes)
        return (piece, body)
    }

    // MARK: - The agent

    /// A request out of a message.
    struct Request {
        let head: Piece
        let body: [UInt8]
        let methodIsHead: Bool
    }

    /// The request in a message, as the origin at `host` shall get it; nil where it is none.
    static func request(in message: consuming Piece, host: [UInt8]) -> Request? {
        guard let json = json(of: message), let request = try? V1Request.parse(json),
            let body = Cryptography.decodeBase64(request.body ?? [])
        else { return nil }
        do throws(HeadError) {
            var bytes: [UInt8] = []
            try request.requireMethod()
            HeadWriter.requestLine(
                method: request.method, target: try request.target()[...], to: &bytes)
            HeadWriter.field("Host", host, to: &bytes)
            try request.fields.append(
                to: &bytes, dropping: [.host, .contentLength, .transferEncoding, .expect, .trailer])
            HeadWriter.end(to: &bytes)
            let head = try RequestHead.parse(bytes, 0..<bytes.count, limits: limits)
            if head.methodIs("CONNECT") { return nil }
            var piece = Piece(capacity: head.bytes.count + 32)
            HeadWriter.requestLine(
                method: head.bytes[head.method], target: head.bytes[head.target], to: &piece.bytes)
            // The fields of one connection go, so that no request turns into an upgrade here.
            head.fields.appendEndToEnd(to: &piece.bytes)
            // Some origins refuse these without a length (RFC 9110 §8.6).
            let meansBody = ["POST", "PUT", "PATCH"].contains { head.methodIs($0) }
            if !body.isEmpty || meansBody {
                HeadWriter.field("Content-Length", body.count, to: &piece.bytes)
            }
            HeadWriter.end(to: &piece.bytes)
            return Request(head: piece, body: body, methodIsHead: head.methodIs("HEAD"))
        } catch {
            return nil
        }
    }

    /// The head of an origin's answer; nil for one that is not the final one.
    static func answerHead(_ piece: Piece) throws(HeadError) -> ResponseHead? {
        let head = try ResponseHead.parse(piece.bytes, piece.payload, limits: limits)
        return head.isInterim ? nil : head
    }

    /// The message that answers.
    static func answer(_ head: ResponseHead, body: [UInt8]) -> [UInt8] {
        Cryptography.base64(
            V1Response.json(
                status: head.status, fields: head.fields, body: Cryptography.base64(body)))
    }

    /// The message that answers for an exchange that has failed, or a request that was none.
    static func answer(failure code: ResetCode) -> [UInt8] {
        let error = code == .none || code == .cancelled ? .connectionTerminated : code
        var problem = JSONWriter()
        problem.object { json in
            json.member("type", "about:blank")
            json.member("status", error.status)
            json.member("detail", error.detail)
            json.member("error", error.proxyStatus.description)
        }
        return Cryptography.base64(
            V1Response.json(
                status: error.status,
                fields: [
                    ("Content-Type", "application/problem+json"),
                    ("Proxy-Status", "magicmirror; error=\(error.proxyStatus)"),
                ], body: Cryptography.base64(problem.bytes)))
    }
}
