// Counters, gauges and their text for Prometheus.
//
// Filled by: any thread, one atomic addition a time. Read by: the admin listener's thread, which
// asks for `text`. Every family and label value is known at the start, so that a scrape has the
// same lines from the first to the last and nothing from the network ever names a series.

import Synchronization

/// A number that only grows. Thread-safe: it is one atomic.
package final class Counter: Sendable {
    private let value = Atomic<Int>(0)

    package func add(_ amount: Int = 1) {
        value.add(amount, ordering: .relaxed)
    }

    package var current: Int { value.load(ordering: .relaxed) }
}

/// A number that goes up and down. Thread-safe: it is one atomic.
package final class Gauge: Sendable {
    private let value = Atomic<Int>(0)

    package init() {}

    package func add(_ amount: Int = 1) {
        value.add(amount, ordering: .relaxed)
    }

    package func subtract(_ amount: Int = 1) {
        value.subtract(amount, ordering: .relaxed)
    }

    package func set(_ amount: Int) {
        value.store(amount, ordering: .relaxed)
    }

    package var current: Int { value.load(ordering: .relaxed) }
}

/// How many values fell under each of some bounds. Thread-safe: each bucket is a counter.
///
/// A scrape in the middle of an observation may miss it in the sum and have it in a bucket.
package final class Histogram: Sendable {
    /// Upper bounds in microseconds: a millisecond to two minutes.
    static let bounds = [
        1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000,
        2_500_000, 10_000_000, 30_000_000, 120_000_000,
    ]

    /// One for each bound, and the last for all above.
    private let buckets = (0...bounds.count).map { _ in Counter() }
    private let microseconds = Counter()

    package func observe(nanoseconds: Int) {
        let value = nanoseconds / 1000
        buckets[Self.bounds.firstIndex { value <= $0 } ?? Self.bounds.count].add()
        microseconds.add(value)
    }

    /// The lines of this histogram, in seconds, buckets cumulative.
    fileprivate func append(to out: inout MetricsText, name: String) {
        var total = 0
        for (index, bound) in Self.bounds.enumerated() {
            total += buckets[index].current
            out.sample("\(name)_bucket", [("le", decimal(microseconds: bound))], "\(total)")
        }
        total += buckets[Self.bounds.count].current
        out.sample("\(name)_bucket", [("le", "+Inf")], "\(total)")
        out.sample("\(name)_sum", [], decimal(microseconds: microseconds.current))
        out.sample("\(name)_count", [], "\(total)")
    }

    /// Microseconds as seconds, without floating point: 2500 is `0.0025`.
    private func decimal(microseconds: Int) -> String {
        let fraction = String(1_000_000 + microseconds % 1_000_000).dropFirst()
        let digits = fraction.reversed().drop { $0 == "0" }.reversed()
        let whole = String(microseconds / 1_000_000)
        return digits.isEmpty ? whole : whole + "." + String(digits)
    }
}

