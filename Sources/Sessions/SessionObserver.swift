// What a session needs of whoever runs it: its limits, and somebody to tell.

import Connections
import Wire

package struct SessionLimits: Sendable {
    package let heartbeatInterval: Duration
    package let heartbeatTimeout: Duration
    /// For the peer's SETTINGS.
    package let settingsTimeout: Duration

    package init(
        heartbeatInterval: Duration, heartbeatTimeout: Duration,
        settingsTimeout: Duration = .seconds(10)
    ) {
        self.heartbeatInterval = heartbeatInterval
        self.heartbeatTimeout = heartbeatTimeout
        self.settingsTimeout = settingsTimeout
    }
}

/// What a session tells whoever runs it, on its owner thread. None of it may block.
package protocol SessionObserver {
    /// The peer's SETTINGS have come: exchanges can be opened.
    func sessionStands(_ handle: SessionHandle)
    /// The agent's end: a request has come.
    func requestArrived(_ exchange: Exchange, head: Piece, ends: Bool)
    /// Both sides have ended an exchange: its place is free.
    func exchangeIsOver()
    /// An exchange was upgraded: its place is free now, and not once more when it is over.
    func exchangeIsUpgraded()
    /// The peer takes no new exchanges.
    func peerDrains()
    /// The session is over: its exchanges are cut next, and no new one can be opened.
    func sessionEnds(_ end: SessionEnd)
}
