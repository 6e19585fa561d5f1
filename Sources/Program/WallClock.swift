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

    /// A time as the Date field has it: `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110 §5.6.7).
    package static func httpDate(secondsSince1970 seconds: Int) -> String {
        // The first of January 1970 was a Thursday.
        let day = days[((seconds / 86_400) % 7 + 7) % 7]
        let parts = text(secondsSince1970: seconds).split { "-T:Z".contains($0) }
        let month = months[(Int(parts[1]) ?? 1) - 1]
        return "\(day), \(parts[2]) \(month) \(parts[0])"
            + " \(parts[3]):\(parts[4]):\(parts[5]) GMT"
    }

    /// Reads such a time; nil where the text is none.
    package static func secondsSince1970(httpDate text: some Sequence<UInt8>) -> Int? {
        let words = String(decoding: Array(text), as: UTF8.self).split { " :".contains($0) }
        guard words.count == 8, words[7] == "GMT",
            let month = months.firstIndex(of: String(words[2])), let day = Int32(words[1]),
            let year = Int32(words[3]), (1970...9999).contains(year), let hour = Int32(words[4]),
            let minute = Int32(words[5]), let second = Int32(words[6])
        else { return nil }
        var parts = unsafe tm()
        unsafe parts.tm_year = year - 1900
        unsafe parts.tm_mon = Int32(month)
        unsafe parts.tm_mday = day
        unsafe parts.tm_hour = hour
        unsafe parts.tm_min = minute
        unsafe parts.tm_sec = second
        return unsafe timegm(&parts)
    }

    private static let days = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func twoDigits(_ number: Int32) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
