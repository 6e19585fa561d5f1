// Points in time by which something must have happened, and the failure that says it has not.
//
// Every wait of these tests takes a deadline and waits on a condition. The deadlines are long,
// because nothing is slow when all is well; short ones stand only where the time is the promise.

struct Deadline {
    private let end: ContinuousClock.Instant

    static func after(_ seconds: Double) -> Deadline {
        Deadline(end: .now + .seconds(seconds))
    }

    /// For whatever happens within a moment on an idle machine; one that is full of other work takes
    /// half a minute to start a program.
    static var patient: Deadline { .after(60) }

    /// For what must come by itself, and not by one of the programs' limits of 30 s and more.
    static var prompt: Deadline { .after(25) }

    /// For steps that move gigabytes.
    static var long: Deadline { .after(400) }

    var secondsLeft: Double { max(0, (end - .now) / .seconds(1)) }
    var millisecondsLeft: Int32 { Int32((secondsLeft * 1000).rounded(.up)) }
    var hasPassed: Bool { .now >= end }
}

/// What the harness throws: a wait that was not met, or a step that a test needs and did not get.
struct Failure: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}
