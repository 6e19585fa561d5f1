// Names in configuration files: known, unknown, in the wrong place, twice.

import Testing

@testable import Program

private let table = SettingTable(
    program: "tool", purpose: "does things", manual: "tool(1)",
    settings: [
        Setting("listen", "ADDR", "where", in: [.option, .key], repeatable: true),
        Setting("workers", "N", "how many", in: .key),
        Setting("hosts", "NAMES", "which", in: .sectionKey),
        Setting("local", "URL", "what", in: [.key, .sectionKey]),
        Setting("check", nil, "only an option", in: .option),
    ],
    section: "mirror")

@Suite struct ConfigurationFileTests {
    let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    @Test func `values keep file, line and section`() throws {
        let path = try directory.file(
            "t.conf", "# comment\nlisten = a\nlisten = b\n\n[mirror x]\nlocal = 1\n[mirror y]\n")
        let file = try ConfigurationFile.read(path, table)
        #expect(file.values.all("listen").map(\.text) == ["a", "b"])
        #expect(
            file.values.all("listen")[1].origin
                == .line(file: path, number: 3, key: "listen"))
        #expect(file.sections.map(\.name) == ["x", "y"])
        #expect(file.sections[1].place == "\(path):7")
        #expect(file.sections[0].values.first("local")?.text == "1")
        #expect(!file.values.isSet("local"))
    }

    @Test(arguments: [
        ("lisen = a", 1, "unknown key 'lisen' (did you mean 'listen'?)"),
        ("\n\nfoo = a", 3, "unknown key 'foo'"),
        ("check = yes", 1, "unknown key 'check'"),
        ("hosts = a", 1, "key 'hosts' belongs in a section [mirror NAME]"),
        ("[mirror x]\nworkers = 1", 2, "key 'workers' belongs before the first section"),
        ("[mirror x]\nlocl = 1", 2, "unknown key 'locl' (did you mean 'local'?)"),
        ("workers = 1\nworkers = 2", 2, "key 'workers' stands twice (see key 'workers' in line 1)"),
        ("[miror x]", 1, "unknown section '[miror x]' (did you mean 'mirror'?)"),
        ("[mirror]", 1, "section needs a name: [mirror NAME]"),
        ("[mirror x]\n[mirror x]", 2, "section '[mirror x]' stands in line 1 already"),
        ("listen", 1, "no '=' in 'listen' (write 'key = value')"),
        ("listen = \"a", 1, "quotation mark not closed"),
    ])
    func `a broken line is named with what is wrong`(text: String, line: Int, message: String)
        throws
    {
        let path = try directory.file("t.conf", text)
        #expect(throws: StartError.configuration(place: "\(path):\(line)", message: message)) {
            try ConfigurationFile.read(path, table)
        }
    }

    @Test func `a missing or huge file is named`() throws {
        #expect(
            throws: StartError.configuration(
                place: nil, message: "cannot read '/nonexistent': No such file or directory")
        ) { try ConfigurationFile.read("/nonexistent", table) }
        let huge = try directory.file(
            "huge", String(repeating: "#\n", count: ConfigurationFile.maximumBytes))
        #expect(
            throws: StartError.configuration(
                place: nil, message: "cannot read '\(huge)': it is larger than 1048576 bytes")
        ) { try ConfigurationFile.read(huge, table) }
    }

    @Test func `a program without sections refuses them`() throws {
        let plain = SettingTable(program: "p", purpose: "x", manual: "p(8)", settings: [])
        let path = try directory.file("t.conf", "[mirror x]")
        #expect(
            throws: StartError.configuration(
                place: "\(path):1", message: "unknown section '[mirror x]'")
        ) { try ConfigurationFile.read(path, plain) }
    }
}
