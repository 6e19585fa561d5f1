// A disk that is full where the keys are: a file system of 64 KiB, in a mount namespace of the one
// shell that uses it. Needs root.

import Foundation
import Testing

struct DiskFullTests {
    @Test(arguments: ["add --user alice --role client", "revoke $ID"])
    func `a change of the keys that finds the disk full says so, and changes nothing`(
        verb: String
    ) throws {
        try stage { stage in
            let disk = stage.path("disk")
            // The disk is filled to the last byte, and then the keys are to be written anew.
            let script = try stage.write(
                "script",
                """
                set -e
                mkdir \(disk)
                mount -t tmpfs -o size=64k,nr_inodes=100 tmpfs \(disk)
                for n in 1 2 3; do
                    ID=$(\(Built.control) key add --keys \(disk)/keys --user alice --role agent --json |
                        sed 's/.*"id":"\\([^"]*\\)".*/\\1/')
                done
                cp \(disk)/keys \(stage.path("before"))
                dd if=/dev/zero of=\(disk)/fill bs=1k 2>/dev/null || true
                code=0
                \(Built.control) key \(verb) --keys \(disk)/keys >\(stage.path("said")) || code=$?
                echo "exit $code" >&2
                cmp \(disk)/keys \(stage.path("before"))
                ls -A \(disk) >&2
                rm \(disk)/fill
                \(Built.control) key \(verb) --keys \(disk)/keys >/dev/null 2>&1
                echo "then $?" >&2
                """)
            let done = try stage.run("unshare", ["--mount", "sh", script])
            #expect(done.exit == .code(0), "\(done.error)")
            #expect(
                done.errorLines == [
                    "magicmirrorctl: cannot write '\(disk)/keys.new': No space left on device",
                    "exit 1", "fill", "keys", "then 0",
                ], "\(done.error)")
            #expect(try stage.read(stage.path("said")).isEmpty, "a secret of no key")
        }
    }
}
