// What is said of an address that cannot be listened on, and where it stands.

import Glibc
import Streams
import Testing
import Wire

@testable import Program

@Suite struct ListeningTests {
    @Test(arguments: [
        (
            "[::]:443", EACCES,
            "cannot bind '[::]:443': Permission denied"
                + " (needs CAP_NET_BIND_SERVICE, see magicmirrord(8))"
        ),
        (
            "127.0.0.1:8443", EADDRINUSE,
            "cannot bind '127.0.0.1:8443': Address already in use"
                + " (stop the program that listens there, see 'ss -ltnp sport = :8443',"
                + " or take another port)"
        ),
        (
            "192.0.2.1:80", EADDRNOTAVAIL,
            "cannot bind '192.0.2.1:80': Cannot assign requested address"
                + " (this machine has no such address, see 'ip address')"
        ),
        (
            "unix:/none/x", ENOENT,
            "cannot bind 'unix:/none/x': No such file or directory (make its directory)"
        ),
        (
            "unix:/run/x", EADDRINUSE,
            "cannot bind 'unix:/run/x': Address already in use"
                + " (stop the program that listens there, or take another path)"
        ),
        ("127.0.0.1:1", EMFILE, "cannot bind '127.0.0.1:1': Too many open files"),
    ])
    func `a bind that failed says what to do`(text: String, number: Int32, message: String) throws {
        let address = try SocketAddressText.parse(text)
        #expect(bindFailure(address, number, manual: "magicmirrord(8)") == message)
    }

    @Test func `an address in use is a failure of the run, at the place where it is written`()
        throws
    {
        let taken = try SettingValue("127.0.0.1:0", .option("listen"))
            .listen(.parse("127.0.0.1:0"), manual: "x(8)")
        let text = taken.address.description
        let address = try SocketAddressText.parse(text)
        let expected = bindFailure(address, EADDRINUSE, manual: "x(8)")
        let line = SettingValue(text, .line(file: "/t.conf", number: 7, key: "listen"))
        #expect(throws: StartError.failed(place: "/t.conf:7", message: expected)) {
            try line.listen(address, manual: "x(8)")
        }
        #expect(
            throws: StartError.failed(place: nil, message: "option '--listen': " + expected)
        ) {
            try SettingValue(text, .option("listen")).listen(address, manual: "x(8)")
        }
    }

    @Test func `a unix socket that nobody listens on is replaced, nothing else is`() throws {
        let directory = try TemporaryDirectory()
        let path = directory.path + "/socket"
        func listen() throws -> Listener {
            try SettingValue("unix:" + path, .option("x"))
                .listen(.unix(path: path), mode: 0o660, manual: "x(8)")
        }
        var status = stat()
        do {
            let first = try listen()
            #expect(throws: StartError.self) { try listen() }
            _ = first
        }
        // The file is there still, and its listener is not.
        #expect(lstat(path, &status) == 0)
        _ = try listen()
        #expect(lstat(path, &status) == 0)
        #expect(status.st_mode & 0o7777 == 0o660)

        #expect(unlink(path) == 0)
        _ = try directory.file("socket", "precious")
        #expect(throws: StartError.self) { try listen() }
        #expect(try File.read(path, maximumBytes: 100).bytes == Array("precious".utf8))
    }

    @Test(arguments: ["0.0.0.0:1", "[::]:1", "192.0.2.1:1"])
    func `what asks for no key is served to this machine only`(text: String) {
        let value = SettingValue(text, .option("metrics-listen"))
        #expect(
            throws: StartError.commandLine(
                "option '--metrics-listen': '\(text)' is not on this machine alone"
                    + " (such as 127.0.0.1:9481, [::1]:9481, unix:/PATH)")
        ) {
            try value.localListeningAddress(port: 9481)
        }
    }
}
