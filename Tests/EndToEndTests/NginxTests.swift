// A real nginx as the private service: what it does for files passes unchanged, seen by curl.

import Foundation
import Testing

struct NginxTests {
    /// A site with a page, a directory and 256 KiB of numbered lines.
    private func site(
        _ stage: Stage, _ more: String = "", plaintext: Bool = false, relay: String = ""
    ) throws -> Mirror {
        let root = stage.path("site")
        try FileManager.default.createDirectory(
            atPath: root + "/docs", withIntermediateDirectories: true)
        for directory in [stage.directory, root, root + "/docs"] { chmod(directory, 0o755) }
        try stage.write("site/index.html", "<p>home</p>\n", mode: 0o644)
        try stage.write("site/docs/index.html", "<p>docs</p>\n", mode: 0o644)
        try stage.write("site/lines.txt", lines, mode: 0o644)
        let nginx = try stage.nginx(serving: root, more)
        return try stage.mirror(local: nginx.url, plaintext: plaintext, relay: relay)
    }

    private var lines: String {
        (0..<16384).map { "line \(String(format: "%010d", $0))\n" }.joined()
    }

    @Test func `pages and files of nginx arrive as they are`() throws {
        try stage { stage in
            let mirror = try site(stage)
            let key = mirror.clientKey.secret
            let page = try stage.curl(mirror.relay, mirror.path("/"), key: key)
            #expect(page.status == 200 && page.text == "<p>home</p>\n")
            let file = try stage.curl(mirror.relay, mirror.path("/lines.txt"), key: key)
            #expect(file.text == lines)
            let missing = try stage.curl(mirror.relay, mirror.path("/none"), key: key)
            #expect(missing.status == 404 && missing["Proxy-Status"] == nil)
            #expect(missing.text.contains("nginx"))
        }
    }

