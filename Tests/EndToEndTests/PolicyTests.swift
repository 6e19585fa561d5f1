// What the agent lets through: a rule that refuses is an answer of its own, and the origin is not
// asked.

import Foundation
import Testing

struct PolicyTests {
    @Test(arguments: [
        ("GET", "/api/v1/query?query=up", 200), ("POST", "/api/v1/query", 403),
        ("GET", "/api/v2/query", 403), ("DELETE", "/api/v1/x", 403),
        ("GET", "/api/v1/../admin", 403), ("GET", "/api/v1/%2e%2e/admin", 403),
    ])
    func `a rule of the command line is held`(method: String, path: String, status: Int) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, agent: ["--allow", "GET,HEAD /api/v1/*"])
            let response = try mirror.ask(method, path)
            if status == 200 {
                #expect(response.text == path)
            } else {
                expectProblem(response, 403, "http_request_denied")
                try mirror.relay.expectLine(status: 403, error: "http_request_denied")
                #expect(origin.accepted == 0)
            }
        }
    }

    @Test(arguments: [
        ("POST", "/api/v1/query", 200), ("GET", "/api/v1/label/job/values", 200),
        ("GET", "/-/healthy", 200), ("POST", "/api/v1/admin/tsdb/delete_series", 403),
        ("PUT", "/-/quit", 403), ("POST", "/-/reload", 403), ("POST", "/api/v1/write", 403),
    ])
    func `the policy for Prometheus lets queries through and nothing that changes it`(
        method: String, path: String, status: Int
    ) throws {
        try stage { stage in
            let origin = try Origin.echoingTarget()
            let mirror = try stage.mirror(origin, agent: ["--policy", "prometheus"])
            #expect(try mirror.ask(method, path).status == status)
            #expect(origin.requests.count == (status == 200 ? 1 : 0))
        }
    }

    @Test func `a policy can be shown and tried without a relay`() throws {
        try stage { stage in
            let shown = try stage.run(Built.agent, ["policy", "show", "--policy", "prometheus"])
            #expect(shown.exit == .code(0), "\(shown.error)")
            #expect(shown.output.contains("/api/v1/query"))
            let allowed = try stage.run(
                Built.agent, ["policy", "test", "--policy", "prometheus", "GET", "/api/v1/query"])
            #expect(allowed.exit == .code(0), "\(allowed.error)")
            let refused = try stage.run(
                Built.agent, ["policy", "test", "--policy", "prometheus", "PUT", "/-/quit"])
            #expect(refused.exit == .code(1), "\(refused.error)")
        }
    }
}
