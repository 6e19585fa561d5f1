// What an agent of protocol v1 cannot carry: the relay answers for it.
//
// Called by: ClientWorker before a request waits for its turn, ClientExchange once it has a place.
// Hard: the original agent is lost for good in an upgrade or an answer without end, so it must
// never get a request that could lead to one.

import Wire

extension MirrorRequest {
    /// The answer to a request that such an agent must not get; nil where it can have it.
    ///
    /// - Parameter maximumBodyBytes: bodies travel whole.
    func refusal(byVersion1 maximumBodyBytes: Int) -> Answer? {
        let unsupported = { (what: String) in
            Answer(
                status: 501, error: .httpRequestError,
                detail: "the mirror's agent speaks protocol version 1, which carries no \(what)")
        }
        if upgrade != nil { return unsupported("upgrades") }
        if asksForEvents { return unsupported("event streams") }
        if head.form == .asterisk { return unsupported("requests without a path") }
        if case .length(let length) = framing, length > maximumBodyBytes { return .bodyTooLarge }
        return nil
    }

    /// Whether the answer may be a stream of events, which has no end.
    private var asksForEvents: Bool {
        let fields = head.fields
        return fields.lines.contains { line in
            line.id == .accept
                && String(decoding: fields.bytes[line.value], as: UTF8.self).lowercased()
                    .contains("text/event-stream")
        }
    }
}
