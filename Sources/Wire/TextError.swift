// What is wrong with a text that an operator wrote, in words for one line of output.

/// A message in lower case without a full stop; the caller puts file and line before it.
package struct TextError: Error, Equatable, Sendable, CustomStringConvertible {
    package let message: String

    package init(_ message: String) { self.message = message }

    package var description: String { message }
}

/// The same with the line it stands in, counted from 1.
package struct LineError: Error, Equatable, Sendable, CustomStringConvertible {
    package let line: Int
    package let message: String

    package init(line: Int, _ message: String) {
        self.line = line
        self.message = message
    }

    package var description: String { "\(line): \(message)" }
}
