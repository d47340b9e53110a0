// SPDX-License-Identifier: Apache-2.0
import KernelCompiler
import Synchronization

/// A part of a primary context: streams whose kernels run on some of the device's multiprocessors.
///
/// A multiprocessor is a core. Which of them the threads of a launch get is the system's business; that they are not
/// more than the green context has is this one's.
final class GreenContext: Sendable {
    let bits: UInt64
    let home: Context
    let resource: MultiprocessorTable.Resource
    /// Shared by all its streams.
    let budget: CoreBudget
    private let awaitedWork = Mutex<[Work]>([])

    init(bits: UInt64, home: Context, resource: MultiprocessorTable.Resource) {
        self.bits = bits
        self.home = home
        self.resource = resource
        budget = CoreBudget(cores: max(1, resource.processors.count))
    }

    /// What all later work waits for.
    var awaited: [Work] { awaitedWork.withLock { $0 } }

    func wait(for work: Work) {
        awaitedWork.withLock { awaited in
            awaited.removeAll(where: \.isReachedWait)
            awaited.append(work)
        }
    }
}
