// Why a program stops at its start: something the operator wrote cannot be used.
//
// Thrown by: everything that reads options, configuration, keys. Caught by: the programs, which
// write its one line to standard error and exit with its code.

/// What is wrong, where it stands, and what to do, in one line.
package enum StartError: Error, Equatable, Sendable {
    /// The command line is wrong. The message names the option.
    case commandLine(String)
    /// The configuration is wrong. `place` is `FILE:LINE`, or what else holds the value.
    case configuration(place: String?, message: String)
    /// The configuration may be right, but the machine does not give what it asks for.
    case failed(place: String?, message: String)

    package var exitCode: ExitCode {
        switch self {
        case .commandLine: .commandLine
        case .configuration: .configuration
        case .failed: .failed
        }
    }

    /// The line for the operator. A place in a file stands first, as editors expect it.
    package func line(program: String) -> String {
        switch self {
        case .commandLine(let message): "\(program): \(message)"
        case .configuration(let place?, let message), .failed(let place?, let message):
            "\(place): \(message)"
        case .configuration(nil, let message), .failed(nil, let message):
            "\(program): \(message)"
        }
    }
}

/// The name that was probably meant, as ` (did you mean 'NAME'?)`, or nothing.
package func suggestion(for name: String, among names: [String], prefix: String = "") -> String {
    let wanted = Array(name.utf8)
    let nearest =
        names
        .map { (name: $0, distance: editDistance(wanted, Array($0.utf8))) }
        .min { $0.distance < $1.distance }
    // A third of the letters may be wrong: 'lisen' finds 'listen', 'x' finds nothing.
    guard let nearest, nearest.distance <= max(1, wanted.count / 3), nearest.distance < wanted.count
    else { return "" }
    return " (did you mean '\(prefix)\(nearest.name)'?)"
}

/// The number of letters to insert, delete, replace or swap with their neighbour.
private func editDistance(_ left: [UInt8], _ right: [UInt8]) -> Int {
    // Rows of the usual table: the one before last (for swaps), the last, and this one.
    var beforeLast = [Int](repeating: 0, count: right.count + 1)
    var last = Array(0...right.count)
    for i in left.indices {
        var row = [i + 1]
        for j in right.indices {
            let replaced = last[j] + (left[i] == right[j] ? 0 : 1)
            var best = min(replaced, last[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, left[i] == right[j - 1], left[i - 1] == right[j] {
                best = min(best, beforeLast[j - 1] + 1)
            }
            row.append(best)
        }
        (beforeLast, last) = (last, row)
    }
    return last[right.count]
}
