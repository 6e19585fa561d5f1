// magicmirror(1): the agent. Options, configuration, run, exit code.

import Agent
import Program

@main
struct Command {
    static func main() {
        Allocator.tune()
        Descriptors.fillStandardPlaces()
        Descriptors.raiseLimit()
        Signals.block()
        do {
            switch try AgentCommandLine.parse(CommandLine.arguments, .process) {
            case .print(let text, let code):
                (StandardOutput.write(text) ? code : .failed).exit()
            case .check(let configuration):
                try AgentProgram.check(configuration)
                StandardOutput.write("the configuration is right\n")
                ExitCode.stopped.exit()
            case .doctor(let configuration): try Doctor(configuration).run().exit()
            case .run(let configuration): try run(configuration)
            }
        } catch {
            let failure = StartFailure(error)
            StandardError.write(line: failure.line(program: "magicmirror"))
            failure.exitCode.exit()
        }
    }

    private static func run(_ configuration: AgentConfiguration) throws -> Never {
        let journal = try Journal(program: "magicmirror", level: configuration.logLevel)
        for warning in configuration.warnings {
            journal.warning("configuration") { $0.field("NOTE", warning) }
        }
        let agent = try AgentProgram(configuration, journal) { () throws(StartError) in
            try AgentCommandLine.configuration(CommandLine.arguments, .process)
        }
        try Signals.start { signal in
            switch signal {
            case .stop: agent.stop()
            case .reload: agent.reload()
            }
        }
        do {
            journal.exit(try agent.run())
        } catch {
            journal.error("cannot serve") { $0.field("REASON", "\(error)") }
            journal.exit(.failed)
        }
    }
}
