// The verbs `key add`, `key list` and `key revoke`. They work on the keys file; a running relay
// sees the change within a second.

import Program
import Wire

struct KeyCommands {
    private let keysFile: String
    private let wantsJSON: Bool

    init(_ line: ControlCommandLine) {
        keysFile = line.keysFile
        wantsJSON = line.wantsJSON
    }

    /// Prints the secret alone on standard output, so that a script can take it from there.
    func add(_ request: ControlCommandLine.NewKeyRequest) throws(StartError) -> ExitCode {
        let given = request.readsSecret ? try ControlCommandLine.readSecret() : nil
        let lifetime = request.lifetime.map { Int($0.components.seconds) }
        let new: NewKey
        do throws(KeyFileError) {
            new = try KeyFile.add(
                to: keysFile, role: request.role, user: request.user, pattern: request.pattern,
                expires: lifetime.map { WallClock.secondsSince1970 + $0 },
                comment: request.comment, secret: given)
        } catch {
            return failed(error)
        }
        let record = new.record
        var shown = true
        if wantsJSON {
            shown = printJSON { json in
                json.object { json in
                    write(record, to: &json)
                    if given == nil { json.member("secret", new.secret) }
                }
            }
        } else {
            say(
                "key '\(record.id)' made: \(record.role.rawValue) of user '\(record.user)',"
                    + " mirrors '\(record.pattern)', expires \(time(record.expires))")
            if given == nil { shown = StandardOutput.write(new.secret + "\n") }
        }
        guard shown else {
            say("cannot write the secret to standard output (revoke key '\(record.id)')")
            return .failed
        }
        return .stopped
    }

    func list() throws(StartError) -> ExitCode {
        let records = try KeyFile.read(keysFile).keys.records
        if wantsJSON {
            return code(
                printJSON { json in
                    json.array { json in
                        for record in records {
                            json.object { json in write(record, to: &json) }
                        }
                    }
                })
        }
        var rows = [["ID", "ROLE", "USER", "NAME", "CREATED", "EXPIRES", "COMMENT"]]
        rows += records.map { record in
            [
                record.id, record.role.rawValue, record.user.text, record.pattern.text,
                time(record.created),
                time(record.expires) + (isExpired(record) ? " (expired)" : ""),
                record.comment,
            ]
        }
        return code(StandardOutput.write(aligned(rows)))
    }

    func revoke(_ id: String) -> ExitCode {
        let record: KeyRecord
        do throws(KeyFileError) {
            record = try KeyFile.revoke(id: id, in: keysFile)
        } catch {
            return failed(error)
        }
        if wantsJSON {
            return code(
                printJSON { json in
                    json.object { json in
                        write(record, to: &json)
                        json.member("revoked", true)
                    }
                })
        }
        say("key '\(id)' revoked: \(record.role.rawValue) of user '\(record.user)'")
        return .stopped
    }

    // MARK: Output

    private func write(_ record: KeyRecord, to json: inout JSONWriter) {
        json.member("id", record.id)
        json.member("role", record.role.rawValue)
        json.member("user", record.user.text)
        json.member("name", record.pattern.text)
        json.member("created", record.created)
        json.key("expires")
        if let expires = record.expires { json.integer(expires) } else { json.null() }
        json.member("expired", isExpired(record))
        json.member("comment", record.comment)
    }

    private func printJSON(_ body: (inout JSONWriter) -> Void) -> Bool {
        var json = JSONWriter()
        body(&json)
        return StandardOutput.write(String(decoding: json.bytes, as: UTF8.self) + "\n")
    }

    private func isExpired(_ record: KeyRecord) -> Bool {
        record.expires.map { $0 <= WallClock.secondsSince1970 } ?? false
    }

    private func time(_ seconds: Int?) -> String {
        seconds.map { WallClock.text(secondsSince1970: $0) } ?? "never"
    }

    private func say(_ line: String) {
        StandardError.write(line: "magicmirrorctl: " + line)
    }

    private func failed(_ error: KeyFileError) -> ExitCode {
        StandardError.write(line: error.line(program: "magicmirrorctl"))
        return error.exitCode
    }

    private func code(_ written: Bool) -> ExitCode {
        written ? .stopped : .failed
    }
}
