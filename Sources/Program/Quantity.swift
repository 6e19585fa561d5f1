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

    /// Bytes: `4096`, `32KiB`, `16MiB`, `1GiB`.
    package static func byteCount(_ text: String) -> Int? {
        let units = [("KiB", 1024), ("MiB", 1024 * 1024), ("GiB", 1024 * 1024 * 1024)]
        return scaled(text, units) ?? integer(text)
    }

    /// A time with its unit: `500ms`, `90s`, `10m`, `12h`, `90d`. Without a unit it is none.
    package static func duration(_ text: String) -> Duration? {
        let units = [
            ("ms", 1), ("s", 1000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000),
        ]
        return scaled(text, units).map { .milliseconds($0) }
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
        let units = [("GiB", 1024 * 1024 * 1024), ("MiB", 1024 * 1024), ("KiB", 1024)]
        for (suffix, factor) in units where byteCount >= factor && byteCount % factor == 0 {
            return "\(byteCount / factor)\(suffix)"
        }
        return "\(byteCount)"
    }

    package static func describe(duration: Duration) -> String {
        let milliseconds = duration.milliseconds
        let units = [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1000)]
        for (suffix, factor) in units where milliseconds >= factor && milliseconds % factor == 0 {
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
