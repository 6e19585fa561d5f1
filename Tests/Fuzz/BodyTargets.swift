// Bodies and frames: chunked coding, WebSocket frames, messages of protocol v2.

struct Decoded: Equatable {
    var data: [UInt8] = []
    var trailers: [UInt8]?
    var isEnded = false
    var rest = 0
    var error: String?
}

/// Decodes with a buffer that grows by `step` bytes.
func decoded(_ bytes: [UInt8], step: Int) -> Decoded {
    var result = Decoded()
    var decoder = ChunkedDecoder()
    var at = 0
    var end = 0
    do {
        while end < bytes.count {
            end = min(end + step, bytes.count)
            var range = at..<end
            reading: while true {
                switch try decoder.next(bytes, &range) {
                case .needMore: break reading
                case .data(let data):
                    promise(!data.isEmpty, "an empty piece of data")
                    result.data += bytes[data]
                case .end(let trailers):
                    result.trailers = trailers.map { Array($0.bytes) }
                    result.isEnded = true
                    result.rest = bytes.count - range.lowerBound
                    return result
                }
            }
            promise(range.isEmpty, "more is asked for while bytes are left")
            at = range.lowerBound
        }
    } catch {
        result.error = "\(error)"
        // How much came before the error depends on the split; that it came does not.
        result.data = []
    }
    return result
}

func chunked(_ bytes: [UInt8]) {
    let whole = decoded(bytes, step: max(bytes.count, 1))
    for step in [1, 2, 5] {
        let split = decoded(bytes, step: step)
        promise(split == whole, "split by \(step): \(split), whole: \(whole)")
    }
    if whole.error == nil, whole.isEnded {
        var again: [UInt8] = []
        if !whole.data.isEmpty {
            appendChunkHeader(size: whole.data.count, to: &again)
            again += whole.data + [0x0D, 0x0A]
        }
        again += Array("0\r\n".utf8) + (whole.trailers ?? [0x0D, 0x0A])
        let parsed = decoded(again, step: again.count)
        promise(
            parsed.isEnded && parsed.data == whole.data && parsed.trailers == whole.trailers,
            "written again it is another body")
    }
}

func frame(_ bytes: [UInt8]) {
    let maximum = 70_000
    let parsed = outcome {
        try FrameHeader.parse(bytes, 0..<bytes.count, maximumPayload: maximum)
    }
    if let header = parsed.value ?? nil {
        promise(header.payloadLength <= maximum, "longer than allowed")
        var again: [UInt8] = []
        FrameHeader.append(
            opcode: header.opcode, payloadLength: header.payloadLength,
            maskingKey: header.maskingKey, isFinal: header.isFinal, to: &again)
        promise(again[...] == bytes[0..<header.headerLength], "written again it is another header")
        for length in 0..<header.headerLength {
            let part = outcome {
                try FrameHeader.parse(bytes, 0..<length, maximumPayload: maximum)
            }
            promise(part.error == nil && (part.value ?? nil) == nil, "half a header is taken")
        }
        if let key = header.maskingKey {
            var payload = Array(bytes[header.headerLength...])
            let plain = payload
            applyMask(key, phase: 0, to: &payload, 0..<payload.count)
            let cut = payload.count / 3
            applyMask(key, phase: 0, to: &payload, 0..<cut)
            applyMask(key, phase: cut, to: &payload, cut..<payload.count)
            promise(payload == plain, "masked twice it is another payload")
        }
    }
    if let payload = try? ClosePayload.parse(bytes, 0..<bytes.count) {
        var again: [UInt8] = []
        payload.append(to: &again)
        // A reason that is too long for a control frame is cut.
        let kept = try? ClosePayload.parse(again, 0..<again.count)
        promise(kept?.code == payload.code, "another close")
        promise(kept.map { payload.reason.hasPrefix($0.reason) } == true, "another reason")
        promise(again.count <= FrameHeader.maximumControlPayload, "too long for a control frame")
    }
}

func message(_ bytes: [UInt8]) {
    guard let header = MessageHeader.parse(bytes, 0..<bytes.count) else {
        return promise(bytes.count < MessageHeader.length, "a header is not taken")
    }
    var again: [UInt8] = []
    header.append(to: &again)
    promise(again[...] == bytes[0..<MessageHeader.length], "another header")
    let payload = MessageHeader.length..<bytes.count
    if let settings = try? Settings.parse(bytes, payload) {
        var text: [UInt8] = []
        settings.append(to: &text)
        promise((try? Settings.parse(text, 0..<text.count)) == settings, "other settings")
    }
    if let credit = try? Credit.parse(bytes, payload) {
        var text: [UInt8] = []
        Credit.append(credit, to: &text)
        promise(text[...] == bytes[payload], "another credit")
    }
    if let reset = try? Reset.parse(bytes, payload) {
        // A reason that is not UTF-8 is repaired, which may make it longer than it may be; once.
        var text: [UInt8] = []
        reset.append(to: &text)
        let kept = try? Reset.parse(text, 0..<text.count)
        promise(kept.map { reset.reason.hasPrefix($0.reason) } == true, "another reset")
        promise(text.count <= 2 + Reset.maximumReasonBytes, "a reason beyond its limit")
    }
    if let trailers = try? Fields.parse(trailers: bytes[payload]) {
        promise(trailers.bytes.dropLast(2) == bytes[payload], "other trailers")
    }
}
