// The version of all three programs.

package enum Version {
    /// As `--version`, SETTINGS and the metrics show it.
    package static let number = "0.1.0"

    /// What `--version` prints.
    package static func line(program: String) -> String { "\(program) \(number)\n" }
}
