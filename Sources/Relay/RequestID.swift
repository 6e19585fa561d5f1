// The id that one request has in both ends' logs and at the origin.
//
// Called by: the workers, for each request.

import Streams
import Synchronization
import Wire

enum RequestID {
    private static let count = Atomic<UInt64>(0)
    /// Random once for each process, in hexadecimal: ids of two relays, or of two runs, differ.
    private static let process = Array(
        Hexadecimal.encode(Cryptography.randomBytes(8)).utf8)

    /// The client's own id where it has one that is fit for a log line, else a new one: 16 bytes in
    /// hexadecimal. It is unlike any other, but no secret.
    static func of(_ fields: Fields) -> [UInt8] {
        if fields.count(.xRequestId) == 1, let given = fields.value(.xRequestId), isFit(given) {
            return Array(given)
        }
        let number = count.add(1, ordering: .relaxed).newValue
        var id: [UInt8] = []
        id.reserveCapacity(32)
        id.append(contentsOf: process)
        id.append(addingCapacity: 16) { out in
            for shift in stride(from: 60, through: 0, by: -4) {
                out.append(.hexadecimalDigit(UInt8(truncatingIfNeeded: number &>> shift) & 15))
            }
        }
        return id
    }

    /// 1...128 letters, digits and `-_.:+/=@`: nothing that means something in a log or a page.
    private static func isFit(_ id: ArraySlice<UInt8>) -> Bool {
        (1...128).contains(id.count)
            && id.allSatisfy { byte in
                switch byte {
                case 0x30...0x39, 0x41...0x5A, 0x61...0x7A: true
                case 0x2D, 0x5F, 0x2E, 0x3A, 0x2B, 0x2F, 0x3D, 0x40: true
                default: false
                }
            }
    }
}
