// The verbs that ask a running relay: `status`, `mirrors`, `disconnect`, `drain`, `reload`.

import Program

enum ControlCommands {
    /// Asks, and prints what the relay says: to standard output where it has done what was asked.
    static func run(_ request: ControlRequest, _ line: ControlCommandLine) -> ExitCode {
        do throws(ControlError) {
            let (isDone, body) = try ControlClient.ask(
                request, socket: line.socket, wantsJSON: line.wantsJSON)
            let text = String(decoding: body, as: UTF8.self)
            if isDone || line.wantsJSON {
                return StandardOutput.write(text) && isDone ? .stopped : .failed
            }
            say(text.hasSuffix("\n") ? String(text.dropLast()) : text)
        } catch {
            say(error.message)
        }
        return .failed
    }

    private static func say(_ message: String) {
        StandardError.write(line: "magicmirrorctl: " + message)
    }
}
