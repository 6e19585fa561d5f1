// Step 3: one client's connection and how far its conversation has come.
//
// Owned by: one worker while it is served, else the parking lot, the pool's queue or a mirror's
// waiting line. It moves between them by hand-over.

import Connections
import Streams
import Threads
import Wire

/// A connection. Not Sendable: it has one owner at a time.
final class ClientConnection {
    enum Phase {
        /// The PROXY header is awaited; so much of it has come.
        case proxyHeader([UInt8])
        /// The first byte is awaited, which says whether the client speaks TLS.
        case greeting
        /// TLS is being agreed.
        case handshake
        /// The next request's head is awaited or incomplete.
        case head
        /// A request waits for its mirror to have room.
        case waiting(MirrorRequest)
        /// Everything has been said; what still comes is thrown away, so that the last answer is
        /// not lost in a reset (RFC 9112 §9.6).
        case lingering
    }

    let stream: ByteStream
    let service: Acceptor.Service
    let permit: ConnectionPermit
    /// What the request that is being served began with.
    private(set) var snapshot: ConfigurationSnapshot
    /// In figures; that which the PROXY header names, where there is one.
    private(set) var peerAddress: String
    /// The same, for the limits of each address.
    private(set) var peerNetwork: ClientNetwork
    /// The peer is a proxy whose word about its clients is believed.
    private(set) var isTrusted: Bool
    /// The PROXY header names nobody.
    private var isUnnamed = false
    /// That is being served.
    var request: ClientRequest?
    var input = InputBuffer()
    var scanner = HeadScanner()
    var phase: Phase
    /// Until when the phase may last.
    var deadline: Deadline
    var isKnownToParkingLot = false
    /// The first bytes of a head have come: `deadline` is the head's.
    var headHasBegun = true
    /// Whose exchange runs on this connection, for the limit of his address.
    var exchanging: ClientNetwork?
    /// An exchange has just ended: the next request may be near.
    var mayLinger = false
    /// The key that this connection showed last, so that the same need not be hashed again.
    var credentials = CredentialCache()
    /// What its last request said of it.
    var clientFields = ClientFields()

    init(
        _ stream: sending ByteStream, permit: ConnectionPermit, service: Acceptor.Service,
        deadline: Deadline, snapshot: ConfigurationSnapshot
    ) {
        self.stream = stream
        self.permit = permit
        peerAddress = stream.peer.host
        peerNetwork = ClientNetwork(IPAddress(peerAddress))
        self.snapshot = snapshot
        isTrusted = snapshot.configuration.trustedProxies.contains(peerAddress)
        self.service = service
        self.deadline = deadline
        phase = stream.isEncrypted ? .greeting : .head
    }

    /// The client's address, for log lines.
    var clientAddress: String { request?.client.address ?? peerAddress }

    /// The same for limits.
    var clientNetwork: ClientNetwork { request?.client.network ?? peerNetwork }

    /// What a PROXY header has said. Where it names nobody, nobody is believed: the fields that
    /// follow are the unknown client's.
    func learn(_ header: ProxyHeader) {
        if let client = header.client {
            peerAddress = client.description
            peerNetwork = ClientNetwork(client)
        }
        isUnnamed = header.client == nil
        judgePeer()
    }

    private func judgePeer() {
        isTrusted = !isUnnamed && snapshot.configuration.trustedProxies.contains(peerAddress)
    }

    /// What follows is served by the configuration of now.
    func renew(by relay: Relay) {
        if relay.isCurrent(snapshot) { return }
        snapshot = relay.snapshot
        judgePeer()
    }

    /// Gives memory back before the connection rests.
    func rest() {
        stream.trim()
        input.trim()
    }
}