    @Test(arguments: [
        ("0-9", "bytes 0-9/262144", 10), ("262140-", "bytes 262140-262143/262144", 4),
        ("-4", "bytes 262140-262143/262144", 4),
        ("65536-131071", "bytes 65536-131071/262144", 65536),
    ])
    func `a part of a file is that part`(range: String, answered: String, count: Int) throws {
        try stage { stage in
            let mirror = try site(stage)
            let part = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: mirror.clientKey.secret,
                ["--range", range])
            #expect(part.status == 206)
            #expect(part["Content-Range"] == answered)
            #expect(part.bytes.count == count)
            let start = Int(answered.split(separator: " ")[1].split(separator: "-")[0]) ?? -1
            #expect(part.bytes == Array(Array(lines.utf8)[start..<start + count]))
        }
    }

    @Test func `several parts, and a range beyond the file, are nginx's to answer`() throws {
        try stage { stage in
            let mirror = try site(stage)
            let key = mirror.clientKey.secret
            let parts = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: key, ["--range", "0-3,16-19"])
            #expect(parts.status == 206)
            #expect(parts["Content-Type"]?.hasPrefix("multipart/byteranges") == true)
            let beyond = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: key, ["--range", "300000-"])
            #expect(beyond.status == 416)
        }
    }

    @Test func `a broken download is taken up again where it stopped`() throws {
        try stage { stage in
            let mirror = try site(stage)
            let half = try stage.write("half", String(lines.prefix(100_000)))
            let rest = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: mirror.clientKey.secret,
                ["--continue-at", "-", "--output", half, "--no-include"])
            #expect(rest.exit == .code(0), "\(rest.error)")
            #expect(try String(contentsOfFile: half, encoding: .utf8) == lines)
        }
    }

    @Test func `a packed answer stays packed, and says so`() throws {
        try stage { stage in
            let mirror = try site(
                stage, "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;")
            let key = mirror.clientKey.secret
            let packed = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: key,
                ["--header", "Accept-Encoding: gzip"])
            #expect(packed["Content-Encoding"] == "gzip")
            #expect(
                packed.bytes.starts(with: [0x1F, 0x8B]) && packed.bytes.count < lines.count / 2)
            let unpacked = try stage.curl(
                mirror.relay, mirror.path("/lines.txt"), key: key, ["--compressed"])
            #expect(unpacked.text == lines)
        }
    }

    @Test func `what a client has already is not sent again`() throws {
        try stage { stage in
            let mirror = try site(stage)
            let key = mirror.clientKey.secret
            let first = try stage.curl(mirror.relay, mirror.path("/"), key: key)
            let tag = try #require(first["ETag"])
            let same = try stage.curl(
                mirror.relay, mirror.path("/"), key: key, ["--header", "If-None-Match: \(tag)"])
            #expect(same.status == 304 && same.bytes == [])
            let modified = try #require(first["Last-Modified"])
            let unchanged = try stage.curl(
                mirror.relay, mirror.path("/"), key: key,
                ["--header", "If-Modified-Since: \(modified)"])
            #expect(unchanged.status == 304)
        }
    }

    @Test func `the redirect to a directory leads there through the mirror`() throws {
        try stage { stage in
            let mirror = try site(stage)
            let answer = try stage.curl(
                mirror.relay, mirror.path("/docs"), key: mirror.clientKey.secret,
                ["--location", "--no-include", "--write-out", "%{num_redirects}"])
            #expect(answer.written == "<p>docs</p>\n1")
        }
    }

    @Test func `an upload of 100 MiB by WebDAV is stored byte for byte`() throws {
        try stage { stage in
            let mirror = try site(
                stage,
                """
                location /dav/ {
                    dav_methods PUT DELETE MKCOL COPY MOVE;
                    create_full_put_path on;
                    client_max_body_size 200m;
                }
                """)
            let key = mirror.clientKey.secret
            let file = try stage.write("upload", "")
            let made = try stage.run(
                "openssl", ["rand", "-out", file, "\(100 << 20)"], .long)
            #expect(made.exit == .code(0))
            for framing in [[], ["--header", "Transfer-Encoding: chunked"]] {
                let name = "/dav/copy\(framing.count)"
                let put = try stage.curl(
                    mirror.relay, mirror.path(name), key: key, framing + ["--upload-file", file],
                    .long)
                #expect([201, 204].contains(put.status), "\(put.error)")
                let compared = try stage.run("cmp", [file, stage.path("site" + name)], .long)
                #expect(compared.exit == .code(0), "\(compared.output)")
            }
            let directory = try stage.curl(
                mirror.relay, mirror.path("/dav/new/"), key: key, ["--request", "MKCOL"])
            #expect(directory.status == 201)
            let gone = try stage.curl(
                mirror.relay, mirror.path("/dav/copy0"), key: key, ["--request", "DELETE"])
            #expect(gone.status == 204)
            #expect(!FileManager.default.fileExists(atPath: stage.path("site/dav/copy0")))
        }
    }

    @Test func `MOVE reaches nginx with its destination`() throws {
        try stage { stage in
            let mirror = try site(
                stage, "location /dav/ { dav_methods PUT MOVE; create_full_put_path on; }",
                relay: "[mirror alice/prom]\nhosts = files.relay.test\n")
            let url = "https://files.relay.test:\(mirror.relay.port)/dav/"
            let options = [
                "--resolve", "files.relay.test:\(mirror.relay.port):127.0.0.1", "--cacert",
                mirror.relay.authority ?? "", "--header", bearer(mirror.clientKey),
            ]
            let file = try stage.write("note", "moved")
            let put = try stage.curl(url + "a", options + ["--upload-file", file])
            #expect(put.status == 201)
            let moved = try stage.curl(
                url + "a", options + ["--request", "MOVE", "--header", "Destination: /dav/b"])
            #expect(moved.status == 204 || moved.status == 201, "\(moved.text)")
            #expect(try stage.read(stage.path("site/dav/b")) == "moved")
        }
    }
}
