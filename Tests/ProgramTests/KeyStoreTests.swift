// Keys: found, expired, revoked, refreshed; and the file that two processes change at once.

import Foundation
import Program
import Streams
import Testing
import Threads
import Wire

@testable import Relay

@Suite struct KeyStoreTests {
    let directory: TemporaryDirectory
    let path: String
    let alice = MirrorName("alice")!
    let prom = MirrorName("prom")!

    init() throws {
        directory = try TemporaryDirectory()
        path = directory.path + "/keys"
    }

    private func add(
        _ role: KeyRole = .client, pattern: String = "*", expires: Int? = nil,
        secret: String? = nil
    ) throws -> NewKey {
        try KeyFile.add(
            to: path, role: role, user: alice, pattern: #require(NamePattern(pattern)),
            expires: expires, secret: secret)
    }

    private func bytes(_ secret: String) -> ArraySlice<UInt8> { Array(secret.utf8)[...] }

    @Test func `a new key opens, another does not`() throws {
        let agent = try add(.agent)
        let client = try add(.client, pattern: "prom*")
        #expect(agent.secret.hasPrefix("mma_"))
        #expect(client.secret.hasPrefix("mmc_"))
        #expect(agent.secret.utf8.count == 47)
        let store = try KeyStore(path: path)
        #expect(store.keyCount == 2)
        let found = try #require(store.lookup(bytes(client.secret)))
        #expect(found.id == client.record.id)
        #expect(found.role == .client)
        #expect(found.covers(user: alice, name: prom))
        #expect(!found.covers(user: alice, name: MirrorName("grafana")!))
        #expect(!found.covers(user: MirrorName("bob")!, name: prom))
        #expect(store.lookup(bytes(agent.secret))?.role == .agent)
        #expect(store.lookup(bytes(client.secret + "x")) == nil)
        #expect(store.lookup(bytes(String(client.secret.dropLast()))) == nil)
        #expect(store.lookup([]) == nil)
    }

    @Test func `the file holds digests and no secret`() throws {
        let key = try add()
        let text = try directory.text(path)
        #expect(!text.contains(key.secret))
        #expect(text.contains(Hexadecimal.encode(Cryptography.sha256(key.secret.utf8))))
        #expect(try File.status(of: path).mode == 0o640)
    }

    @Test func `a digest with the same first bytes is not enough`() throws {
        let key = try add()
        var digest = key.record.digest
        digest[31] ^= 1
        let text = try directory.text(path)
            .replacing(Hexadecimal.encode(key.record.digest), with: Hexadecimal.encode(digest))
        try text.write(toFile: path, atomically: false, encoding: .utf8)
        #expect(try KeyStore(path: path).lookup(bytes(key.secret)) == nil)
    }

    @Test func `a key stops at its time`() throws {
        let key = try add(expires: 2_000_000_000)
        let store = try KeyStore(path: path)
        let identity = try #require(store.lookup(bytes(key.secret), now: 1_999_999_999))
        #expect(store.isValid(identity, now: 1_999_999_999))
        #expect(!store.isValid(identity, now: 2_000_000_000))
        #expect(store.lookup(bytes(key.secret), now: 2_000_000_000) == nil)

        // Those who ask only after a change learn of it, too.
        let before = store.generation
        #expect(store.refresh(now: 1_999_999_999) == .unchanged)
        #expect(store.generation == before)
        #expect(store.refresh(now: 2_000_000_000) == .changed(keyCount: 0))
        #expect(store.generation == before + 1)
        #expect(store.refresh(now: 2_000_000_001) == .unchanged)
        #expect(store.keyCount == 0)
    }

