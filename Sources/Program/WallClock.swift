// The time of day, for what people set a date on. Waits use `Deadline`, never this.

import Glibc

package enum WallClock {
    /// Whole seconds since 1970.
    package static var secondsSince1970: Int {
        time(nil)
    }

    /// A time in UTC as in RFC 3339: `2026-11-22T18:31:00Z`.
    package static func text(secondsSince1970 seconds: Int) -> String {
        var seconds = time_t(seconds)
        var parts = unsafe tm()
        guard unsafe gmtime_r(&seconds, &parts) != nil else { return "\(seconds)" }
        let date = unsafe [parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday]
        let time = unsafe [parts.tm_hour, parts.tm_min, parts.tm_sec]
        return date.map(twoDigits).joined(separator: "-") + "T"
            + time.map(twoDigits).joined(separator: ":") + "Z"
    }

    private static func twoDigits(_ number: Int32) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
