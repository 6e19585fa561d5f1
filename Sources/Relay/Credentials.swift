// Finds the key that a request shows, in the three places where it may stand.
//
// Called by: the workers, for each request.
// Waits for: nothing.
// Hard: each place alone is enough, and only the field that was used is taken away: a client can
// show its key in one field and the origin's own Authorization in the other.

import Program
import Streams
import Wire

/// Whose request it is, and the field that said so.
struct Credential: Sendable {
    let identity: KeyIdentity
    /// The field not to forward.
    let field: FieldName
}

/// The key that a connection showed last: comparing is cheaper than a hash. A proxy may carry
/// several clients on one connection, so the time it takes must not tell how much of a key is right.
struct CredentialCache {
    private var secret: [UInt8] = []
    private var identity: KeyIdentity?
    private var generation = -1

    mutating func lookup(_ secret: ArraySlice<UInt8>, in keys: KeyStore) -> KeyIdentity? {
        let generation = keys.generation
        if let identity, generation == self.generation, identity.expires == nil,
            Cryptography.equal(self.secret, secret)
        {
            return identity
        }
        guard let identity = keys.lookup(secret) else { return nil }
        self.secret = Array(secret)
        self.identity = identity
        self.generation = generation
        return identity
    }
}

enum Credentials {
    /// The first valid key of the role among those that the request shows.
    static func find(
        in fields: Fields, role: KeyRole, _ keys: KeyStore, _ cache: inout CredentialCache
    ) -> Credential? {
        if let secret = fields.value(.magicmirrorKey),
            let identity = cache.lookup(secret, in: keys), identity.role == role
        {
            return Credential(identity: identity, field: .magicmirrorKey)
        }
        guard fields.count(.authorization) == 1, let value = fields.value(.authorization),
            let secret = secret(in: value), let identity = cache.lookup(secret, in: keys),
            identity.role == role
        else { return nil }
        return Credential(identity: identity, field: .authorization)
    }

    /// Whether the request shows something that is meant as a key, right or wrong.
    static func areShown(in fields: Fields) -> Bool {
        fields.value(.magicmirrorKey) != nil
            || fields.value(.authorization).flatMap { secret(in: $0) } != nil
    }

    /// What Authorization shows as Bearer, or as the password of Basic.
    private static func secret(in value: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
        guard let space = value.firstIndex(of: 0x20) else { return nil }
        let scheme = value[..<space]
        let rest = value[(space + 1)...].drop { $0 == 0x20 }
        if isScheme(scheme, "bearer") { return rest }
        guard isScheme(scheme, "basic"), let pair = Cryptography.decodeBase64(rest),
            let colon = pair.firstIndex(of: 0x3A)
        else { return nil }
        return pair[(colon + 1)...]
    }

    /// Whether Authorization is none of the origin's business: it was used, or it shows a key too.
    ///
    /// Clients copy their key into each field that they know of. An origin that got it could ask
    /// in their name.
    static func standInAuthorization(
        of fields: Fields, used credential: Credential?, _ keys: KeyStore
    ) -> Bool {
        if !fields.present.contains(.authorization) { return false }
        if credential?.field == .authorization { return true }
        return fields.lines.contains { line in
            guard line.id == .authorization, let secret = secret(in: fields.bytes[line.value])
            else { return false }
            return keys.lookup(secret) != nil
        }
    }

    private static func isScheme(_ bytes: ArraySlice<UInt8>, _ name: StaticString) -> Bool {
        // Letters only differ in the bit 0x20 (RFC 9110 §11.1: a scheme's case does not matter).
        bytes.count == name.utf8CodeUnitCount
            && name.withUTF8Buffer { name in
                unsafe zip(bytes, name).allSatisfy { $0 | 0x20 == $1 }
            }
    }
}
