// SPDX-License-Identifier: Apache-2.0
import TraceFormat

/// What `bitfusion trace` says of one or more traces; the members are those of its JSON.
package struct TraceSummary: Sendable, Encodable {
    package struct Process: Sendable, Encodable {
        package let pid: UInt32
        package let program: String
        /// Seconds since 1970.
        package let began: Double
        package let calls: Int
        package let threads: Int
    }

    /// All calls of one function.
    package struct Call: Sendable, Encodable {
        package let name: String
        package let count: Int
        package let failed: Int
        package let totalNanoseconds: UInt64
        package let p50Nanoseconds: UInt64
        package let p95Nanoseconds: UInt64
        package let p99Nanoseconds: UInt64
        package let maxNanoseconds: UInt64
    }

    package let processes: [Process]
    /// From the first call's begin to the last one's end.
    package let wallNanoseconds: UInt64
    package let callCount: Int
    package let failedCount: Int
    /// Those that took the most time together first.
    package let calls: [Call]
    package let network: NetworkWaits
}

/// Gathers what a summary says, call by call.
package struct TraceStatistics {
    private struct Totals {
        var failed = 0
        var waits = WaitTotals()
        var durations: [UInt64] = []
    }

    private struct ProcessTotals {
        var program = "?"
        var began = 0.0
        var calls = 0
        var threads: Set<UInt32> = []
    }

    /// The percentiles are of all calls of a function; a process has few functions.
    private var totals: [String: Totals] = [:]
    private var processes: [UInt32: ProcessTotals] = [:]
    private var patterns = WaitPatterns()
    private var first: UInt64 = .max
    private var last: UInt64 = 0

    package init() {}

    /// Says which program a process runs.
    package mutating func add(_ process: TracedProcess) {
        processes[process.pid, default: ProcessTotals()].program = process.program
        processes[process.pid, default: ProcessTotals()].began = process.began
    }

    package mutating func add(_ call: TracedCall) {
        totals[call.name, default: Totals()].durations.append(call.durationNanoseconds)
        if call.result != 0 && !call.saysNotReady { totals[call.name, default: Totals()].failed += 1 }
        if call.waits > 0 { totals[call.name, default: Totals()].waits.add(call) }
        processes[call.processID, default: ProcessTotals()].calls += 1
        processes[call.processID, default: ProcessTotals()].threads.insert(call.thread)
        patterns.add(call)
        first = min(first, call.startNanoseconds)
        last = max(last, call.endNanoseconds)
    }

    package func summary() -> TraceSummary {
        let wall = last > first ? last - first : 0
        let calls = totals.map { name, totals in
            let sorted = totals.durations.sorted()
            return TraceSummary.Call(
                name: name, count: sorted.count, failed: totals.failed, totalNanoseconds: sorted.reduce(0, &+),
                p50Nanoseconds: percentile(50, of: sorted), p95Nanoseconds: percentile(95, of: sorted),
                p99Nanoseconds: percentile(99, of: sorted), maxNanoseconds: sorted.last ?? 0)
        }
        .sorted { ($0.totalNanoseconds, $1.name) > ($1.totalNanoseconds, $0.name) }
        return TraceSummary(
            processes: processes.sorted { $0.key < $1.key }.map { pid, process in
                TraceSummary.Process(
                    pid: pid, program: process.program, began: process.began, calls: process.calls,
                    threads: process.threads.count)
            },
            wallNanoseconds: wall, callCount: calls.reduce(0) { $0 + $1.count },
            failedCount: calls.reduce(0) { $0 + $1.failed }, calls: calls,
            network: patterns.waits(
                totals.filter { $0.value.waits.calls > 0 }.mapValues(\.waits), wallNanoseconds: wall, first: first))
    }
}

/// The smallest value that is at least as large as so many percent of a sorted list's; 0 for an empty one.
package func percentile(_ percent: Int, of sorted: [UInt64]) -> UInt64 {
    guard !sorted.isEmpty else { return 0 }
    return sorted[max(0, (sorted.count * percent + 99) / 100 - 1)]
}

extension TracedCall {
    /// Whether the result is the answer "not yet" to a question whether work is done: CUDA_ERROR_NOT_READY.
    var saysNotReady: Bool { library == .driver && result == 600 }
}
