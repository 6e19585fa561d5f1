// A request as its client sent it, and who that is.
//
// Made by: ClientWorker, once for each request whose head could be read. All that serve it share it.
// Waits for: nothing.

import Threads
import Wire

/// It never changes, so many can hold it.
final class ClientRequest: Sendable {
    let head: RequestHead
    let framing: BodyFraming
    let client: ClientOrigin
    /// In both ends' logs, and at the origin.
    let id: [UInt8]
    let start = Deadline.now

    init(_ head: RequestHead, _ framing: BodyFraming, from client: ClientOrigin) {
        self.head = head
        self.framing = framing
        self.client = client
        id = RequestID.of(head.fields)
    }

    var hasBody: Bool { framing != .none && framing != .length(0) }
}
