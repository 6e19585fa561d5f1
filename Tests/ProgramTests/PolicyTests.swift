// What an agent lets through, and the verbs that show it.

import Program
import Testing
import Wire

@testable import Agent

private func policy(_ rules: String...) throws -> Policy {
    var values = SettingValues()
    for rule in rules { values.append("allow", SettingValue(rule, .option("allow"))) }
    return try Policy(values)
}

private func decide(_ policy: Policy, _ method: String, _ path: String) -> Policy.Decision {
    policy.decide(method: Array(method.utf8)[...], path: Array(path.utf8)[...])
}

@Suite struct PolicyTests {
    @Test func `without rules everything is allowed`() {
        #expect(decide(.unrestricted, "DELETE", "/a/../b") == .allowed(rule: nil))
    }

    @Test func `the first rule that allows is named`() throws {
        let policy = try policy("GET,HEAD /api/*", "POST /api/v1/query", "* /open/*")
        #expect(decide(policy, "GET", "/api/v1/query") == .allowed(rule: "GET,HEAD /api/*"))
        #expect(decide(policy, "POST", "/api/v1/query") == .allowed(rule: "POST /api/v1/query"))
        #expect(decide(policy, "PUT", "/open/x") == .allowed(rule: "* /open/*"))
        #expect(decide(policy, "PUT", "/api/x") == .refused(reason: "no rule allows it"))
        #expect(decide(policy, "get", "/api/x") == .refused(reason: "no rule allows it"))
        #expect(decide(policy, "GET", "/api") == .refused(reason: "no rule allows it"))
    }

    @Test(arguments: [
        ("/api/../admin", "'.' or '..' as a segment of the path"),
        ("/api/%2e%2e/admin", "'.' or '..' as a segment of the path"),
        ("/api/%2fadmin", "encoded slash in the path"),
        ("/api//admin", "empty segment in the path"),
        ("/api/%252e", "path is percent-encoded twice"),
        ("/api/\\admin", "backslash in the path"),
        ("/api/%zz", "broken percent-encoding in the path"),
    ])
    func `a path that could be read in two ways is refused`(path: String, reason: String) throws {
        #expect(decide(try policy("GET /api/*"), "GET", path) == .refused(reason: reason))
    }

    /// What a preset must allow and must not.
    @Test(arguments: [
        ("prometheus", "GET", "/api/v1/query", true),
        ("prometheus", "POST", "/api/v1/query_range", true),
        ("prometheus", "POST", "/api/v1/series", true),
        ("prometheus", "GET", "/api/v1/labels", true),
        ("prometheus", "GET", "/api/v1/label/__name__/values", true),
        ("prometheus", "GET", "/api/v1/metadata", true),
        ("prometheus", "GET", "/api/v1/rules", true),
        ("prometheus", "GET", "/api/v1/alerts", true),
        ("prometheus", "GET", "/api/v1/targets", true),
        ("prometheus", "GET", "/api/v1/status/buildinfo", true),
        ("prometheus", "POST", "/api/v1/format_query", true),
        ("prometheus", "POST", "/api/v1/query_exemplars", true),
        ("prometheus", "GET", "/-/healthy", true),
        ("prometheus", "GET", "/-/ready", true),
        ("prometheus", "POST", "/-/reload", false),
        ("prometheus", "PUT", "/-/quit", false),
        ("prometheus", "POST", "/api/v1/admin/tsdb/delete_series", false),
        ("prometheus", "DELETE", "/api/v1/series", false),
        ("prometheus", "POST", "/api/v1/write", false),
        ("prometheus", "GET", "/", false),
        ("prometheus", "POST", "/api/v1/status/config", false),
        ("read-only", "GET", "/anything/../else", true),
        ("read-only", "OPTIONS", "", true),
        ("read-only", "POST", "/api/v1/query", false),
        ("read-only", "TRACE", "/", false),
    ])
    func `a preset knows its service`(preset: String, method: String, path: String, allowed: Bool)
        throws
    {
        let policy = Policy(try #require(Policy.preset(preset)))
        switch decide(policy, method, path) {
        case .allowed(let rule):
            #expect(allowed, "\(method) \(path)")
            #expect(rule?.hasPrefix("\(preset): ") == true)
        case .refused: #expect(!allowed, "\(method) \(path)")
        }
    }

    @Test func `every preset is made of rules`() {
        for preset in Policy.presets {
            #expect(Policy.preset(preset.name)?.count == preset.rules.count)
        }
        #expect(Policy.preset("nothing") == nil)
    }

    // MARK: policy show, policy test

    private func answer(_ arguments: [String], file: String? = nil) throws -> (String, ExitCode) {
        let directory = try TemporaryDirectory()
        let path = try file.map { try directory.file("agent.conf", $0) } ?? "/nonexistent"
        let line = try AgentCommandLine.parse(
            ["magicmirror", "policy"] + arguments, Environment([:]), defaultFile: path)
        guard case .print(let text, let code) = line else { return ("", .failed) }
        return (text, code)
    }

    @Test func `policy show needs nothing but the policy`() throws {
        #expect(try answer(["show"]).0.hasPrefix("everything is allowed"))
        #expect(
            try answer(["show", "--policy", "read-only", "--allow", "POST /x"]).0
                == "read-only: GET,HEAD,OPTIONS *\nPOST /x\n")
        let file = "allow = GET /top\n[mirror one]\n[mirror two]\npolicy = read-only\n"
        #expect(
            try answer(["show"], file: file).0
                == "[mirror one]\nGET /top\n[mirror two]\nread-only: GET,HEAD,OPTIONS *\n")
    }

    @Test func `policy test tells the rule, and by its exit code the verdict`() throws {
        let allowed = try answer(["test", "GET", "/x?query=/y", "--allow", "GET /x"])
        #expect(allowed.0 == "allowed by 'GET /x'\n")
        #expect(allowed.1 == .stopped)
        let refused = try answer(["test", "POST", "/x", "--allow", "GET /x"])
        #expect(refused.0 == "refused: no rule allows it\n")
        #expect(refused.1 == .failed)
        let open = try answer(["test", "POST", "/x"])
        #expect(open.0 == "allowed: there are no rules\n")
        let both = try answer(
            ["test", "GET", "/x"], file: "[mirror one]\nallow = GET /x\n[mirror two]\nallow = * /y")
        #expect(
            both.0 == "[mirror one] allowed by 'GET /x'\n[mirror two] refused: no rule allows it\n")
        #expect(both.1 == .failed)
        #expect(throws: StartError.commandLine("path 'x' does not begin with '/'")) {
            try answer(["test", "GET", "x"])
        }
    }
}
