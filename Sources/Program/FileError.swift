// Why a file could not be read, written or locked.

import Glibc

/// A system call on a file failed.
package struct FileError: Error, Equatable, Sendable {
    /// What was tried, as a verb: `read`, `write`, `lock`.
    package let attempt: String
    package let path: String
    /// The errno of the call, or nil where the reason is our own.
    package let code: Int32?
    package let reason: String

    /// There is no file of that name.
    package var isMissingFile: Bool { code == ENOENT }

    /// The machine lacks something, or its disk failed: the same may work later.
    package var mayPass: Bool { code.map { [EMFILE, ENFILE, ENOMEM, EIO].contains($0) } ?? false }

    package var message: String { "cannot \(attempt) '\(path)': \(reason)" }

    init(_ attempt: String, _ path: String, errno code: Int32) {
        self.attempt = attempt
        self.path = path
        self.code = code
        let reason = systemMessage(code)
        self.reason =
            code == EACCES || code == EPERM ? "\(reason) (this is user id \(geteuid()))" : reason
    }

    init(_ attempt: String, _ path: String, reason: String) {
        self.attempt = attempt
        self.path = path
        self.code = nil
        self.reason = reason
    }
}

/// The words of strerror(3) for an errno.
package func systemMessage(_ code: Int32) -> String {
    var text = [CChar](repeating: 0, count: 128)
    _ = unsafe strerror_r(code, &text, text.count)
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
}
