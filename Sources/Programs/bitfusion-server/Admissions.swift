// SPDX-License-Identifier: Apache-2.0
import Glibc
import Manager
import Pool
import Synchronization

/// Tells the dispatcher what a ticket is good for: what the scheduler knows, which is made after the dispatcher.
final class Admissions: Sendable {
    private let scheduler = Mutex<ResourceScheduler?>(nil)
    /// The memory of a GPU that only the ledger limits, nil where the driver does.
    private let wholeMebibytes: Int?

    init(_ choice: DriverChoice, _ inventory: Inventory) { wholeMebibytes = choice.wholeMebibytes(inventory) }

    func set(_ scheduler: ResourceScheduler) { self.scheduler.withLock { $0 = scheduler } }

    func admit(_ ticket: Ticket) -> Dispatcher.Admission? {
        guard let allocation = scheduler.withLock({ $0 })?.allocation(ticket: ticket) else { return nil }
        return Dispatcher.Admission(
            allocation: allocation.id, devices: allocation.devices,
            mebibytes: allocation.mebibytes ?? wholeMebibytes)
    }
}

/// Signals that one thread waits for and no other receives.
struct SignalWait {
    private let set: sigset_t

    /// Blocks the signals in the calling thread and those it starts.
    init(_ signals: [Int32]) {
        var set = sigset_t()
        sigemptyset(&set)
        for signal in signals { sigaddset(&set, signal) }
        pthread_sigmask(SIG_BLOCK, &set, nil)
        self.set = set
    }

    func wait() -> Int32 {
        var set = set
        var signal: Int32 = 0
        sigwait(&set, &signal)
        return signal
    }
}

/// A server holds two descriptors for each worker and one for each client.
func raiseDescriptorLimit() {
    var limit = rlimit()
    guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return }
    limit.rlim_cur = limit.rlim_max
    setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
}