    @Test func `a clock that was wrong for a while takes no key with it`() throws {
        let key = try add(.agent, pattern: "prom", expires: 2_000_000_000)
        let store = try KeyStore(path: path, now: 1_900_000_000)
        let identity = try #require(store.lookup(bytes(key.secret), now: 1_900_000_000))
        #expect(store.refresh(now: 2_100_000_000) == .changed(keyCount: 0))
        #expect(!store.isValid(identity, now: 2_100_000_000))
        #expect(!store.hasAgentKey(user: alice, name: prom, byName: true, now: 2_100_000_000))

        #expect(store.refresh(now: 1_900_000_001) == .changed(keyCount: 1))
        #expect(store.isValid(identity, now: 1_900_000_001))
        #expect(store.lookup(bytes(key.secret), now: 1_900_000_001) == identity)
        #expect(store.hasAgentKey(user: alice, name: prom, byName: true, now: 1_900_000_001))
        // A small step back changes nothing, and its time still comes.
        #expect(store.refresh(now: 1_900_000_000) == .unchanged)
        #expect(store.refresh(now: 2_000_000_000) == .changed(keyCount: 0))
    }

    @Test func `a key that has expired before the start is none`() throws {
        let key = try add(expires: 1)
        let store = try KeyStore(path: path)
        #expect(store.keyCount == 0)
        #expect(store.lookup(bytes(key.secret)) == nil)
        #expect(store.refresh() == .unchanged)
    }

    @Test func `a refresh sees keys come and go`() throws {
        let first = try add()
        let store = try KeyStore(path: path)
        #expect(store.refresh() == .unchanged)
        let second = try add()
        #expect(store.lookup(bytes(second.secret)) == nil)
        #expect(store.refresh() == .changed(keyCount: 2))
        let identity = try #require(store.lookup(bytes(second.secret)))
        let generation = store.generation
        #expect(try KeyFile.revoke(id: second.record.id, in: path).id == second.record.id)
        #expect(store.isValid(identity))
        #expect(store.refresh() == .changed(keyCount: 1))
        #expect(store.generation == generation + 1)
        #expect(!store.isValid(identity))
        #expect(store.lookup(bytes(second.secret)) == nil)
        #expect(store.lookup(bytes(first.secret)) != nil)
        #expect(store.refresh() == .unchanged)
    }

    @Test func `a reload reads a file that has not changed, too, and says again what is wrong`()
        throws
    {
        _ = try add()
        let store = try KeyStore(path: path)
        #expect(store.refresh(always: true) == .changed(keyCount: 1))
        let whole = try directory.text(path)
        try (whole + "broken\n").write(toFile: path, atomically: true, encoding: .utf8)
        try directory.setMode(0o640, of: path)
        for _ in 1...2 {
            guard case .failed = store.refresh(always: true) else {
                Issue.record("the broken file was taken")
                return
            }
        }
        #expect(store.refresh() == .unchanged)
        #expect(store.keyCount == 1)
    }

    @Test func `an identity is not valid for the same id with other rights`() throws {
        let key = try add(pattern: "prom")
        let store = try KeyStore(path: path)
        let identity = try #require(store.lookup(bytes(key.secret)))
        let text = try directory.text(path).replacing("\tprom\t", with: "\tother\t")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try directory.setMode(0o640, of: path)
        #expect(store.refresh() == .changed(keyCount: 1))
        #expect(!store.isValid(identity))
    }

    @Test func `a file that breaks leaves the keys as they were, and is reported once`() throws {
        let key = try add()
        let store = try KeyStore(path: path)
        let whole = try directory.text(path)
        try (whole + "broken\n").write(toFile: path, atomically: true, encoding: .utf8)
        try directory.setMode(0o640, of: path)
        guard case .failed(let error) = store.refresh() else {
            Issue.record("the broken file was taken")
            return
        }
        #expect(error.line(program: "p").hasPrefix("\(path):3: 1 fields in a key"))
        #expect(store.refresh() == .unchanged)
        #expect(store.lookup(bytes(key.secret)) != nil)

        try FileManager.default.removeItem(atPath: path)
        guard case .failed = store.refresh() else {
            Issue.record("the missing file was taken")
            return
        }
        #expect(store.refresh() == .unchanged)
        #expect(store.lookup(bytes(key.secret)) != nil)

        try whole.write(toFile: path, atomically: true, encoding: .utf8)
        try directory.setMode(0o640, of: path)
        #expect(store.refresh() == .changed(keyCount: 1))
    }

