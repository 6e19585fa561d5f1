// Numbers with units, as operators write them: whole numbers, sizes, times.

/// Reads and writes numbers with units.
package enum Quantity {
    /// A whole number in decimal digits, nothing else: no sign, no space.
    package static func integer(_ text: some StringProtocol) -> Int? {
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else {
            return nil
        }
        return Int(text)
    }

    // Not in the functions: for arrays of literals there the compiler orders instructions by chance,
    // and no two builds of the programs were the same.
    private static let sizes = [
        ("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024),
    ]
    private static let times = [
        ("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1),
    ]

    /// Bytes: `4096`, `32KiB`, `16MiB`, `1GiB`.
    package static func byteCount(_ text: String) -> Int? {
        scaled(text, sizes) ?? integer(text)
    }

    /// A time with its unit: `500ms`, `90s`, `10m`, `12h`, `90d`. Without a unit it is none.
    package static func duration(_ text: String) -> Duration? {
        scaled(text, times).map { .milliseconds($0) }
    }

    private static func scaled(_ text: String, _ units: [(suffix: String, factor: Int)]) -> Int? {
        for unit in units where text.hasSuffix(unit.suffix) {
            guard let number = integer(text.dropLast(unit.suffix.count)) else { continue }
            let (product, overflow) = number.multipliedReportingOverflow(by: unit.factor)
            return overflow ? nil : product
        }
        return nil
    }

    package static func describe(byteCount: Int) -> String {
        for (suffix, factor) in sizes where byteCount >= factor && byteCount % factor == 0 {
            return "\(byteCount / factor)\(suffix)"
        }
        return "\(byteCount)"
    }

    package static func describe(duration: Duration) -> String {
        let milliseconds = duration.milliseconds
        for (suffix, factor) in times where milliseconds >= factor && milliseconds % factor == 0 {
            return "\(milliseconds / factor)\(suffix)"
        }
        return "\(milliseconds)ms"
    }
}

extension Duration {
    /// Whole milliseconds, rounded down.
    package var milliseconds: Int {
        Int(components.seconds) * 1000 + Int(components.attoseconds / 1_000_000_000_000_000)
    }
}
