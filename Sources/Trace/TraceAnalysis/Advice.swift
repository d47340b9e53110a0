// SPDX-License-Identifier: Apache-2.0

/// A habit of a program that costs it time on a remote GPU, and what to do instead.
package struct Advice: Sendable, Encodable, Equatable {
    package enum Habit: String, Sendable, Encodable {
        case smallCopies, memoryInfo, synchronising, polling, allocating, loading, management
    }

    package let habit: Habit
    package let text: String

    /// Copies up to this size cost more for the way than for the bytes.
    package static let smallCopyBytesMax = 64 << 10
    /// A habit is one that was seen so often, or that took so much of the time.
    static let countMin = 100
    static let shareMin = 0.05

    private struct Rule {
        let habit: Habit
        let advice: String
        /// Names without version, or their beginnings where a `*` follows.
        let names: [String]

        func covers(_ name: String) -> Bool {
            let base = name.prefix { $0 != "_" }
            return names.contains { $0.hasSuffix("*") ? base.hasPrefix($0.dropLast()) : base == $0 }
        }
    }

    private static let rules = [
        Rule(
            habit: .memoryInfo, advice: "ask once and keep the answer, or ask less often", names: ["cuMemGetInfo"]),
        Rule(
            habit: .polling, advice: "wait with cuEventSynchronize or cuStreamSynchronize instead of asking in a loop",
            names: ["cuStreamQuery", "cuEventQuery"]),
        Rule(
            habit: .allocating, advice: "keep buffers, or take them from a pool with cuMemAllocAsync",
            names: ["cuMemAlloc", "cuMemFree", "cuMemAllocPitch", "cuMemAllocManaged"]),
        Rule(
            habit: .management, advice: "ask the management library less often", names: ["nvml*"]),
    ]

    /// Advice on what the calls that waited show, what costs the most first.
    static func list(
        _ calls: [NetworkWaits.Call], smallCopies: WaitTotals, launches: Int, wallNanoseconds wall: UInt64
    ) -> [Advice] {
        var found: [(UInt64, Advice)] = []
        func share(_ nanoseconds: UInt64) -> Double { wall == 0 ? 0 : Double(nanoseconds) / Double(wall) }
        func add(_ habit: Habit, _ count: Int, _ nanoseconds: UInt64, _ what: String, _ advice: String) {
            let text = "\(count) \(what) waited \(percent(share(nanoseconds))) of the time: \(advice)"
            found.append((nanoseconds, Advice(habit: habit, text: text)))
        }
        if smallCopies.calls >= countMin {
            add(
                .smallCopies, smallCopies.calls, smallCopies.nanoseconds,
                "copies of at most \(smallCopyBytesMax >> 10) KiB",
                "gather them into fewer copies, or make them asynchronous (cuMemcpy...Async from pinned memory)")
        }
        for rule in rules {
            let covered = calls.filter { rule.covers($0.name) }
            let count = covered.reduce(0) { $0 + $1.count }
            guard count >= countMin, let most = covered.first else { continue }
            let what = covered.count == 1 ? "calls of \(most.name)" : "calls of \(most.name) and others like it"
            add(rule.habit, count, covered.reduce(0) { $0 &+ $1.waitedNanoseconds }, what, rule.advice)
        }
        let synchronising = calls.filter { $0.name.hasSuffix("Synchronize") || $0.name.contains("Synchronize_") }
        let synchronised = synchronising.reduce(0) { $0 + $1.count }
        if synchronised >= countMin && synchronised * 2 >= launches {
            add(
                .synchronising, synchronised, synchronising.reduce(0) { $0 &+ $1.waitedNanoseconds },
                "synchronisations for \(launches) launches",
                "let work gather in a stream and wait once for its results; events order work without the host")
        }
        let loading = calls.filter { $0.name.hasPrefix("cuModuleLoad") || $0.name.hasPrefix("cuLibraryLoad") }
        let loadingNanoseconds = loading.reduce(0) { $0 &+ $1.waitedNanoseconds }
        if share(loadingNanoseconds) >= shareMin {
            add(
                .loading, loading.reduce(0) { $0 + $1.count }, loadingNanoseconds, "loads of modules",
                "load each module once and keep it")
        }
        return found.sorted { $0.0 > $1.0 }.map(\.1)
    }
}

/// A share as percent, with a digit behind the point below 10.
func percent(_ share: Double) -> String {
    let tenths = Int((share * 1000).rounded())
    return tenths < 100 ? "\(tenths / 10).\(tenths % 10) %" : "\(Int((share * 100).rounded())) %"
}
