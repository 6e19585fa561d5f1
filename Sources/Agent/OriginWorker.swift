// What a worker of the agent's pool does with one request: policy, origin, answer, log line.
//
// Called by: the pool, for each request that a session's owner has put in its queue.
// Waits for: what OriginExchange waits for.

import Program
import Sessions
import Threads
import Wire

struct OriginWorker: Sendable {
    let journal: Journal
    let limits: AgentLimits
    let metrics: AgentMetrics
    let upgrades: UpgradeLimit

    /// What the log line of an exchange tells.
    struct Account: Sendable {
        let start = Deadline.now
        var rule: String?
        var status = 0
        var bytesIn = 0
        var bytesOut = 0
        var error: OriginError?
        /// When the head of the origin's answer had come.
        var answered: Deadline?
    }

    /// Carries one exchange to its end. Blocks as long as it takes.
    func serve(_ job: OriginJob, _ doorbell: Doorbell) {
        metrics.exchangesInFlight.add()
        var account = Account()
        let head: RequestHead
        do {
            // The relay's own limits hold; here the head only has to be one message.
            head = try RequestHead.parse(
                job.head.bytes, job.head.payload,
                limits: HeadLimits(
                    maximumHeadBytes: MessageHeader.maximumPayload, maximumFields: 8192,
                    maximumTargetBytes: MessageHeader.maximumPayload))
        } catch {
            job.exchange.reset(.httpRequestError, error.reason)
            metrics.count(.httpRequestError)
            journal.warning("the relay sent a broken request") {
                $0.field("MIRROR", job.mirror.name.text)
                $0.field("REASON", error.reason)
            }
            metrics.exchangesInFlight.subtract()
            return
        }
        do {
            if let upgraded = try ask(job, head, doorbell, &account) {
                return OriginUpgrade(worker: self, job: job, head: head, account: account)
                    .start(on: upgraded)
            }
        } catch {
            account.error = error
            job.exchange.reset(error.code, error.reason)
        }
        end(job, head, account)
    }

    /// The last of an exchange, whoever has carried it.
    func end(_ job: OriginJob, _ head: RequestHead, _ account: Account) {
        job.exchange.finish()
        count(account)
        log(job, head, account)
        metrics.exchangesInFlight.subtract()
    }

    /// - Returns: the connection to the origin, where it has switched protocols.
    private func ask(
        _ job: OriginJob, _ head: RequestHead, _ doorbell: Doorbell, _ account: inout Account
    ) throws(OriginError) -> Handover<OriginConnection>? {
        switch job.mirror.policy.decide(method: head.bytes[head.method], path: head.path) {
        case .allowed(let rule): account.rule = rule
        case .refused(let reason):
            throw OriginError(code: .httpRequestDenied, reason: "refused by the agent: \(reason)")
        }
        // With a prefix, only what is below it is for this mirror.
        if !job.mirror.paths.prefix.isEmpty, PathDoubt.climbs(head.path) {
            throw OriginError(
                code: .httpRequestDenied,
                reason: "refused by the agent: \(PathDoubt.dotSegment.rawValue)")
        }
        let request: OriginRequest
        do {
            request = try OriginRequest(head, ends: job.ends, mirror: job.mirror)
        } catch {
            throw OriginError(code: .httpRequestError, reason: error.reason)
        }
        if request.upgrade != nil {
            guard let permit = upgrades.take(atMost: limits.maximumUpgrades) else {
                throw OriginError(
                    code: .connectionLimitReached, reason: "too many upgraded connections",
                    limit: .upgrades)
            }
            job.exchange.permitUpgrade(permit)
        }
        let origin = job.mirror.origin
        var kept = origin.take(isRepeatable: request.isRepeatable)
        while true {
            let connection: OriginConnection
            if let found = kept.take() {
                connection = found
                metrics.originReuses.add()
            } else {
                connection = try origin.connect()
                metrics.originConnections.add()
            }
            var exchange = OriginExchange(
                job.exchange, request, ends: job.ends, mirror: job.mirror, doorbell: doorbell,
                limits: limits)
            defer {
                account.status = exchange.status
                account.bytesIn = exchange.bytesIn
                account.bytesOut = exchange.bytesOut
                account.answered = exchange.answered
            }
            switch try exchange.run(on: connection) {
            case .complete(let isKept):
                if isKept { origin.put(connection) }
                exchange.sendLast()
                return nil
            case .upgraded: return Handover(connection)
            case .cut:
                throw OriginError(
                    code: .cancelled, reason: job.exchange.cut?.reason ?? "cut by the relay")
            case .stale: break
            }
        }
    }

    private func count(_ account: Account) {
        if account.status > 0 { metrics.count(status: account.status) }
        if let error = account.error {
            metrics.count(error.code)
            if let limit = error.limit { metrics.reached(limit) }
        }
        metrics.bytesIn.add(account.bytesIn)
        metrics.bytesOut.add(account.bytesOut)
    }

    private func log(_ job: OriginJob, _ head: RequestHead, _ account: Account) {
        let level: Journal.Level =
            account.error == nil || account.error?.code == .cancelled ? .info : .warning
        journal.write(level, "exchange") { line in
            line.field("MIRROR", job.mirror.name.text)
            line.field("EXCHANGE", Int(job.exchange.id))
            if let id = head.fields.value(.xRequestId) { line.field("REQUEST_ID", id) }
            line.field("METHOD", head.bytes[head.method])
            line.field("PATH", head.path(withQuery: job.mirror.logsQueries))
            line.field("STATUS", account.status)
            if let error = account.error {
                line.field("ERROR", error.code.proxyStatus)
                line.field("REASON", error.reason)
            }
            if let rule = account.rule { line.field("RULE", rule) }
            line.field("BYTES_IN", account.bytesIn)
            line.field("BYTES_OUT", account.bytesOut)
            if let answered = account.answered {
                line.field("ORIGIN_MS", milliseconds: answered - account.start)
            }
            line.field("DURATION_MS", milliseconds: nanosecondsSince(account.start))
        }
    }
}
