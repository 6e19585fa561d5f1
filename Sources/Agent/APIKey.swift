// The key that an agent shows to its relays, and the places it may come from.
//
// Called by: AgentConfiguration, once, at the start.
// Hard: a key must not reach a log. Its type prints as a placeholder wherever it is printed.

import Program

/// A key as it is sent. Printing it shows a placeholder.
package struct APIKey: Sendable, Equatable, CustomStringConvertible, CustomDebugStringConvertible {
    /// Visible ASCII, so that it can stand in a field.
    package let bytes: [UInt8]

    package var description: String { "(key)" }
    package var debugDescription: String { "(key)" }

    /// A key with the white space around it taken away.
    ///
    /// - Throws: what is wrong with it, at `value`'s place, without the key itself.
    init(_ value: SettingValue) throws(StartError) {
        bytes = Array(
            value.text.utf8.drop(while: Self.isBlank).reversed().drop(while: Self.isBlank)
                .reversed())
        guard !bytes.isEmpty else { throw value.error("the key is empty") }
        guard bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
            throw value.error("the key has a space or another character that cannot be in a key")
        }
    }

    private static func isBlank(_ byte: UInt8) -> Bool {
        byte == 0x20 || (0x09...0x0D).contains(byte)
    }

    private static let maximumFileBytes = 4096

    /// The key of one mirror, with what there is to warn about.
    ///
    /// The first of: the command line, the mirror's section, `MAGICMIRROR_APIKEY`, the top of the
    /// file, `$CREDENTIALS_DIRECTORY/apikey`. So one variable cannot override the keys of several
    /// mirrors.
    static func find(
        options: SettingValues, section: SettingValues, top: SettingValues,
        _ environment: Environment, warnings: inout [String]
    ) throws(StartError) -> APIKey? {
        if let value = options.first("apikey") {
            warnings.append(
                "option '--apikey' shows the key to every user of this machine"
                    + " (put it in a file and give --apikey-file)")
            if options.isSet("apikey-file") {
                throw value.error("it cannot stand beside '--apikey-file'")
            }
        }
        if let key = try written(options, &warnings) { return key }
        if let key = try written(section, &warnings) { return key }
        if let text = environment["MAGICMIRROR_APIKEY"] {
            return try APIKey(SettingValue(text, .environment("MAGICMIRROR_APIKEY")))
        }
        if let key = try written(top, &warnings) { return key }
        guard let directory = environment["CREDENTIALS_DIRECTORY"] else { return nil }
        let path = directory + "/apikey"
        guard File.exists(path) else { return nil }
        return try read(path, place: { .configuration(place: nil, message: $0) }, &warnings)
    }

    /// The key that one level of settings names, in itself or in a file.
    private static func written(
        _ values: SettingValues, _ warnings: inout [String]
    ) throws(StartError) -> APIKey? {
        if let value = values.first("apikey") {
            if let other = values.first("apikey-file") {
                throw other.error("it cannot stand beside \(value.place)")
            }
            return try APIKey(value)
        }
        guard let path = try values.path("apikey-file"), let value = values.first("apikey-file")
        else { return nil }
        return try read(path, place: value.unusable, &warnings)
    }

    private static func read(
        _ path: String, place error: (String) -> StartError, _ warnings: inout [String]
    ) throws(StartError) -> APIKey {
        let contents: File.Contents
        do throws(FileError) {
            contents = try File.read(path, maximumBytes: maximumFileBytes)
        } catch let failure {
            throw error(failure.message)
        }
        if contents.status.isReadableByOthers {
            warnings.append("key file '\(path)' is readable by everybody (chmod 640 '\(path)')")
        }
        return try APIKey(
            SettingValue(String(decoding: contents.bytes, as: UTF8.self), .file(path)))
    }
}
