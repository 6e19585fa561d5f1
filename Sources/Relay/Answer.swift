// The answers that the relay makes itself, from one table.
//
// Called by: the workers. The word of `error` also stands in the log line and the metric's label.
// Waits for: nothing.

import Program
import Wire

/// An answer of the relay's own: a problem (RFC 9457), with the failing hop (RFC 9209).
struct Answer: Sendable {
    let status: Int
    /// The error of Proxy-Status.
    let error: ResetCode
    /// For people: what happened and what to do. No bytes from the network.
    let detail: String
    /// Seconds.
    var retryAfter: Int?
    /// The limit that was reached.
    var limit: RelayLimit?

    static let noKey = Answer(
        status: 401, error: .httpRequestDenied, detail: "a valid key is needed")
    static let noSuchMirror = Answer(
        status: 404, error: .destinationNotFound, detail: "no such mirror")
    static let noSuchPage = Answer(
        status: 404, error: .destinationNotFound, detail: "nothing is served at this address")
    static let noAgent = Answer(
        status: 503, error: .destinationUnavailable, detail: "the mirror's agent is not connected",
        retryAfter: 5)
    static let mirrorIsFull = Answer(
        status: 503, error: .connectionLimitReached,
        detail: "too many requests to this mirror at once", retryAfter: 1)
    static let tooManyUpgrades = Answer(
        status: 503, error: .connectionLimitReached,
        detail: "too many upgraded connections at once", retryAfter: 5, limit: .upgrades)
    static let tooManyExchanges = Answer(
        status: 429, error: .connectionLimitReached,
        detail: "too many requests from this address at once", retryAfter: 1,
        limit: .exchangesPerAddress)
    static let draining = Answer(
        status: 503, error: .connectionLimitReached, detail: "the relay is stopping", retryAfter: 5)
    static let plainOnTLS = Answer(
        status: 400, error: .httpRequestError,
        detail: "the plain HTTP request was sent to HTTPS port")
    static let headTooSlow = Answer(
        status: 408, error: .httpRequestError, detail: "the request head did not come in time",
        limit: .headTimeout)
    static let bodyTooSlow = Answer(
        status: 408, error: .httpRequestError, detail: "the request body came too slowly",
        limit: .minimumRate)
    static let bodyTooLarge = Answer(
        status: 413, error: .httpRequestError,
        detail: "the request body is too large for an agent of protocol version 1",
        limit: .legacyBodyBytes)
    static let responseTimeout = Answer(
        status: 504, error: .httpResponseTimeout, detail: "the origin did not answer in time",
        limit: .responseTimeout)
    static let methodNotAllowed = Answer(
        status: 405, error: .httpRequestError, detail: "this address only answers GET and HEAD")

    static func tooManyWrongKeys(retryAfter: Int) -> Answer {
        Answer(
            status: 429, error: .connectionLimitReached,
            detail: "too many wrong keys from this address", retryAfter: retryAfter,
            limit: .wrongKeys)
    }

    /// For a request head that was refused.
    init(_ error: HeadError) {
        let (status, limit): (Int, RelayLimit?) =
            switch error {
            case .malformed, .ambiguousFraming: (400, nil)
            case .headTooLarge: (431, .headBytes)
            case .tooManyFields: (431, .fields)
            case .targetTooLong: (414, .targetBytes)
            case .unsupportedVersion: (505, nil)
            case .unsupportedTransferCoding: (501, nil)
            }
        self.init(status: status, error: .httpRequestError, detail: error.reason, limit: limit)
    }

    /// For an exchange that was cut before its answer began.
    init(_ reset: Reset) {
        let code = reset.code ?? .connectionTerminated
        self.init(
            status: code.status,
            error: code == .none || code == .cancelled ? .connectionTerminated : code,
            detail: code.detail, retryAfter: code.status == 503 ? 5 : nil)
    }

    init(
        status: Int, error: ResetCode, detail: String, retryAfter: Int? = nil,
        limit: RelayLimit? = nil
    ) {
        self.status = status
        self.error = error
        self.detail = detail
        self.retryAfter = retryAfter
        self.limit = limit
    }

    /// The whole response.
    ///
    /// - Parameters:
    ///   - isHTML: the client prefers a page.
    ///   - withBody: false for HEAD.
    func bytes(requestID: [UInt8], isHTML: Bool, withBody: Bool, closes: Bool) -> [UInt8] {
        let body = isHTML ? page(requestID) : problem(requestID)
        var out: [UInt8] = []
        out.reserveCapacity(768)
        HeadWriter.statusLine(status, reason: reasonPhrase(status), to: &out)
        HeadWriter.field("Date", WallClock.httpDate(), to: &out)
        HeadWriter.field(
            "Content-Type",
            text: isHTML ? "text/html; charset=utf-8" : "application/problem+json", to: &out)
        HeadWriter.field("Content-Length", body.count, to: &out)
        HeadWriter.field("Cache-Control", text: "no-store", to: &out)
        HeadWriter.field("Proxy-Status", "magicmirrord; error=\(error.proxyStatus)", to: &out)
        if !requestID.isEmpty { HeadWriter.field("X-Request-Id", requestID, to: &out) }
        if let retryAfter { HeadWriter.field("Retry-After", retryAfter, to: &out) }
        if status == 401 {
            HeadWriter.field("WWW-Authenticate", text: "Bearer realm=\"magicmirror\"", to: &out)
            HeadWriter.field(
                "WWW-Authenticate", text: "Basic realm=\"magicmirror\", charset=\"UTF-8\"", to: &out
            )
        }
        if status == 405 { HeadWriter.field("Allow", text: "GET, HEAD", to: &out) }
        if closes { HeadWriter.field("Connection", text: "close", to: &out) }
        HeadWriter.end(to: &out)
        if withBody { out.append(contentsOf: body) }
        return out
    }

    private func problem(_ requestID: [UInt8]) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.member("type", "about:blank")
            json.member("title", reasonPhrase(status).description)
            json.member("status", status)
            json.member("detail", detail)
            json.member("error", error.proxyStatus.description)
            if !requestID.isEmpty {
                json.member("request_id", String(decoding: requestID, as: UTF8.self))
            }
        }
        return json.bytes + [0x0A]
    }

    // The request id holds no character that means something in HTML (see RequestID).
    private func page(_ requestID: [UInt8]) -> [UInt8] {
        let title = "\(status) \(reasonPhrase(status))"
        let id = String(decoding: requestID, as: UTF8.self)
        return Array(
            """
            <!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>\(title)</title></head>
            <body><h1>\(title)</h1><p>\(detail)</p>
            <p><small>magicmirrord: \(error.proxyStatus)\(id.isEmpty ? "" : "; request \(id)")</small></p>
            </body></html>

            """.utf8)
    }
}

/// The reason phrase of a status that the relay gives itself.
func reasonPhrase(_ status: Int) -> StaticString {
    switch status {
    case 200: "OK"
    case 400: "Bad Request"
    case 401: "Unauthorized"
    case 403: "Forbidden"
    case 404: "Not Found"
    case 405: "Method Not Allowed"
    case 408: "Request Timeout"
    case 413: "Content Too Large"
    case 414: "URI Too Long"
    case 429: "Too Many Requests"
    case 431: "Request Header Fields Too Large"
    case 500: "Internal Server Error"
    case 501: "Not Implemented"
    case 502: "Bad Gateway"
    case 503: "Service Unavailable"
    case 504: "Gateway Timeout"
    case 505: "HTTP Version Not Supported"
    default: "Error"
    }
}
