// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// One worker's part of an ``AllocationLedger``: what it takes is counted here before the driver is asked.
package final class LedgerSlot: Sendable {
    package let ledger: AllocationLedger
    package let number: Int
    /// A slot has one writer: the threads of a worker take turns.
    private let turn = Mutex(())
    private let counter = Atomic<UInt64>(0)

    /// How often a request that another one stands in the way of is looked at again: that one may be refused, or its
    /// process may have been killed in the middle of it.
    private static let attemptsMax = 60
    /// A decision takes some hundred nanoseconds, and longer only when its process does not get a core.
    private static let pauseMicroseconds: UInt32 = 20
    private static let pauseMicrosecondsMax: UInt32 = 1_000

    /// The slot that the dispatcher has opened for this process.
    package init(_ ledger: AllocationLedger, number: Int) throws(LedgerFailure) {
        guard ledger.slots ~= number else { throw LedgerFailure("the ledger of the allocation has no slot \(number)") }
        self.ledger = ledger
        self.number = number
    }

    /// Says whose worker this is: the client machine's number of the process, and the program's short name.
    ///
    /// The server knows the work under this process's own number.
    package func setClient(processID: UInt32, name: String, workerID: UInt32? = nil) {
        let start = ledger.layout.slot(number)
        ledger.store(start + LedgerLayout.workerID, UInt64(workerID ?? UInt32(getpid())))
        ledger.store(start + LedgerLayout.processID, UInt64(processID))
        let bytes = Array(name.utf8.prefix(LedgerLayout.nameBytes - 1))
        for word in 0..<LedgerLayout.nameBytes / 8 {
            let part = bytes.dropFirst(word * 8).prefix(8)
            ledger.store(
                start + LedgerLayout.name + word * 8, part.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        }
    }

    /// Says how many contexts this worker has on a device.
    package func setContexts(_ count: Int, device: Int) {
        ledger.store(ledger.layout.contexts(device, slot: number), UInt64(count))
    }

    // MARK: Memory

    /// Counts bytes as used if the allocation may have as many more; false when not.
    ///
    /// A request is announced before it is decided, so that of two that do not fit together both cannot overlook each
    /// other; then the one of the higher slot steps back, so that one of them gets what it asks for.
    package func take(_ byteCount: Int, device: Int) -> Bool {
        precondition(byteCount >= 0, "less than nothing cannot be taken")
        let asked = ledger.layout.asked(device, slot: number)
        return turn.withLock { _ in
            defer { ledger.store(asked, 0) }
            var pause = LedgerSlot.pauseMicroseconds
            var tooMuch: UInt64?
            for _ in 0..<LedgerSlot.attemptsMax {
                ledger.store(asked, UInt64(byteCount))
                switch decide(byteCount, device) {
                case .fits:
                    addLocked(byteCount, device)
                    return true
                case .doesNotFit(let sum):
                    // Bytes that change hands while the slots are read are seen twice: what is full stays full.
                    if tooMuch == sum { return false }
                    tooMuch = sum
                    continue
                case .stepsBack: ledger.store(asked, 0)
                case .waits: break
                }
                usleep(pause)
                pause = min(2 * pause, LedgerSlot.pauseMicrosecondsMax)
            }
            return false
        }
    }

    private enum Decision {
        case fits
        /// It would come to so much.
        case doesNotFit(UInt64)
        /// A request of a lower slot stands in the way.
        case stepsBack
        /// Only requests of higher slots stand in the way, which step back.
        case waits
    }

    private func decide(_ byteCount: Int, _ device: Int) -> Decision {
        guard let limit = ledger.limitBytes else { return .fits }
        var used = UInt64(byteCount)
        var requested: UInt64 = 0
        var isBehindLower = false
        for slot in ledger.slots {
            // In this order a request that becomes use meanwhile is counted at least once.
            let asked = slot == number ? 0 : ledger.load(ledger.layout.asked(device, slot: slot))
            used = saturatingSum(used, ledger.load(ledger.layout.used(device, slot: slot)))
            requested = saturatingSum(requested, asked)
            if asked > 0 && slot < number { isBehindLower = true }
        }
        if used > limit { return .doesNotFit(used) }
        if saturatingSum(used, requested) <= limit { return .fits }
        return isBehindLower ? .stepsBack : .waits
    }

    /// Counts bytes that are used already, whether the allocation may have them or not.
    package func add(_ byteCount: Int, device: Int) { turn.withLock { _ in addLocked(byteCount, device) } }

    /// Gives bytes back.
    package func giveBack(_ byteCount: Int, device: Int) { turn.withLock { _ in addLocked(-byteCount, device) } }

    private func addLocked(_ byteCount: Int, _ device: Int) {
        let used = ledger.layout.used(device, slot: number)
        ledger.store(used, UInt64(clamping: Int(clamping: ledger.load(used)) + byteCount))
    }

    // MARK: Activity

    /// Says that calls have been performed.
    ///
    /// One store for a batch of calls, with nobody waited for.
    package func noteActivity() {
        let counter = counter.add(1, ordering: .relaxed).newValue
        ledger.storeLazily(ledger.layout.slot(number) + LedgerLayout.activity, counter)
    }

    /// Says whether GPU work may be going on.
    package func setRunning(_ isRunning: Bool) {
        ledger.storeLazily(ledger.layout.slot(number) + LedgerLayout.isRunning, isRunning ? 1 : 0)
    }
}

private func saturatingSum(_ first: UInt64, _ second: UInt64) -> UInt64 {
    let (sum, overflow) = first.addingReportingOverflow(second)
    return overflow ? UInt64.max : sum
}
