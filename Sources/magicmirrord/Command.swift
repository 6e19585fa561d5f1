// magicmirrord(8): the relay. Options, configuration, run, exit code.
// Called `magicmirrorctl` it is that program.

import Program
import Relay

@main
struct Command {
    static func main() {
        Descriptors.fillStandardPlaces()
        if ControlProgram.isCalled(by: CommandLine.arguments) {
            ControlProgram.run(CommandLine.arguments)
        }
        Allocator.tune()
        Descriptors.raiseLimit()
        Signals.block()
        do {
            switch try RelayCommandLine.parse(CommandLine.arguments) {
            case .print(let text):
                (StandardOutput.write(text) ? ExitCode.stopped : .failed).exit()
            case .check(let configuration):
                try Relay.check(configuration)
                StandardOutput.write("the configuration is right\n")
                ExitCode.stopped.exit()
            case .run(let configuration): try run(configuration) { _ in }
            case .quickstart(let options):
                let quickstart = Quickstart(options)
                try quickstart.prepare()
                try run(options.configuration) { try quickstart.announce($0) }
            }
        } catch {
            fail(error)
        }
    }

    /// - Parameter announce: gets the first listener's address before the line that says `ready`.
    private static func run(
        _ configuration: RelayConfiguration, announce: (String) throws -> Void
    ) throws -> Never {
        let journal = try Journal(program: "magicmirrord", level: configuration.logLevel)
        let relay = try Relay(configuration, journal) { () throws(StartError) in
            try RelayCommandLine.configuration(CommandLine.arguments)
        }
        for warning in relay.warnings {
            journal.warning("configuration") { $0.field("NOTE", warning) }
        }
        try announce(relay.address)
        try Signals.start { signal in
            switch signal {
            case .stop: relay.stop()
            case .reload: relay.reload()
            }
        }
        do {
            try relay.run()
        } catch {
            journal.error("cannot serve") { $0.field("REASON", "\(error)") }
            journal.exit(.failed)
        }
        journal.exit(.stopped)
    }

    private static func fail(_ error: any Error) -> Never {
        let failure = StartFailure(error)
        StandardError.write(line: failure.line(program: "magicmirrord"))
        failure.exitCode.exit()
    }
}
