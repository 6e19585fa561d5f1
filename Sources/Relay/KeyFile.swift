// The keys file on disk: read by the relay, changed by magicmirrorctl(8).
//
// Called by: KeyStore (reading), magicmirrorctl and the quickstart (changing). Blocks on the disk
// and, while another process changes the file, on its lock.
// Hard: two processes may add keys at the same moment. Each holds the lock from reading the file
// to putting the new one in its place, so neither loses the other's key.

import Program
import Streams
import Wire

/// A new key. The secret is nowhere else.
package struct NewKey: Sendable {
    package let record: KeyRecord
    package let secret: String
}

/// Why the keys file was not changed.
package enum KeyFileError: Error, Sendable, Equatable {
    /// It could not be locked or written.
    case file(FileError)
    /// It cannot be read as it is.
    case unusable(StartError)
    case unknownID(String)
    /// This secret is the one of the key with the id.
    case knownSecret(id: String)

    /// The line for the operator.
    package func line(program: String) -> String {
        switch self {
        case .file(let error): "\(program): \(error.message)"
        case .unusable(let error): error.line(program: program)
        case .unknownID(let id):
            "\(program): there is no key '\(id)' (see: magicmirrorctl key list)"
        case .knownSecret(let id): "\(program): this secret is the one of key '\(id)' already"
        }
    }

    package var exitCode: ExitCode {
        if case .unusable(let error) = self { return error.exitCode }
        return .failed
    }
}

/// The operations on a keys file.
package enum KeyFile {
    static let maximumBytes = 16 * 1024 * 1024

    /// What a key must be to open anything: known by nobody, guessed by nobody.
    package static let minimumSecretLength = 16
    package static let maximumSecretLength = 1024

    /// Reads the file whole.
    package static func read(
        _ path: String
    ) throws(StartError) -> (keys: KeysText, status: File.Status) {
        let contents: File.Contents
        do throws(FileError) {
            contents = try File.read(path, maximumBytes: maximumBytes)
        } catch {
            if error.mayPass { throw .failed(place: nil, message: error.message) }
            let remedy =
                error.isMissingFile
                ? " (the first key makes it: magicmirrorctl key add --user USER --role agent)" : ""
            throw .configuration(place: nil, message: error.message + remedy)
        }
        // Who may write it may let himself in.
        guard !contents.status.isWritableByOthers else {
            throw .configuration(
                place: path,
                message: "keys file can be written by others than its owner (chmod 640 '\(path)')")
        }
        do throws(LineError) {
            return (try KeysText.parse(contents.bytes), contents.status)
        } catch {
            throw .configuration(place: "\(path):\(error.line)", message: error.message)
        }
    }

    /// Adds a key, and the file where there is none.
    ///
    /// - Parameter secret: of a key that exists elsewhere; nil makes a new one.
    package static func add(
        to path: String, role: KeyRole, user: MirrorName, pattern: NamePattern = .any,
        expires: Int? = nil, comment: String = "", secret: String? = nil
    ) throws(KeyFileError) -> NewKey {
        let secret = secret ?? makeSecret(role)
        let record = KeyRecord(
            id: Hexadecimal.encode(Cryptography.randomBytes(6)), role: role, user: user,
            pattern: pattern, digest: Cryptography.sha256(secret.utf8),
            created: WallClock.secondsSince1970, expires: expires, comment: comment)
        try change(path, orCreate: true) { keys throws(KeyFileError) in
            if let known = keys.records.first(where: { $0.digest == record.digest }) {
                throw .knownSecret(id: known.id)
            }
            keys.append(record)
        }
        return NewKey(record: record, secret: secret)
    }

    /// Takes a key away.
    package static func revoke(id: String, in path: String) throws(KeyFileError) -> KeyRecord {
        var removed: KeyRecord?
        try change(path, orCreate: false) { keys throws(KeyFileError) in
            removed = keys.remove(id: id)
            if removed == nil { throw .unknownID(id) }
        }
        return removed!
    }

    /// `mma_` or `mmc_`, so that a key tells its role and scanners find it, and 32 random bytes in
    /// base64url without padding (RFC 4648 §5).
    private static func makeSecret(_ role: KeyRole) -> String {
        let random = Cryptography.base64(Cryptography.randomBytes(32)).compactMap { byte in
            switch byte {
            case UInt8(ascii: "+"): UInt8(ascii: "-")
            case UInt8(ascii: "/"): UInt8(ascii: "_")
            case UInt8(ascii: "="): nil
            default: byte
            }
        }
        return (role == .agent ? "mma_" : "mmc_") + String(decoding: random, as: UTF8.self)
    }

    /// Reads, edits and replaces the file under its lock.
    private static func change(
        _ path: String, orCreate: Bool, _ edit: (inout KeysText) throws(KeyFileError) -> Void
    ) throws(KeyFileError) {
        let outcome: Result<Void, KeyFileError>
        do throws(FileError) {
            outcome = try File.locked(path) { () throws(KeyFileError) in
                try changeLocked(path, orCreate: orCreate, edit)
            }
        } catch {
            throw .file(error)
        }
        try outcome.get()
    }

    private static func changeLocked(
        _ path: String, orCreate: Bool, _ edit: (inout KeysText) throws(KeyFileError) -> Void
    ) throws(KeyFileError) {
        var keys = KeysText()
        var status: File.Status?
        if File.exists(path) || !orCreate {
            do throws(StartError) { (keys, status) = try read(path) } catch {
                throw .unusable(error)
            }
        }
        try edit(&keys)
        do throws(FileError) {
            var owner = status.map { ($0.owner, $0.group) }
            if owner == nil && File.canChangeOwners {
                // A new file is for whom its directory is for: root makes it, the relay reads it.
                let directory = try File.status(of: File.directory(of: path))
                owner = (directory.owner, directory.group)
            }
            try File.replace(
                path, with: keys.bytes, mode: status?.mode ?? 0o640,
                owner: owner.map { (user: $0.0, group: $0.1) })
        } catch {
            throw .file(error)
        }
    }
}
