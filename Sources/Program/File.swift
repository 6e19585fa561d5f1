// Small files as wholes: read with a limit, replaced in one step, locked between processes.
//
// Called by: configuration, key files and the key store, at the start and by magicmirrorctl; the
// relay's refresh asks only for `status`. Blocks on the disk, and `locked` on another process.
// Hard: a replaced file must be whole after a power cut, and never readable by more people than
// the one it replaces.

import Glibc
import Threads

package enum File {
    /// What stat(2) says that we act on. Two equal values: the file has not changed.
    package struct Status: Equatable, Sendable {
        package let device: UInt64
        package let inode: UInt64
        package let byteCount: Int
        package let modifiedSeconds: Int
        package let modifiedNanoseconds: Int
        package let mode: UInt32
        package let owner: UInt32
        package let group: UInt32

        /// Whether group or others may write it.
        package var isWritableByOthers: Bool { mode & 0o022 != 0 }
        /// Whether others than the owner and the group may read it.
        package var isReadableByOthers: Bool { mode & 0o004 != 0 }

        fileprivate init(_ status: stat) {
            device = UInt64(status.st_dev)
            inode = UInt64(status.st_ino)
            byteCount = Int(status.st_size)
            modifiedSeconds = status.st_mtim.tv_sec
            modifiedNanoseconds = status.st_mtim.tv_nsec
            mode = status.st_mode & 0o7777
            owner = status.st_uid
            group = status.st_gid
        }
    }

    /// A file's bytes and what it was when they were read.
    package struct Contents: Sendable {
        package let bytes: [UInt8]
        package let status: Status
    }

    /// What the file at `path` is now, symbolic links followed.
    package static func status(of path: String) throws(FileError) -> Status {
        var status = Glibc.stat()
        guard unsafe stat(path, &status) == 0 else { throw FileError("read", path, errno: errno) }
        return Status(status)
    }

    /// Whether something is at `path`, or may be: only a sure no is a no.
    package static func exists(_ path: String) -> Bool {
        do throws(FileError) {
            _ = try status(of: path)
            return true
        } catch {
            return !error.isMissingFile
        }
    }

    /// Whether this process may give files to other users.
    package static var canChangeOwners: Bool { geteuid() == 0 }

    /// Reads the whole file, which may also be a pipe.
    ///
    /// - Parameter timeout: for a pipe to be written and closed.
    /// - Throws: also where it holds more than `limit` bytes.
    package static func read(
        _ path: String, maximumBytes limit: Int, pipe timeout: Duration = .seconds(5)
    ) throws(FileError) -> Contents {
        // A pipe that nobody writes to would hold up an open(2) that blocks.
        let descriptor = unsafe Glibc.open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw FileError("read", path, errno: errno) }
        defer { Glibc.close(descriptor) }
        var status = Glibc.stat()
        guard unsafe fstat(descriptor, &status) == 0 else {
            throw FileError("read", path, errno: errno)
        }
        let isFile = status.st_mode & S_IFMT == S_IFREG
        let bytes = try read(
            descriptor, path, maximumBytes: limit,
            until: isFile ? nil : .after(timeout))
        return Contents(bytes: bytes, status: Status(status))
    }

    /// Reads standard input to its end.
    package static func readStandardInput(maximumBytes limit: Int) throws(FileError) -> [UInt8] {
        try read(0, "standard input", maximumBytes: limit, until: nil)
    }

    private static func read(
        _ descriptor: Int32, _ name: String, maximumBytes limit: Int, until deadline: Deadline?
    ) throws(FileError) -> [UInt8] {
        var bytes: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 16 * 1024)
        while true {
            if let deadline, !isReadable(descriptor, until: deadline) {
                throw FileError("read", name, reason: "it is no file, and nothing came out of it")
            }
            let count = unsafe Glibc.read(descriptor, &piece, piece.count)
            if count < 0, errno == EINTR || (errno == EAGAIN && deadline != nil) { continue }
            guard count >= 0 else { throw FileError("read", name, errno: errno) }
            if count == 0 { return bytes }
            bytes += piece[..<count]
            guard bytes.count <= limit else {
                throw FileError("read", name, reason: "it is larger than \(limit) bytes")
            }
        }
    }

    private static func isReadable(_ descriptor: Int32, until deadline: Deadline) -> Bool {
        while true {
            var waiting = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
            let ready = unsafe poll(&waiting, 1, deadline.millisecondsLeft)
            if ready > 0 { return true }
            if ready == 0 || errno != EINTR { return false }
        }
    }

    /// Makes a directory that only this user can enter, where it is not there; not its parents.
    package static func makeDirectory(_ path: String) throws(FileError) {
        guard unsafe mkdir(path, 0o700) == 0 || errno == EEXIST else {
            throw FileError("make directory", path, errno: errno)
        }
    }

    /// Adds `bytes` at the end of a file, which is made where it is not there (mode 0640).
    package static func append(_ bytes: [UInt8], to path: String) throws(FileError) {
        let descriptor = unsafe Glibc.open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o640)
        guard descriptor >= 0 else { throw FileError("write", path, errno: errno) }
        defer { Glibc.close(descriptor) }
        let code = writeAll(bytes, to: descriptor)
        guard code == 0 else { throw FileError("write", path, errno: code) }
    }

    /// Puts `bytes` in place of the file at `path`: after a crash it is the old file or the new.
    ///
    /// - Parameters:
    ///   - mode: of the new file, from its first byte on.
    ///   - owner: user and group of the new file; nil leaves those of this process.
    package static func replace(
        _ path: String, with bytes: [UInt8], mode: UInt32, owner: (user: UInt32, group: UInt32)?
    ) throws(FileError) {
        let target = resolved(path)
        // One name for all writers: they hold the lock. A left-over of a crash is overwritten.
        let temporary = target + ".new"
        guard unsafe unlink(temporary) == 0 || errno == ENOENT else {
            throw FileError("write", temporary, errno: errno)
        }
        let descriptor = unsafe Glibc.open(
            temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode & 0o600)
        guard descriptor >= 0 else { throw FileError("write", temporary, errno: errno) }
        let code = fill(descriptor, with: bytes, mode: mode, owner: owner)
        Glibc.close(descriptor)
        guard code == 0 else {
            unsafe unlink(temporary)
            throw FileError("write", temporary, errno: code)
        }
        guard unsafe rename(temporary, target) == 0 else {
            let code = errno
            unsafe unlink(temporary)
            throw FileError("write", target, errno: code)
        }
        synchronizeDirectory(of: target)
    }

    /// Runs `body` while no other process that calls this changes files in the same directory.
    ///
    /// Blocks until the other one is done, at most ten seconds. The lock is on the directory: it
    /// needs no file of its own, and a replaced file would take its lock away with it.
    package static func locked<Result, Failure: Error>(
        _ path: String, _ body: () throws(Failure) -> Result
    ) throws(FileError) -> Swift.Result<Result, Failure> {
        let directory = directory(of: resolved(path))
        let descriptor = unsafe Glibc.open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { throw FileError("lock directory", directory, errno: errno) }
        defer { Glibc.close(descriptor) }  // This unlocks.
        var tries = 0
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
            guard errno == EWOULDBLOCK || errno == EINTR else {
                throw FileError("lock directory", directory, errno: errno)
            }
            guard tries < 500 else {
                throw FileError(
                    "lock directory", directory,
                    reason: "another process has held it for ten seconds")
            }
            tries += 1
            usleep(20_000)
        }
        do throws(Failure) { return .success(try body()) } catch { return .failure(error) }
    }

    /// The path behind a symbolic link, so that replacing the file keeps the link.
    private static func resolved(_ path: String) -> String {
        guard let real = unsafe realpath(path, nil) else { return path }
        defer { unsafe free(real) }
        return unsafe String(cString: real)
    }

    /// Writes the new file through to the disk. Returns 0 or an errno.
    private static func fill(
        _ descriptor: Int32, with bytes: [UInt8], mode: UInt32,
        owner: (user: UInt32, group: UInt32)?
    ) -> Int32 {
        let code = writeAll(bytes, to: descriptor)
        guard code == 0 else { return code }
        var status = Glibc.stat()
        guard unsafe fstat(descriptor, &status) == 0 else { return errno }
        // The owner first: changing it may clear mode bits, and the mode may open it to a group.
        if let owner, owner != (status.st_uid, status.st_gid),
            fchown(descriptor, owner.user, owner.group) != 0
        {
            return errno
        }
        guard fchmod(descriptor, mode) == 0, fsync(descriptor) == 0 else { return errno }
        return 0
    }

    /// The directory that a file is in, with a slash at its end.
    package static func directory(of path: String) -> String {
        path.lastIndex(of: "/").map { String(path[...$0]) } ?? "./"
    }

    /// Makes a rename in the directory last. A failure is not an error: the new file is in place.
    private static func synchronizeDirectory(of path: String) {
        let descriptor = unsafe Glibc.open(directory(of: path), O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else { return }
        fsync(descriptor)
        Glibc.close(descriptor)
    }
}

/// Writes all of `bytes`. Blocks while the descriptor takes none. Returns 0 or an errno.
func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Int32 {
    var rest = bytes[...]
    while !rest.isEmpty {
        let count = unsafe rest.withUnsafeBytes {
            unsafe write(descriptor, $0.baseAddress, $0.count)
        }
        if count >= 0 {
            rest = rest.dropFirst(count)
        } else if errno == EAGAIN {
            // Someone made our standard error non-blocking; then wait for room as if it were not.
            var poll = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
            _ = unsafe Glibc.poll(&poll, 1, 1000)
        } else if errno != EINTR {
            return errno
        }
    }
    return 0
}
