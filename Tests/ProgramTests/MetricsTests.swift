// The text that Prometheus reads.

import Testing

@testable import Program

private func text(_ metrics: Metrics) -> String {
    String(decoding: metrics.text(), as: UTF8.self)
}

@Suite struct MetricsTests {
    @Test func `families stand in their order with help, type and values`() {
        var metrics = Metrics()
        let exchanges = metrics.counter("exchanges_total", "exchanges begun")
        let sessions = metrics.gauge("sessions", "sessions now")
        metrics.gauge("workers_idle", "workers that wait") { 7 }
        metrics.constant("build", "the version", labels: [("version", "1.2")])
        exchanges.add()
        exchanges.add(41)
        sessions.add(3)
        sessions.subtract()
        #expect(
            text(metrics) == """
                # HELP magicmirror_exchanges_total exchanges begun
                # TYPE magicmirror_exchanges_total counter
                magicmirror_exchanges_total 42
                # HELP magicmirror_sessions sessions now
                # TYPE magicmirror_sessions gauge
                magicmirror_sessions 2
                # HELP magicmirror_workers_idle workers that wait
                # TYPE magicmirror_workers_idle gauge
                magicmirror_workers_idle 7
                # HELP magicmirror_build the version
                # TYPE magicmirror_build gauge
                magicmirror_build{version="1.2"} 1

                """)
    }

    @Test func `each value of a label has its series from the start`() {
        var metrics = Metrics()
        let answers = metrics.counters(
            "answers_total", "answers", label: "class", values: ["2xx", "5xx"])
        answers[1].add()
        #expect(
            text(metrics).hasSuffix(
                """
                magicmirror_answers_total{class="2xx"} 0
                magicmirror_answers_total{class="5xx"} 1

                """))
    }

    @Test func `label values and help are escaped`() {
        var metrics = Metrics()
        metrics.constant("odd", "a \\ and\na \"quote\"", labels: [("v", "a \\ and\na \"quote\"")])
        #expect(text(metrics).contains(#"# HELP magicmirror_odd a \\ and\na "quote""#))
        #expect(text(metrics).contains(#"magicmirror_odd{v="a \\ and\na \"quote\""} 1"#))
    }

    @Test func `a histogram is cumulative and in seconds`() {
        var metrics = Metrics()
        let times = metrics.histogram("exchange_seconds", "how long exchanges take")
        times.observe(nanoseconds: 1_000_000)
        times.observe(nanoseconds: 1_001_000)
        times.observe(nanoseconds: 500_000_000_000)
        let lines = text(metrics).split(separator: "\n").map(String.init)
        #expect(lines.contains(#"magicmirror_exchange_seconds_bucket{le="0.001"} 1"#))
        #expect(lines.contains(#"magicmirror_exchange_seconds_bucket{le="0.0025"} 2"#))
        #expect(lines.contains(#"magicmirror_exchange_seconds_bucket{le="120"} 2"#))
        #expect(lines.contains(#"magicmirror_exchange_seconds_bucket{le="+Inf"} 3"#))
        #expect(lines.contains("magicmirror_exchange_seconds_sum 500.002001"))
        #expect(lines.contains("magicmirror_exchange_seconds_count 3"))
    }
}
