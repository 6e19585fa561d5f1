// The files that TLS is set up by, and what is said of those that cannot be used.

import Foundation
import Streams
import Testing

@Suite struct TLSContextTests {
    /// What a server and then a client of these files say of them.
    private func refusal(of files: TestFiles) -> TLSConfigurationError? {
        do throws(TLSConfigurationError) {
            _ = try TLSContext(certificate: files.certificate, privateKey: files.privateKey)
            _ = try TLSContext(trust: files.authority, verifies: true)
            return nil
        } catch {
            return error
        }
    }

    @Test(arguments: [TLSConfigurationError.Subject.certificate, .privateKey, .trust])
    func `what is there and is no file is refused by its name`(
        subject: TLSConfigurationError.Subject
    ) throws {
        try inDirectory { directory in
            var files = try TestFiles(in: directory, "own")
            #expect(refusal(of: files) == nil)
            let pipe = directory.appendingPathComponent("pipe").path
            try #require(mkfifo(pipe, 0o600) == 0)
            for path in ["/dev/null", directory.path, pipe] {
                switch subject {
                case .certificate: files.certificate = path
                case .privateKey: files.privateKey = path
                case .trust: files.authority = path
                }
                let error = try #require(refusal(of: files))
                #expect(error.subject == subject)
                #expect(error.message == "cannot use '\(path)': it is not a regular file")
            }
        }
    }
}
