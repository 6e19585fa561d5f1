// Times of day as texts.

import Program
import Testing

@Suite struct WallClockTests {
    @Test(arguments: [
        (0, "Thu, 01 Jan 1970 00:00:00 GMT"), (784_111_777, "Sun, 06 Nov 1994 08:49:37 GMT"),
        (951_782_400, "Tue, 29 Feb 2000 00:00:00 GMT"),
        (1_798_761_599, "Thu, 31 Dec 2026 23:59:59 GMT"),
        (1_782_777_600, "Tue, 30 Jun 2026 00:00:00 GMT"),
    ])
    func `a date of HTTP is written and read`(seconds: Int, text: String) {
        #expect(WallClock.httpDate(secondsSince1970: seconds) == text)
        #expect(WallClock.secondsSince1970(httpDate: text.utf8) == seconds)
    }

    @Test(arguments: [
        "", "now", "Sun, 06 Nov 1994 08:49:37", "Sun, 06 Nov 1994 08:49:37 CET",
        "Sunday, 06-Nov-94 08:49:37 GMT", "Sun, 06 Foo 1994 08:49:37 GMT",
        "Sun, 06 Nov 99999999999 08:49:37 GMT",
    ])
    func `what is no date is none`(text: String) {
        #expect(WallClock.secondsSince1970(httpDate: text.utf8) == nil)
    }
}
