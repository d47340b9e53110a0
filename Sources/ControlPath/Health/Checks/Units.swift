// SPDX-License-Identifier: Apache-2.0

/// The words in which checks speak of sizes and versions.
extension Finding {
    /// Judges one of several things; one whose source is missing is marginal.
    static func attempt(_ body: () throws(SourceFailure) -> Finding) -> Finding {
        do throws(SourceFailure) { return try body() } catch {
            return .untold(error)
        }
    }
}

let gibibyte: UInt64 = 1 << 30

/// `7.9 GiB`, rounded down, so that what is printed never seems to reach a limit that it misses.
func gibibytes(_ bytes: UInt64) -> String {
    let tenths = (bytes >> 20) * 10 / 1024
    return "\(tenths / 10).\(tenths % 10) GiB"
}

/// A version of CUDA from its number: 12040 is `12.4`.
func cudaText(_ version: Int) -> String { "\(version / 1000).\(version % 1000 / 10)" }

/// A share in percent with so many decimals, rounded up: a limit that is passed shows.
func percent(_ part: UInt64, of whole: UInt64, decimals: Int) -> String {
    let scale = (0..<decimals).reduce(1.0) { scale, _ in scale * 10 }
    let scaled = UInt64((Double(part) * 100 * scale / Double(max(1, whole))).rounded(.up))
    guard decimals > 0 else { return "\(scaled) %" }
    let fraction = String(scaled % UInt64(scale))
    return "\(scaled / UInt64(scale))." + String(repeating: "0", count: decimals - fraction.count) + fraction + " %"
}

/// Items as a list in a sentence, the first few when there are many.
func listed(_ items: [String], most: Int = 8) -> String {
    items.prefix(most).joined(separator: ", ") + (items.count > most ? " and \(items.count - most) more" : "")
}
