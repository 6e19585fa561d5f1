// Bytes that have been read and not yet been used.

import Streams
import Threads

/// The bytes of `bytes` in `range` wait to be used. Owned by the thread that owns the stream.
package struct InputBuffer {
    package private(set) var bytes: [UInt8] = []
    private var start = 0

    package init() {}

    package init(_ rest: some Collection<UInt8>) { bytes = Array(rest) }

    package var range: Range<Int> { start..<bytes.count }

    package var count: Int { bytes.count - start }

    package var isEmpty: Bool { start == bytes.count }

    /// How much it holds without taking more memory.
    package var capacity: Int { bytes.capacity }

    /// Forgets the bytes before `index`.
    package mutating func consume(to index: Int) {
        precondition(index >= start && index <= bytes.count)
        // The array stays as it is: who has just read from it may still hold it, and a change would
        // copy it.
        start = index
    }

    /// Reads up to `room` bytes that are there now.
    package mutating func fill(from stream: ByteStream, room: Int) throws(StreamError) -> Arrival {
        // What is left moves to the front once the used part is the larger one, so that moving
        // costs no more than reading did.
        if start > bytes.count - start {
            bytes.removeSubrange(0..<start)
            start = 0
        }
        return try stream.read(appendingTo: &bytes, room: room)
    }

    /// Blocks until bytes are there or the peer has ended.
    ///
    /// - Throws: `.timedOut` at the deadline.
    package mutating func fill(
        from stream: ByteStream, room: Int, until deadline: Deadline
    ) throws(StreamError) -> Arrival {
        try stream.read(appendingTo: &bytes, room: room, until: deadline)
    }

    /// Gives the memory back that what waits does not need.
    package mutating func trim() {
        if bytes.capacity <= 2 * count { return }
        bytes = Array(bytes[range])
        start = 0
    }
}
