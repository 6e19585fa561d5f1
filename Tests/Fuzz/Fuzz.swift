// What libFuzzer calls with each input: one of the targets, named by FUZZ_TARGET.
//
// Built by Tests/Fuzz/run in one module with the sources that it fuzzes. A target reads an input as its
// parser would from the network and traps where a promise does not hold: not only a crash, but
// also a value that changes when it is written and read again, or a result that depends on how
// the bytes were split.

#if canImport(Glibc)
    import Glibc
#endif

private typealias Target = @Sendable ([UInt8]) -> Void

private let targets: [String: Target] = [
    "address": address, "body": body, "chunked": chunked, "configuration": configuration,
    "frame": frame, "json": json, "keys": keys, "mapped": mapped, "message": message,
    "pattern": pattern, "percent": percent, "proxy-header": proxyHeader, "quantity": quantity,
    "request-head": requestHead, "response-head": responseHead, "route": route,
    "upgrade": upgrade, "version-1": version1, "web-socket": webSocket,
]

private let target: Target = {
    guard let name = getenv("FUZZ_TARGET").map({ String(cString: $0) }),
        let target = targets[name]
    else { fatalError("FUZZ_TARGET must be one of \(targets.keys.sorted())") }
    return target
}()

@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    target(Array(UnsafeBufferPointer(start: bytes, count: count)))
    return 0
}

/// Traps where a promise is broken.
func promise(_ holds: Bool, _ what: @autoclosure () -> String) {
    if !holds { fatalError(what()) }
}

/// What a throwing call gave or threw, to be compared.
func outcome<Value>(_ body: () throws -> Value) -> (value: Value?, error: String?) {
    do {
        return (try body(), nil)
    } catch {
        return (nil, "\(error)")
    }
}
