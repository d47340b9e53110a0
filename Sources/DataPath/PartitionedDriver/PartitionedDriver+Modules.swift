// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CCUDA
package import Driver
import Synchronization

// What nobody knows beforehand: counted by what the driver has less afterwards, and undone where that is too much.

extension PartitionedDriver {
    package func cuModuleLoadDataEx(
        _ context: ContextHandle, image: RawSpan, options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> ModuleHandle {
        let before = freeBytes(context)
        let module = try driver.cuModuleLoadDataEx(context, image: image, options: options, log: &log)
        let taken = bytesTaken(context, since: before)
        let fits = account.withLock { account -> Bool in
            guard let device = account.device(of: context) else { return true }
            // The heap that was counted when its size was set is taken when a module needs it.
            let promise = account.contexts[context]?.heapPromise ?? 0
            let isHeap = promise > 0 && taken >= promise
            let byteCount = isHeap ? taken - promise : taken
            guard slot.take(byteCount, device: Int(device)) else { return false }
            if isHeap {
                account.contexts[context]?.heapPromise = 0
                account.contexts[context]?.ownBytes += promise
            }
            account.modules[module] = MemoryAccount.Module(context: context, byteCount: byteCount)
            return true
        }
        if fits { return module }
        try driver.cuModuleUnload(context, hmod: module)
        countOwn(context, bytesTaken(context, since: before))
        throw .outOfMemory
    }

    /// What a module leaves behind, as the heap that was made for it, ends with its context.
    package func cuModuleUnload(_ context: ContextHandle, hmod: ModuleHandle) throws(CUDAError) {
        let before = freeBytes(context)
        try driver.cuModuleUnload(context, hmod: hmod)
        let after = freeBytes(context)
        account.withLock { account in
            guard let module = account.modules.removeValue(forKey: hmod),
                let device = account.device(of: module.context)
            else { return }
            let freed = if let before, let after { max(0, after - before) } else { module.byteCount }
            let counted = min(freed, module.byteCount)
            slot.giveBack(counted, device: Int(device))
            account.contexts[module.context]?.ownBytes += module.byteCount - counted
        }
    }

    package func cuCtxSetLimit(_ context: ContextHandle, limit: UInt32, value: Int) throws(CUDAError) {
        guard [CU_LIMIT_MALLOC_HEAP_SIZE, CU_LIMIT_PRINTF_FIFO_SIZE, CU_LIMIT_STACK_SIZE].contains(CUlimit(limit)),
            let device = account.withLock({ $0.device(of: context) })
        else { return try driver.cuCtxSetLimit(context, limit: limit, value: value) }
        let isHeap = CUlimit(limit) == CU_LIMIT_MALLOC_HEAP_SIZE
        let old = try driver.cuCtxGetLimit(context, limit: limit)
        let promise = account.withLock { $0.contexts[context]?.heapPromise ?? 0 }
        // All of the heap is counted at once: the driver takes it when nobody can be refused it any more.
        let promised = isHeap && value >= 0 ? value : 0
        guard slot.take(promised, device: Int(device)) else { throw .outOfMemory }
        let before = freeBytes(context)
        do throws(CUDAError) {
            try driver.cuCtxSetLimit(context, limit: limit, value: value)
        } catch {
            slot.giveBack(promised, device: Int(device))
            throw error
        }
        let taken = signedBytesTaken(context, since: before)
        // Either it is to be taken still, or it has been: now, or before with the same size.
        let isStillPromise = isHeap && taken == 0 && (value != old || promise > 0)
        let covered = isStillPromise ? promised : min(promised, max(0, taken))
        slot.giveBack(promised - covered + (isHeap ? promise : 0), device: Int(device))
        account.withLock { account in
            if isHeap { account.contexts[context]?.heapPromise = isStillPromise ? promised : 0 }
            if !isStillPromise { account.contexts[context]?.ownBytes += covered }
        }
        let more = taken - (isStillPromise ? 0 : covered)
        guard more > 0 else { return countOwn(context, more) }
        guard slot.take(more, device: Int(device)) else {
            try? driver.cuCtxSetLimit(context, limit: limit, value: old)
            countOwn(context, signedBytesTaken(context, since: before) - covered)
            throw .outOfMemory
        }
        account.withLock { $0.contexts[context]?.ownBytes += more }
    }

    /// Counts as a context's own what the driver has taken for it, or given back, whether there is room or not.
    func countOwn(_ context: ContextHandle, _ taken: Int) {
        account.withLock { account in
            guard let known = account.contexts[context] else { return }
            let change = max(taken, -known.ownBytes)
            if change >= 0 {
                slot.add(change, device: Int(known.device))
            } else {
                slot.giveBack(-change, device: Int(known.device))
            }
            account.contexts[context]?.ownBytes += change
        }
    }

    func bytesTaken(_ context: ContextHandle, since before: Int?) -> Int {
        max(0, signedBytesTaken(context, since: before))
    }

    func signedBytesTaken(_ context: ContextHandle, since before: Int?) -> Int {
        guard let before, let after = freeBytes(context) else { return 0 }
        return before - after
    }
}
