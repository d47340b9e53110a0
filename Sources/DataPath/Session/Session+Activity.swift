// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import Driver

// What the ledger is told of the client, for whoever ends allocations that do nothing. A client that enqueues work and
// then only waits for it on its own side is not idle: the GPU works for it.

extension Session {
    /// While nothing comes from the client, it is looked so often whether the GPU still works for it.
    package static let lookSeconds = 10

    /// Calls have been performed: a store for all that came together, none for each.
    func noteActivity() {
        slot?.noteActivity()
        guard !isMarkedRunning else { return }
        isMarkedRunning = true
        slot?.setRunning(true)
    }

    /// Nothing has come for a while.
    func noteSilence() {
        guard isMarkedRunning, !isWorking else { return }
        isMarkedRunning = false
        slot?.setRunning(false)
    }

    /// Whether some stream has work.
    private var isWorking: Bool { contexts.all.contains { isWorking($0.key, $0.value) } }

    /// Whether some stream of a context has work, or one that has ended.
    func isWorking(_ number: UInt64, _ context: ContextHandle) -> Bool {
        if isBusy(.legacyDefault, context) { return true }
        for event in orphanedWork[number] ?? [] where isPending(event, context) { return true }
        for (stream, owner) in contextOfStream where owner == number {
            guard let stream = try? streams.driverHandle(stream) else { continue }
            if isBusy(stream, context) { return true }
        }
        return false
    }

    /// A context that has failed works no more.
    private func isBusy(_ stream: StreamHandle, _ context: ContextHandle) -> Bool {
        do throws(CUDAError) { return try !isIdle(stream, context) } catch { return false }
    }

    private func isPending(_ event: EventHandle, _ context: ContextHandle) -> Bool {
        do throws(CUDAError) {
            try driver.cuEventQuery(context, hEvent: event)
            return false
        } catch {
            return error == .notReady
        }
    }
}
