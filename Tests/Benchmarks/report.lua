-- What wrk tells `bench` at the end of a run: one line of numbers.
done = function(summary, latency, requests)
    local e = summary.errors
    io.write(string.format("report %d %d %d %d %d %d %d\n",
        summary.requests, summary.duration, summary.bytes,
        latency:percentile(50), latency:percentile(99),
        e.connect + e.read + e.write + e.timeout, e.status))
end
