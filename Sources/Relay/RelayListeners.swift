// The sockets that the relay listens on, opened at its start.
//
// Called by: Relay, once.
// Waits for: nothing.

import Program
import Streams
import Wire

enum RelayListeners {
    private static let manual = "magicmirrord(8)"

    /// Those for clients and agents, in the order of the configuration.
    static func open(_ configuration: RelayConfiguration) throws(StartError) -> [Listener] {
        var listeners: [Listener] = []
        let values = configuration.written.all("listen")
        precondition(values.count == configuration.listening.count)
        for (value, listening) in zip(values, configuration.listening) {
            switch listening {
            case .address(let address):
                listeners.append(try value.listen(address, manual: manual))
            case .systemd:
                listeners += try value.takePassedSockets(.process)
            }
        }
        return listeners
    }

    /// That for the operator.
    static func openAdministration(
        _ configuration: RelayConfiguration
    ) throws(StartError) -> Listener? {
        guard let address = configuration.adminListening,
            let value = configuration.written.first("admin-listen")
        else { return nil }
        return try value.listen(address, manual: manual)
    }

    /// That for magicmirrorctl: its owner and its group may connect.
    static func openControl(
        _ configuration: RelayConfiguration
    ) throws(StartError) -> Listener? {
        guard let path = configuration.controlSocket,
            let value = configuration.written.first("control-socket")
        else { return nil }
        return try value.listen(.unix(path: path), mode: 0o660, manual: manual)
    }
}