    @Test(arguments: [(0o660, false), (0o606, false), (0o640, true), (0o600, true), (0o644, true)])
    func `a file that others may write is refused`(mode: Int, taken: Bool) throws {
        _ = try add()
        try directory.setMode(mode, of: path)
        if taken {
            let store = try KeyStore(path: path)
            #expect(store.warnings.isEmpty == (mode != 0o644))
        } else {
            #expect(
                throws: StartError.configuration(
                    place: path,
                    message: "keys file can be written by others than its owner"
                        + " (chmod 640 '\(path)')")
            ) { try KeyStore(path: path) }
        }
    }

    @Test func `a missing file says how to make one`() {
        #expect(
            throws: StartError.configuration(
                place: nil,
                message: "cannot read '/nonexistent/keys': No such file or directory (the first"
                    + " key makes it: magicmirrorctl key add --user USER --role agent)")
        ) { try KeyStore(path: "/nonexistent/keys") }
    }

    // MARK: The file

    @Test func `two writers lose no key of each other`() throws {
        let made = Monitor([String]())
        let (alice, path) = (alice, path)
        for number in 0..<4 {
            try Thread.start(name: "writer-\(number)") {
                for _ in 0..<10 {
                    let key = try? KeyFile.add(to: path, role: .client, user: alice)
                    made.withLock { $0.append(key?.record.id ?? "failed") }
                    made.broadcast()
                }
            }
        }
        let ids = made.wait(until: .after(seconds: 60)) { $0.count == 40 ? $0 : nil }
        let written = try KeyFile.read(path).keys.records.map(\.id)
        #expect(Set(written) == Set(ids ?? []))
        #expect(written.count == 40)
    }

    @Test func `comments and mode of the file stay`() throws {
        let key = try add()
        try (directory.text(path) + "# mine\n")
            .write(toFile: path, atomically: false, encoding: .utf8)
        try directory.setMode(0o600, of: path)
        _ = try add()
        _ = try KeyFile.revoke(id: key.record.id, in: path)
        #expect(try directory.text(path).contains("# mine\n"))
        #expect(try File.status(of: path).mode == 0o600)
    }

    @Test func `a given secret is taken once`() throws {
        let secret = "an-old-secret-of-mine"
        let key = try add(secret: secret)
        #expect(key.secret == secret)
        #expect(try KeyStore(path: path).lookup(bytes(secret))?.id == key.record.id)
        #expect(throws: KeyFileError.knownSecret(id: key.record.id)) { try add(secret: secret) }
    }

    @Test func `an unknown id is not revoked`() throws {
        _ = try add()
        let error = #expect(throws: KeyFileError.unknownID("abc")) {
            try KeyFile.revoke(id: "abc", in: path)
        }
        #expect(
            error?.line(program: "magicmirrorctl")
                == "magicmirrorctl: there is no key 'abc' (see: magicmirrorctl key list)")
        #expect(error?.exitCode == .failed)
    }

    @Test func `a broken file is not overwritten`() throws {
        let text = KeysText.firstLine + "\nbroken\n"
        _ = try directory.file("keys", text)
        let error = #expect(throws: KeyFileError.self) { try add() }
        #expect(error?.exitCode == .configuration)
        #expect(error?.line(program: "p").hasPrefix("\(path):2: ") == true)
        #expect(try directory.text(path) == text)
    }

    @Test func `a directory that is missing is named`() {
        let error = #expect(throws: KeyFileError.self) {
            try KeyFile.add(to: "/nonexistent/keys", role: .agent, user: alice)
        }
        #expect(
            error?.line(program: "p")
                == "p: cannot lock directory '/nonexistent/': No such file or directory")
    }
}
