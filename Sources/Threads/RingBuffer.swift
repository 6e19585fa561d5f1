// A queue of values in one growing array; removing the first does not move the rest.

public struct RingBuffer<Element> {
    @usableFromInline var slots: [Element?] = []
    @usableFromInline var head = 0
    @usableFromInline var used = 0

    @inlinable
    public init() {}

    @inlinable
    public var count: Int { used }

    @inlinable
    public var isEmpty: Bool { used == 0 }

    @inlinable
    public var first: Element? { used == 0 ? nil : slots[head] }

    @inlinable @inline(__always)
    public mutating func append(_ element: Element) {
        if used == slots.count { grow() }
        slots[(head + used) & (slots.count - 1)] = element
        used += 1
    }

    @inlinable
    public mutating func prepend(_ element: Element) {
        if used == slots.count { grow() }
        head = (head + slots.count - 1) & (slots.count - 1)
        slots[head] = element
        used += 1
    }

    @inlinable @inline(__always)
    public mutating func popFirst() -> Element? {
        if used == 0 { return nil }
        let element = slots[head].take()
        head = (head + 1) & (slots.count - 1)
        used -= 1
        return element
    }

    @inlinable @inline(__always)
    public mutating func popLast() -> Element? {
        if used == 0 { return nil }
        used -= 1
        return slots[(head + used) & (slots.count - 1)].take()
    }

    /// Takes everything out.
    @inlinable
    public mutating func removeAll() { self = RingBuffer() }

    // The number of slots stays a power of two, so that an index wraps by a mask.
    @inlinable
    mutating func grow() {
        var larger: [Element?] = []
        let size = Swift.max(4, slots.count * 2)
        larger.reserveCapacity(size)
        for offset in 0..<used { larger.append(slots[(head + offset) & (slots.count - 1)]) }
        while larger.count < size { larger.append(nil) }
        slots = larger
        head = 0
    }
}

extension RingBuffer: Sendable where Element: Sendable {}
