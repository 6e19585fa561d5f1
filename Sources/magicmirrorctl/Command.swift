// magicmirrorctl(8): the keys of a relay, and a running relay, from the command line.

import Program
import Relay

@main
struct Command {
    static func main() {
        Descriptors.fillStandardPlaces()
        ControlProgram.run(CommandLine.arguments)
    }
}
