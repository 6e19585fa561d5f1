// magicmirrorctl(8) from its command line to its exit code.
//
// Called by: the program `magicmirrorctl`; and by `magicmirrord` where it is called by that name, as
// it is where `make install` has put them: the Swift runtime, most of either, is there once.
// One thread, no journal: answers go to standard output, everything else to standard error.

import Program

package enum ControlProgram {
    /// Whether the command line begins with the name of this program.
    package static func isCalled(by arguments: [String]) -> Bool {
        arguments.first?.split(separator: "/").last == "magicmirrorctl"
    }

    /// Does what the command line says, and ends the program.
    package static func run(_ arguments: [String]) -> Never {
        let code: ExitCode
        do throws(StartError) {
            let line = try ControlCommandLine.parse(arguments)
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
