// A datagram socket in journald's place, and programs that take it for journald.
//
// Its entries are read as systemd's protocol has them, by code of its own; a thread receives.

import Foundation

final class Journald: Sendable {
    /// An entry: its fields in order.
    struct Entry: CustomStringConvertible, Sendable {
        let fields: [(name: String, value: String)]

        subscript(name: String) -> String? { fields.first { $0.name == name }?.value }

        var description: String { fields.map { "\($0.name)=\($0.value)" }.joined(separator: "\n") }

        /// Milliseconds of a field in microseconds.
        func microseconds(_ name: String) -> Int? {
            self[name].flatMap { Int($0.replacing(".", with: "")) }
        }
    }

    let path: String
    private let descriptor: Int32
    private let received = Signalled([Entry]())
    private let gate = Gate()

    /// - Parameter takes: whether it receives at once, not only after `receive`.
    init(at path: String, takes: Bool = true) throws {
        self.path = path
        let descriptor = closedOnExec { [socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)] }[0]
        self.descriptor = descriptor
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: path.utf8) }
        let status = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                bind(descriptor, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
            }
        }
        guard status == 0 else { throw Failure("cannot bind \(path)") }
        if takes { receive() }
        let (received, gate) = (received, gate)
        Thread.detachNewThread {
            try? gate.wait("somebody who wants entries", .long)
            var buffer = [UInt8](repeating: 0, count: 256 * 1024)
            while true {
                let count = recv(descriptor, &buffer, buffer.count, 0)
                if count < 0, errno == EINTR { continue }
                if count <= 0 { break }
                let entry = Journald.entry(buffer[..<count])
                received.withLock { $0.append(entry) }
            }
            close(descriptor)
        }
    }

    func receive() { gate.open() }

    /// Ends it; what it has not received is lost.
    func stop() {
        unlink(path)
        gate.open()
        shutdown(descriptor, Int32(SHUT_RDWR))
    }

    deinit { stop() }

    var entries: [Entry] { received.withLock { $0 } }

    /// Waits for an entry of `program` that `matches`.
    @discardableResult
    func expect(
        _ what: String, of program: String, where matches: (Entry) -> Bool
    ) throws -> Entry {
        let entry = received.wait(.patient) {
            $0.first { $0["SYSLOG_IDENTIFIER"] == program && matches($0) }
        }
        guard let entry else {
            let all = entries.map(\.description).joined(separator: "\n\n")
            throw Failure("\(program) sent no entry with '\(what)'\n\(all)")
        }
        return entry
    }

    /// Lines `NAME=value`, or a line `NAME`, the length of the value in eight bytes, and the value.
    private static func entry(_ bytes: ArraySlice<UInt8>) -> Entry {
        var fields: [(name: String, value: String)] = []
        var rest = bytes
        while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
            let line = rest[..<end]
            rest = rest[(end + 1)...]
            if let equals = line.firstIndex(of: UInt8(ascii: "=")) {
                fields.append((text(line[..<equals]), text(line[(equals + 1)...])))
            } else {
                let length = rest.prefix(8).reversed().reduce(0) { $0 << 8 | Int($1) }
                fields.append((text(line), text(rest.dropFirst(8).prefix(length))))
                rest = rest.dropFirst(8 + length + 1)
            }
        }
        if !rest.isEmpty { fields.append(("(no field)", text(rest))) }
        return Entry(fields: fields)
    }

    private static func text(_ bytes: ArraySlice<UInt8>) -> String {
        String(decoding: bytes, as: UTF8.self)
    }
}

extension Stage {
    /// Both programs as a unit runs them: standard error leads to the journal, which takes entries
    /// at `socket`.
    func units(_ socket: String) throws -> Programs {
        try scripted {
            "env JOURNAL_STREAM=$(stat -Lc %d:%i /proc/self/fd/2)"
                + " MAGICMIRROR_JOURNAL_SOCKET=\(socket) \($0) \"$@\""
        }
    }
}
