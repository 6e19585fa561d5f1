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
    package static func httpDate(
        secondsSince1970 seconds: Int = WallClock.secondsSince1970
    ) -> String {
        var seconds = time_t(seconds)
        var parts = unsafe tm()
        guard unsafe gmtime_r(&seconds, &parts) != nil else { return "\(seconds)" }
        let (day, month) = unsafe (days[Int(parts.tm_wday)], months[Int(parts.tm_mon)])
        let date = unsafe "\(day), \(twoDigits(parts.tm_mday)) \(month) \(parts.tm_year + 1900)"
        let (hour, minute, second) = unsafe (parts.tm_hour, parts.tm_min, parts.tm_sec)
        return "\(date) \(twoDigits(hour)):\(twoDigits(minute)):\(twoDigits(second)) GMT"
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

    private static let days = ["Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat"]
    private static let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ]

    private static func twoDigits(_ number: Int32) -> String {
        number < 10 ? "0\(number)" : "\(number)"
    }
}
