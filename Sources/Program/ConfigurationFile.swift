// A configuration file: `key = value` lines and sections, held against the table of settings.
//
// Called by: the programs' configurations, at the start and for each reload. The grammar is in
// Wire/ConfigurationText; here are the names.

import Wire

/// The values of a configuration file, each with its line.
package struct ConfigurationFile: Sendable {
    /// A part of the file that begins with `[KIND NAME]`.
    package struct Section: Sendable {
        package let name: String
        /// `FILE:LINE` of its first line.
        package let place: String
        package let values: SettingValues
    }

    package static let maximumBytes = 1024 * 1024

    package let path: String
    package let status: File.Status
    /// What stands before the first section.
    package private(set) var values = SettingValues()
    package private(set) var sections: [Section] = []

    /// Reads the file at `path`. Every key in it must be in the table.
    package static func read(
        _ path: String, _ table: SettingTable
    ) throws(StartError) -> ConfigurationFile {
        let contents: File.Contents
        do throws(FileError) {
            contents = try File.read(path, maximumBytes: maximumBytes)
        } catch {
            throw .configuration(place: nil, message: error.message)
        }
        return try ConfigurationFile(contents, path: path, table)
    }

    private init(
        _ contents: File.Contents, path: String, _ table: SettingTable
    ) throws(StartError) {
        self.path = path
        status = contents.status
        let text: ConfigurationText
        do throws(LineError) {
            text = try ConfigurationText.parse(contents.bytes)
        } catch {
            throw .configuration(place: "\(path):\(error.line)", message: error.message)
        }
        values = try Self.values(of: text.top, .key, path, table)
        for section in text.sections {
            let place = "\(path):\(section.line)"
            guard section.kind == table.section else {
                let near = suggestion(for: section.kind, among: table.section.map { [$0] } ?? [])
                throw .configuration(
                    place: place, message: "unknown section '\(section.heading)'" + near)
            }
            guard !section.name.isEmpty else {
                throw .configuration(
                    place: place, message: "section needs a name: [\(section.kind) NAME]")
            }
            sections.append(
                Section(
                    name: section.name, place: place,
                    values: try Self.values(of: section, .sectionKey, path, table)))
        }
    }

    private static func values(
        of section: ConfigurationSection, _ place: Setting.Places, _ path: String,
        _ table: SettingTable
    ) throws(StartError) -> SettingValues {
        var values = SettingValues()
        for entry in section.entries {
            let line = "\(path):\(entry.line)"
            guard let setting = table.setting(named: entry.key, in: place) else {
                throw .configuration(place: line, message: unknown(entry.key, in: place, table))
            }
            if let first = values.first(entry.key), !setting.isRepeatable {
                throw .configuration(
                    place: line, message: "key '\(entry.key)' stands twice (see \(first.place))")
            }
            let origin = SettingValue.Origin.line(
                file: path, number: entry.line, key: entry.key)
            values.append(entry.key, SettingValue(entry.value, origin))
        }
        return values
    }

    private static func unknown(
        _ key: String, in place: Setting.Places, _ table: SettingTable
    ) -> String {
        let section = table.section ?? ""
        if place == .key, table.setting(named: key, in: .sectionKey) != nil {
            return "key '\(key)' belongs in a section [\(section) NAME]"
        }
        if place == .sectionKey, table.setting(named: key, in: .key) != nil {
            return "key '\(key)' belongs before the first section"
        }
        let names = table.settings(in: place).map(\.name)
        return "unknown key '\(key)'" + suggestion(for: key, among: names)
    }
}
