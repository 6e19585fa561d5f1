// Bodies of any size pass in constant memory, with TLS on both legs.
//
// The bound is the peak of resident memory that the kernel has seen in each program.

import Foundation
import Testing

private let boundKiB = 32 * 1024

@Suite(.serialized)
struct MemoryTests {
    @Test func `a download of 1 GiB leaves each program below 32 MiB`() throws {
        try stage { stage in
            let size = Program.bulk(1 << 30)
            _ = try stage.sparseFile("big", size: size)
            let nginx = try stage.nginx(serving: stage.directory)
            let mirror = try stage.mirror(local: nginx.url, plaintext: false)
            let answer = try stage.curl(
                mirror.relay, mirror.path("/big"), key: mirror.clientKey.secret,
                [
                    "--output", "/dev/null", "--no-include", "--write-out",
                    "%{http_code} %{size_download}",
                ],
                .long)
            #expect(answer.exit == .code(0), "\(answer.error)")
            #expect(answer.written == "200 \(size)")
            try expectBound(mirror)
        }
    }

    @Test(arguments: [true, false])
    func `an upload of 1 GiB leaves each program below 32 MiB`(chunked: Bool) throws {
        try stage { stage in
            let size = Program.bulk(1 << 30)
            let file = try stage.sparseFile("big", size: size)
            let mirror = try stage.mirror(countingOrigin(), plaintext: false)
            let framing = chunked ? ["--header", "Transfer-Encoding: chunked"] : []
            let answer = try stage.curl(
                mirror.relay, mirror.path("/big"), key: mirror.clientKey.secret,
                framing + ["--upload-file", file, "--no-include"], .long)
            #expect(answer.exit == .code(0), "\(answer.error)")
            #expect(answer.written == "\(size)")
            try expectBound(mirror)
        }
    }

    @Test func `of 64 downloads at once the 63 whose clients read come to their end`() throws {
        try stage { stage in
            let size = Program.bulk(64 << 20)
            _ = try stage.sparseFile("big", size: size)
            let nginx = try stage.nginx(serving: stage.directory)
            let mirror = try stage.mirror(local: nginx.url, plaintext: false)

            let (stuck, _) = try stage.secureConnection(mirror.relay.address)
            try stuck.write(mirror.request("GET", "/big"))
            #expect(stuck.isReadable(.patient))

            let url = mirror.relay.url(mirror.path("/big"))
            let downloads = (0..<63).map { _ in
                "next\nurl = \"\(url)\"\noutput = \"/dev/null\"\nhttp1.1\n"
                    + "cacert = \"\(mirror.relay.authority ?? "")\"\n"
                    + "header = \"\(bearer(mirror.clientKey))\"\n"
                    + "write-out = \"%{http_code} %{size_download}\\n\"\n"
            }
            let file = try stage.write("curl.conf", downloads.joined())
            let curl = try stage.run(
                "curl",
                [
                    "--silent", "--show-error", "--parallel", "--parallel-immediate",
                    "--parallel-max",
                    "63", "--config", file,
                ], .long)
            #expect(curl.exit == .code(0), "\(curl.error)")
            #expect(
                curl.output.split(separator: "\n")
                    == Array(repeating: "200 \(size)", count: 63).map { Substring($0) })
            try expectBound(mirror)

            // The one that did not read has not been cut off, and can still read all of it.
            let response = try stuck.readResponseHead()
            #expect(response.status == 200)
        }
    }

    /// An origin that counts the bytes of a body of any size and answers their number.
    private func countingOrigin() throws -> Origin {
        try Origin { visit in
            let connection = visit.connection
            let head = try visit.readHead(.long)
            if head["Expect"] != nil { try visit.write("HTTP/1.1 100 Continue\r\n\r\n") }
            var total = 0
            if let length = head.length {
                while total < length {
                    if connection.buffer.isEmpty, try !connection.fill(.long) { return }
                    total += connection.take(connection.buffer.count).count
                }
            } else {
                while let chunk = try connection.readChunk(.long), !chunk.isEmpty {
                    total += chunk.count
                }
                _ = try connection.readTrailers()
            }
            try visit.write(
                "HTTP/1.1 200 OK\r\nContent-Length: \("\(total)".count)\r\n\r\n\(total)")
            try visit.waitForEnd()
        }
    }

    private func expectBound(_ mirror: Mirror) throws {
        for program in [mirror.relay.program, mirror.agent] {
            let peak = try program.peakResidentKiB()
            #expect(peak < boundKiB || Program.areSanitized, "\(program.name) had \(peak) KiB")
            #expect(peak > 1024)
        }
    }
}
