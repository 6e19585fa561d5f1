// magicmirrorctl(8): the keys of a relay, and a running relay, from the command line.
//
// One thread, no journal: answers go to standard output, everything else to standard error.

import Program
import Relay
import Wire

@main
struct Command {
    static func main() {
        Descriptors.fillStandardPlaces()
        let code: ExitCode
        do throws(StartError) {
            let line = try ControlCommandLine.parse(CommandLine.arguments)
            switch line.verb {
            case .print(let text): code = StandardOutput.write(text) ? .stopped : .failed
            case .addKey(let request): code = try KeyCommands(line).add(request)
            case .listKeys: code = try KeyCommands(line).list()
            case .revokeKey(let id): code = KeyCommands(line).revoke(id)
            case .control(let request): code = ControlCommands.run(request, line)
            }
        } catch {
            StandardError.write(line: error.line(program: "magicmirrorctl"))
            error.exitCode.exit()
        }
        code.exit()
    }
}
