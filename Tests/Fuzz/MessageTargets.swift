// Messages of protocol v1: whatever comes out of them, it is the lines that it looks like, and what
// one side writes the other reads.

import Connections
import Streams
import Wire

/// For what is written here, which may be longer than what came.
private let unlimited = HeadLimits(
    maximumHeadBytes: .max, maximumFields: .max, maximumTargetBytes: .max)

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
    // A text that is written is read as it was.
    var writer = JSONWriter()
    writer.string(bytes)
    var text = JSONReader(writer.bytes, maximumValues: 1)
    promise(
        (try? text.string())?.elementsEqual(String(decoding: bytes, as: UTF8.self).utf8) == true,
        "another text")
    // As the body of a message, too, these bytes are a head or nothing.
    let message = framed(Cryptography.base64(bytes))
    if let answer = try? LockstepText.answer(
        in: message, methodIsHead: false, maximumBodyBytes: 1 << 24)
    {
        guard
            let head = try? ResponseHead.parse(
                answer.head.bytes, answer.head.payload, limits: unlimited)
        else { fatalError("an answer without a head") }
        let framing = try? head.framing(requestMethodIsHead: false)
        promise(
            framing == .length(answer.body.count) || framing == BodyFraming.none,
            "a body of another length")
        promise(framing != BodyFraming.none || answer.body.isEmpty, "a body where none can be")
    }
    if let request = LockstepText.request(in: message, host: Array("origin.test".utf8)) {
        guard
            let head = try? RequestHead.parse(
                request.head.bytes, request.head.payload, limits: unlimited)
        else { fatalError("a request without a head") }
        promise(head.authority?.elementsEqual("origin.test".utf8) == true, "another origin")
        promise(!head.fields.present.contains(.upgrade), "an upgrade")
        let framing = try? head.framing()
        promise(
            framing == .length(request.body.count)
                || framing == BodyFraming.none && request.body.isEmpty, "a body of another length")
    }
}

private func check(_ fields: V1Fields) {
    var lines: [UInt8] = []
    guard (try? fields.append(to: &lines, dropping: [.host])) != nil else { return }
    lines += [0x0D, 0x0A]
    let parsed = try? Fields.parse(lines, 0..<lines.count, limits: unlimited)
    promise(parsed != nil, "lines that are none")
    promise(parsed?.present.contains(.host) == false, "a field that was to be left out")
}

/// A message as it comes out of a WebSocket.
private func framed(_ payload: [UInt8]) -> Piece {
    var piece = Piece(capacity: 0)
    piece.bytes.removeLast(Piece.headroom - WebSocketReader.payloadStart)
    piece.bytes += payload
    return piece
}

/// A request or an answer with its body behind it, sent through an agent of v1.
func version1(_ input: [UInt8]) {
    var scanner = HeadScanner()
    guard let end = try? scanner.end(in: input, 0..<input.count) else { return }
    let body = Array(input[end...])
    if let head = try? RequestHead.parse(input, 0..<end), head.form.isOrigin {
        var piece = Piece(capacity: 0)
        HeadWriter.requestLine(
            method: head.bytes[head.method], target: head.bytes[head.target], to: &piece.bytes)
        head.fields.appendEndToEnd(to: &piece.bytes, dropping: [.host, .contentLength])
        HeadWriter.field("Host", "relay.test", to: &piece.bytes)
        HeadWriter.end(to: &piece.bytes)
        // The relay's own fields can make more of them than it takes from a client.
        guard let sent = try? LockstepText.requestHead(piece) else { return }
        let message = framed(LockstepText.request(sent, body: body))
        guard let request = LockstepText.request(in: message, host: Array("origin.test".utf8)),
            let got = try? RequestHead.parse(
                request.head.bytes, request.head.payload,
                limits: unlimited)
        else { fatalError("a request was lost") }
        promise(request.body == body, "another body")
        promise(got.bytes[got.method] == sent.bytes[sent.method], "another method")
        promise(got.bytes[got.target] == sent.bytes[sent.target], "another target")
        promise(
            lines(got.fields, without: [.host, .contentLength, .acceptEncoding])
                == lines(
                    sent.fields,
                    without: [.host, .contentLength, .expect, .trailer, .acceptEncoding]),
            "other fields")
    }
    if let head = try? ResponseHead.parse(input, 0..<end), head.status >= 200 {
        let message = framed(LockstepText.answer(head, body: body))
        guard
            let answer = try? LockstepText.answer(
                in: message, methodIsHead: false, maximumBodyBytes: 1 << 24)
        else {
            return
        }
        guard
            let got = try? ResponseHead.parse(
                answer.head.bytes, answer.head.payload,
                limits: unlimited)
        else { fatalError("an answer without a head") }
        promise(got.status == head.status && answer.body == body, "another answer")
        promise(
            lines(got.fields, without: [.contentLength])
                == lines(head.fields, without: [.contentLength, .trailer]), "other fields")
    }
}

extension TargetForm {
    fileprivate var isOrigin: Bool {
        if case .origin = self { return true }
        return false
    }
}

/// The end-to-end lines, sorted by name: a map has no order among names. What is not UTF-8 in a
/// value is repaired on the way, since JSON cannot hold it.
private func lines(_ fields: Fields, without dropped: FieldSet) -> [[String]] {
    var bytes: [UInt8] = []
    fields.appendEndToEnd(to: &bytes, dropping: dropped)
    HeadWriter.end(to: &bytes)
    guard let kept = try? Fields.parse(bytes, 0..<bytes.count, limits: unlimited) else {
        fatalError("lines that are none")
    }
    let pairs = kept.lines.enumerated().map { place, line in
        (
            String(decoding: kept.bytes[line.name], as: UTF8.self).lowercased(), place,
            String(decoding: kept.bytes[line.value], as: UTF8.self)
        )
    }
    return pairs.sorted { ($0.0, $0.1) < ($1.0, $1.1) }.map { [$0.0, $0.2] }
}
