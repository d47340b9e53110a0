// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CCUDA
package import Driver
import Synchronization

// Graphs take memory for their own, which nobody knows beforehand.

extension PartitionedDriver {
    package func cuGraphInstantiate(_ context: ContextHandle, plan: GraphPlan) throws(CUDAError) -> GraphHandle {
        let before = freeBytes(context)
        let graph = try driver.cuGraphInstantiate(context, plan: plan)
        let taken = bytesTaken(context, since: before)
        let fits = account.withLock { account -> Bool in
            guard let device = account.device(of: context) else { return true }
            return slot.take(taken, device: Int(device))
        }
        guard fits else {
            try driver.cuGraphExecDestroy(context, hGraphExec: graph)
            countOwn(context, bytesTaken(context, since: before))
            throw .outOfMemory
        }
        account.withLock { account in account.contexts[context]?.ownBytes += taken }
        return graph
    }

    /// What graphs have taken stays with the driver for the next ones, and is counted with the context until it ends.
    package func cuGraphExecDestroy(_ context: ContextHandle, hGraphExec: GraphHandle) throws(CUDAError) {
        let before = freeBytes(context)
        try driver.cuGraphExecDestroy(context, hGraphExec: hGraphExec)
        countOwn(context, signedBytesTaken(context, since: before))
    }
}
