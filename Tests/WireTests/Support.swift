// What the tests of this target share: bytes from text, and random numbers that are always the same.

/// SplitMix64: small, and the same sequence everywhere for one seed.
struct SeededGenerator: RandomNumberGenerator {
    private var state: UInt64

    init(_ seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }

    mutating func bytes(_ count: Int, from alphabet: [UInt8]? = nil) -> [UInt8] {
        (0..<count).map { _ in
            alphabet?.randomElement(using: &self) ?? UInt8.random(in: 0...255, using: &self)
        }
    }

    mutating func text(_ lengths: ClosedRange<Int>, from alphabet: String) -> String {
        let bytes = bytes(Int.random(in: lengths, using: &self), from: Array(alphabet.utf8))
        return String(decoding: bytes, as: UTF8.self)
    }

    /// Cuts `bytes` at random places into pieces, which may be empty.
    mutating func split(_ bytes: [UInt8]) -> [[UInt8]] {
        var pieces: [[UInt8]] = []
        var rest = bytes[...]
        while !rest.isEmpty {
            let largest = Bool.random(using: &self) ? 3 : 40
            let piece = rest.prefix(Int.random(in: 0...largest, using: &self))
            pieces.append(Array(piece))
            rest = rest.dropFirst(piece.count)
        }
        return pieces
    }
}

extension [UInt8] {
    init(_ text: String) { self = Array(text.utf8) }
}

extension Collection<UInt8> {
    var text: String { String(decoding: self, as: UTF8.self) }
}

/// Printable ASCII.
let printable = String(decoding: Array(UInt8(0x20)...0x7E), as: UTF8.self)
let tokenCharacters =
    "!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