/// The families of a program, in the order in which they are shown.
///
/// Built once at the start, on one thread; then a constant that any thread may read.
package struct Metrics: Sendable {
    /// What follows the name of a program's own metrics.
    package static let prefix = "magicmirror_"

    private enum Source: Sendable {
        case counter(Counter)
        case gauge(Gauge)
        case histogram(Histogram)
        /// Asked at each scrape, on the thread that asks.
        case reading(@Sendable () -> Int)
    }

    private struct Series: Sendable {
        let labels: [(name: String, value: String)]
        let source: Source
    }

    private struct Family: Sendable {
        let name: String
        let type: String
        let summary: String
        var series: [Series]
    }

    private var families: [Family] = []

    package init() {}

    /// The names of all families, for the check of the manual.
    package var names: [String] { families.map(\.name) }

    /// Adds a counter. Its name ends in `_total` by custom.
    ///
    /// - Parameter counter: one that somebody counts with already.
    @discardableResult
    package mutating func counter(
        _ name: String, _ summary: String, _ counter: Counter = Counter()
    ) -> Counter {
        add(name, "counter", summary, [Series(labels: [], source: .counter(counter))])
        return counter
    }

    /// Adds one counter for each case of a type, labelled by its raw value.
    package mutating func counters<Case: CaseIterable & Hashable & RawRepresentable<String>>(
        _ name: String, _ summary: String, label: String, of: Case.Type
    ) -> [Case: Counter] {
        let cases = Array(Case.allCases)
        let counters = counters(name, summary, label: label, values: cases.map(\.rawValue))
        return Dictionary(uniqueKeysWithValues: zip(cases, counters))
    }

    /// Adds one counter for each value of a label; the array has their order.
    package mutating func counters(
        _ name: String, _ summary: String, label: String, values: [String]
    ) -> [Counter] {
        let counters = values.map { _ in Counter() }
        let series = zip(values, counters).map {
            Series(labels: [(label, $0)], source: .counter($1))
        }
        add(name, "counter", summary, series)
        return counters
    }

    /// Adds a gauge that the program sets.
    package mutating func gauge(_ name: String, _ summary: String) -> Gauge {
        let gauge = Gauge()
        add(name, "gauge", summary, [Series(labels: [], source: .gauge(gauge))])
        return gauge
    }

    /// Adds a gauge that is read at each scrape. `read` must not block.
    package mutating func gauge(
        _ name: String, _ summary: String, read: @escaping @Sendable () -> Int
    ) {
        add(name, "gauge", summary, [Series(labels: [], source: .reading(read))])
    }

    /// Adds a histogram of times. Its name ends in `_seconds` by custom.
    package mutating func histogram(_ name: String, _ summary: String) -> Histogram {
        let histogram = Histogram()
        add(name, "histogram", summary, [Series(labels: [], source: .histogram(histogram))])
        return histogram
    }

    /// Adds the constant 1 with labels that tell which program runs.
    package mutating func constant(
        _ name: String, _ summary: String, labels: [(name: String, value: String)]
    ) {
        add(name, "gauge", summary, [Series(labels: labels, source: .reading { 1 })])
    }

    private mutating func add(_ name: String, _ type: String, _ summary: String, _ series: [Series])
    {
        let name = Self.prefix + name
        precondition(!names.contains(name), "two metrics are called \(name)")
        families.append(Family(name: name, type: type, summary: summary, series: series))
    }

    /// All of it in the text format of Prometheus, version 0.0.4.
    package func text() -> [UInt8] {
        var out = MetricsText()
        for family in families {
            out.line("# HELP \(family.name) \(MetricsText.escaped(family.summary, quotes: false))")
            out.line("# TYPE \(family.name) \(family.type)")
            for series in family.series {
                switch series.source {
                case .counter(let counter):
                    out.sample(family.name, series.labels, "\(counter.current)")
                case .gauge(let gauge):
                    out.sample(family.name, series.labels, "\(gauge.current)")
                case .reading(let read): out.sample(family.name, series.labels, "\(read())")
                case .histogram(let histogram): histogram.append(to: &out, name: family.name)
                }
            }
        }
        return out.bytes
    }

    /// The media type of `text`.
    package static let mediaType: StaticString = "text/plain; version=0.0.4; charset=utf-8"
}

/// Lines of the text format while they are written.
private struct MetricsText {
    var bytes: [UInt8] = []

    mutating func line(_ text: String) {
        bytes.append(contentsOf: text.utf8)
        bytes.append(UInt8(ascii: "\n"))
    }

    mutating func sample(
        _ name: String, _ labels: [(name: String, value: String)], _ value: String
    ) {
        let list = labels.map { "\($0.name)=\"\(Self.escaped($0.value, quotes: true))\"" }
        let braces = list.isEmpty ? "" : "{" + list.joined(separator: ",") + "}"
        line("\(name)\(braces) \(value)")
    }

    /// A label value or help text: backslash, line feed and, in label values, the quote.
    static func escaped(_ text: String, quotes: Bool) -> String {
        var out = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": out += "\\\\"
            case "\n": out += "\\n"
            case "\"" where quotes: out += "\\\""
            default: out.unicodeScalars.append(scalar)
            }
        }
        return out
    }
}
