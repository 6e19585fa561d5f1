// The environment variables of the process, or those that a test gives.

import Glibc

/// Where environment variables are looked up.
package struct Environment: Sendable {
    private let values: [String: String]?

    /// That of this process. Nothing here ever changes it, so any thread may look.
    package static let process = Environment(values: nil)

    /// Only these variables.
    package init(_ values: [String: String]) {
        self.init(values: values)
    }

    private init(values: [String: String]?) {
        self.values = values
    }

    /// The value of a variable; nil where it is unset or empty.
    package subscript(name: String) -> String? {
        let value: String?
        if let values {
            value = values[name]
        } else if let found = unsafe getenv(name) {
            value = unsafe String(cString: found)
        } else {
            value = nil
        }
        return value?.isEmpty == true ? nil : value
    }
}
