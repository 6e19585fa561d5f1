// Which mirrors an agent is to run, and where the settings of each stand.
//
// Called by: AgentConfiguration and the verbs `policy`, once, at the start.
// Hard: some settings hold together. A mirror that sets its own rules must not get those at the
// top of the file beside them.

import Program
import Wire

/// Where the settings of one mirror stand: options before its section before the top of the file.
struct MirrorSource {
    let name: MirrorName
    let options: SettingValues
    let section: SettingValues
    let top: SettingValues
    /// Where to say that something is missing; nil: nothing was read but the command line.
    let place: String?

    /// Settings that hold together: the level that sets one of them sets them all.
    private static let groups = [
        ["policy", "allow"], ["apikey", "apikey-file"], ["local-certificate", "local-private-key"],
    ]

    /// The settings of the mirror, of each the first that is set.
    var values: SettingValues { Self.joined(options, section, top) }

    static func joined(
        _ options: SettingValues, _ section: SettingValues, _ top: SettingValues
    ) -> SettingValues {
        var section = section
        var top = top
        for group in groups {
            let isInOptions = group.contains(where: options.isSet)
            let isInSection = group.contains(where: section.isSet)
            for name in group {
                if isInOptions { section.remove(name) }
                if isInOptions || isInSection { top.remove(name) }
            }
        }
        return options.over(section).over(top)
    }

    func missing(_ name: String, _ example: String) -> StartError {
        guard let place else {
            return .commandLine("option '--\(name)' is missing (such as --\(name) \(example))")
        }
        return .configuration(
            place: place, message: "key '\(name)' is missing (such as: \(name) = \(example))")
    }

    /// The mirrors to run: the one that `--name` names, or those of the file.
    static func all(
        options: SettingValues, file: ConfigurationFile?
    ) throws(StartError) -> [MirrorSource] {
        let top = file?.values ?? SettingValues()
        let sections = file?.sections ?? []
        if let value = options.first("name") ?? top.first("name") {
            if case .line = value.origin, !sections.isEmpty {
                throw value.error("it cannot stand beside sections [mirror NAME]")
            }
            let section = sections.first { $0.name == value.text }
            return [
                MirrorSource(
                    name: try name(value), options: options,
                    section: section?.values ?? SettingValues(), top: top,
                    place: section?.place ?? file?.path)
            ]
        }
        guard !sections.isEmpty else {
            let nothing = SettingValues()
            let source = MirrorSource(
                name: MirrorName("none")!, options: nothing, section: nothing, top: nothing,
                place: file?.path)
            throw source.missing("name", "localprometheus")
        }
        for setting in AgentConfiguration.mirrorSettings where options.isSet(setting.name) {
            // Which mirror is meant? With one section it is clear.
            guard sections.count > 1 else { break }
            throw .commandLine(
                "option '--\(setting.name)' needs '--name': the file has \(sections.count) mirrors")
        }
        var sources: [MirrorSource] = []
        for section in sections {
            guard let name = MirrorName(section.name) else {
                throw .configuration(
                    place: section.place,
                    message: "'\(section.name)' is not a name (\(MirrorName.rule))")
            }
            sources.append(
                MirrorSource(
                    name: name, options: options, section: section.values, top: top,
                    place: section.place))
        }
        return sources
    }

    private static func name(_ value: SettingValue) throws(StartError) -> MirrorName {
        guard let name = MirrorName(value.text) else {
            throw value.error("'\(value.text)' is not a name (\(MirrorName.rule))")
        }
        return name
    }
}
