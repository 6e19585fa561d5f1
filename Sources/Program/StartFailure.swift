// Any error that stops a program at its start, as one line and an exit code.
//
// Called by: the programs' mains, last of all.

/// Made of whatever was thrown. What the operator wrote has its own codes; what the machine lacks,
/// an address in use for one, is a failure at run time.
package struct StartFailure {
    private let message: String?
    private let start: StartError?
    package let exitCode: ExitCode

    package init(_ error: any Error) {
        switch error {
        case let error as StartError:
            start = error
            message = nil
            exitCode = error.exitCode
        case let error as FileError:
            start = nil
            message = error.message
            exitCode = .failed
        default:
            start = nil
            message = "\(error)"
            exitCode = .failed
        }
    }

    package func line(program: String) -> String {
        start?.line(program: program) ?? "\(program): \(message ?? "")"
    }
}
