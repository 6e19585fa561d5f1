// What an agent lets through: rules of methods and paths, held against each request before its
// origin sees it. So a relay in the wrong hands cannot do more than the rules say.
//
// Called by: the agent's workers, for each request; AgentConfiguration builds it once.
// Hard: the path that is judged must be the path that the origin sees; Wire/PathPattern refuses
// every path that could be read in two ways.

import Program
import Wire

/// The rules of one mirror. Without any rule everything is allowed.
package struct Policy: Sendable, Equatable {
    /// What becomes of a request.
    package enum Decision: Sendable, Equatable {
        /// Allowed, by the rule of this name; nil: there are no rules.
        case allowed(rule: String?)
        /// Refused; the reason is for the log and the answer.
        case refused(reason: String)
    }

    /// A rule with the name that logs show.
    package struct Rule: Sendable, Equatable {
        package let name: String
        package let allow: AllowRule
    }

    package let rules: [Rule]
    /// The same rules as `RuleVerdict` takes them.
    private let allowed: [AllowRule]

    package static let unrestricted = Policy([])

    package init(_ rules: [Rule]) {
        self.rules = rules
        allowed = rules.map(\.allow)
    }

    package var isUnrestricted: Bool { rules.isEmpty }

    /// Judges a request.
    ///
    /// - Parameter path: of the target as it is sent to the origin, still encoded, without a query.
    package func decide(method: ArraySlice<UInt8>, path: ArraySlice<UInt8>) -> Decision {
        if rules.isEmpty { return .allowed(rule: nil) }
        switch RuleVerdict.find(in: allowed, method: method, path: path) {
        case .allowed(let index): return .allowed(rule: rules[index].name)
        case .noRule: return .refused(reason: "no rule allows it")
        case .doubtfulPath(let doubt): return .refused(reason: doubt.rawValue)
        }
    }

    // MARK: Presets

    /// Rules that know a service, under a name.
    package struct Preset: Sendable {
        package let name: String
        package let summary: String
        package let rules: [String]
    }

    /// Every preset. Grafana asks queries by POST, so `GET` alone would break it.
    package static let presets = [
        Preset(
            name: "prometheus",
            summary: "queries and status of Prometheus, nothing that changes it",
            rules: [
                "GET,HEAD,POST /api/v1/query", "GET,HEAD,POST /api/v1/query_range",
                "GET,HEAD,POST /api/v1/query_exemplars", "GET,HEAD,POST /api/v1/format_query",
                "GET,HEAD,POST /api/v1/parse_query", "GET,HEAD,POST /api/v1/series",
                "GET,HEAD,POST /api/v1/labels", "GET,HEAD /api/v1/label/*/values",
                "GET,HEAD /api/v1/metadata", "GET,HEAD /api/v1/targets",
                "GET,HEAD /api/v1/targets/metadata", "GET,HEAD /api/v1/rules",
                "GET,HEAD /api/v1/alerts", "GET,HEAD /api/v1/alertmanagers",
                "GET,HEAD /api/v1/status/*", "GET,HEAD /-/healthy", "GET,HEAD /-/ready",
            ]),
        Preset(
            name: "read-only", summary: "every path, by the methods that change nothing",
            rules: ["GET,HEAD,OPTIONS *"]),
    ]

    /// The rules of a preset; nil where there is none of that name.
    package static func preset(_ name: String) -> [Rule]? {
        presets.first { $0.name == name }?.rules.map { text in
            guard let allow = try? AllowRule.parse(text) else {
                fatalError("preset \(name) has a broken rule: \(text)")
            }
            return Rule(name: "\(name): \(text)", allow: allow)
        }
    }

    // MARK: Settings

    /// The policy that `policy` and `allow` set together: what any rule of either allows.
    init(_ values: SettingValues) throws(StartError) {
        var rules: [Rule] = []
        if let value = values.first("policy") {
            guard let preset = Self.preset(value.text) else {
                let names = Self.presets.map(\.name)
                throw value.error(
                    "'\(value.text)' is none of \(names.map { "'\($0)'" }.joined(separator: ", "))"
                        + suggestion(for: value.text, among: names))
            }
            rules += preset
        }
        for value in values.all("allow") {
            do throws(TextError) {
                let allow = try AllowRule.parse(value.text)
                rules.append(Rule(name: allow.description, allow: allow))
            } catch {
                throw value.error(error.message)
            }
        }
        self.init(rules)
    }

    /// What `policy show` prints for one mirror, a line for each rule.
    package var text: String {
        if rules.isEmpty { return "everything is allowed (neither 'policy' nor 'allow' is set)\n" }
        return rules.map { $0.name + "\n" }.joined()
    }
}
