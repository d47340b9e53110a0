// SPDX-License-Identifier: Apache-2.0

/// Which calls waited for a reply from the server, for how long, and what a program could do about it.
package struct NetworkWaits: Sendable, Encodable {
    /// The waits of one function.
    package struct Call: Sendable, Encodable {
        package let name: String
        /// How many calls waited.
        package let count: Int
        /// How many replies they waited for.
        package let replies: UInt64
        package let waitedNanoseconds: UInt64
        package let maxNanoseconds: UInt64
        /// Of the time from the first call to the last; of several threads more than 1 is possible.
        package let shareOfWall: Double
    }

    /// One of the longest waits.
    package struct Stall: Sendable, Encodable {
        package let name: String
        package let pid: UInt32
        package let thread: UInt32
        /// After the first call.
        package let atNanoseconds: UInt64
        package let waitedNanoseconds: UInt64
    }

    package let callCount: Int
    package let waitedNanoseconds: UInt64
    package let shareOfWall: Double
    package let calls: [Call]
    package let longest: [Stall]
    package let advice: [Advice]
}

/// The waits of one function's calls.
struct WaitTotals {
    var calls = 0
    var replies: UInt64 = 0
    var nanoseconds: UInt64 = 0
    var maxNanoseconds: UInt64 = 0

    mutating func add(_ call: TracedCall) {
        calls += 1
        replies &+= call.waits
        nanoseconds &+= call.waitedNanoseconds
        maxNanoseconds = max(maxNanoseconds, call.waitedNanoseconds)
    }
}

/// What the calls of a program have in common that waited.
struct WaitPatterns {
    private static let stallsMax = 10

    private var longest: [TracedCall] = []
    private var smallCopies = WaitTotals()
    private var launches = 0

    mutating func add(_ call: TracedCall) {
        if call.baseName.hasPrefix("cuLaunch") { launches += 1 }
        guard call.waits > 0 else { return }
        if call.baseName.hasPrefix("cuMemcpy"), let bytes = call.argument("ByteCount")?.number,
            bytes <= UInt64(Advice.smallCopyBytesMax)
        {
            smallCopies.add(call)
        }
        if longest.count < WaitPatterns.stallsMax
            || longest[longest.count - 1].waitedNanoseconds < call.waitedNanoseconds
        {
            let place = longest.firstIndex { $0.waitedNanoseconds < call.waitedNanoseconds } ?? longest.count
            longest.insert(call, at: place)
            if longest.count > WaitPatterns.stallsMax { longest.removeLast() }
        }
    }

    func waits(_ totals: [String: WaitTotals], wallNanoseconds wall: UInt64, first: UInt64) -> NetworkWaits {
        func share(_ nanoseconds: UInt64) -> Double { wall == 0 ? 0 : Double(nanoseconds) / Double(wall) }
        let calls = totals.map { name, totals in
            NetworkWaits.Call(
                name: name, count: totals.calls, replies: totals.replies, waitedNanoseconds: totals.nanoseconds,
                maxNanoseconds: totals.maxNanoseconds, shareOfWall: share(totals.nanoseconds))
        }
        .sorted { ($0.waitedNanoseconds, $1.name) > ($1.waitedNanoseconds, $0.name) }
        let waited = calls.reduce(0) { $0 &+ $1.waitedNanoseconds }
        return NetworkWaits(
            callCount: calls.reduce(0) { $0 + $1.count }, waitedNanoseconds: waited, shareOfWall: share(waited),
            calls: calls,
            longest: longest.map { call in
                NetworkWaits.Stall(
                    name: call.name, pid: call.processID, thread: call.thread,
                    atNanoseconds: call.startNanoseconds - first, waitedNanoseconds: call.waitedNanoseconds)
            },
            advice: Advice.list(calls, smallCopies: smallCopies, launches: launches, wallNanoseconds: wall))
    }
}
