// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Host memory of a pool that goes when a stream has come to the place where it was freed.
struct PendingFree {
    let allocation: Allocation
    let context: ContextHandle
    /// What the stream had to do before.
    let event: EventHandle
}

/// Memory of the pools that this library has itself.
extension Shim {
    /// Whether memory is of a pool of this library, which may have ended since.
    func isOfClientPool(_ allocation: Allocation) -> Bool {
        allocation.poolBits != 0 && (allocation.kind == .host || allocation.kind == .managed)
    }

    /// Memory may be had earlier than CUDA promises: nothing need be enqueued.
    func allocate(
        _ byteCount: Int, from pool: Pool, _ client: ClientPool, _ target: StreamTarget
    ) throws(CUDAError) -> CUdeviceptr {
        finishPendingFrees()
        let active = try ActiveContext(try context(of: target))
        try client.take(byteCount)
        do throws(CUDAError) {
            guard client.place.isManaged else {
                return Self.address(try allocateHostMemory(byteCount, 0, in: active.context, pool: pool))
            }
            let address = try allocateManaged(byteCount, in: active)
            _ = memory.update(address) { $0.poolBits = pool.bits }
            if let id = memory.find(address)?.id {
                let preferred = client.place.preferredLocation
                memoryAdvice.withLock { $0[id, default: MemoryAdvice()].preferredLocation = preferred }
            }
            return address
        } catch {
            client.giveBack(byteCount)
            throw error
        }
    }

    /// Frees memory when all work that may use it is done.
    func freeOfClientPool(_ allocation: Allocation) throws(CUDAError) {
        if let context = contexts[allocation.contextBits], let handle = try? context.handle {
            try driver.cuCtxSynchronize(handle)
            if allocation.kind == .managed {
                return try free(managed: allocation, StreamTarget(legacyOf: handle, context.bits))
            }
        }
        guard allocation.kind == .host else { throw .contextIsDestroyed }
        try free(host: allocation)
    }

    /// Frees memory in the order of a stream.
    func freeOfClientPool(_ allocation: Allocation, inOrderOf target: StreamTarget) throws(CUDAError) {
        if allocation.kind == .managed { return try free(managed: allocation, target) }
        do throws(CUDAError) {
            try driver.cuStreamQuery(target.context, hStream: target.stream)
            return try free(host: allocation)
        } catch {
            guard error == .notReady else { throw error }
        }
        let event = try driver.cuEventCreate(target.context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
        try driver.cuEventRecordWithFlags(target.context, hEvent: event, hStream: target.stream, flags: 0)
        guard memory.update(allocation.base, { $0.isFreePending = true }) else { throw .invalidValue }
        pendingFrees.withLock { pending in
            pending.append(PendingFree(allocation: allocation, context: target.context, event: event))
            pendingFreeCount.store(pending.count, ordering: .relaxed)
        }
    }

    /// Frees what streams have come to by now.
    func finishPendingFrees() {
        guard pendingFreeCount.load(ordering: .relaxed) != 0 else { return }
        let candidates = pendingFrees.withLock { pending in
            defer { pending = [] }
            return pending
        }
        var left: [PendingFree] = []
        for pending in candidates {
            do throws(CUDAError) {
                try driver.cuEventQuery(pending.context, hEvent: pending.event)
            } catch {
                if error == .notReady {
                    left.append(pending)
                    continue
                }
                // Its context has failed or ended, and with it all work that used the memory.
            }
            try? driver.cuEventDestroy_v2(pending.context, hEvent: pending.event)
            try? free(host: pending.allocation)
        }
        pendingFrees.withLock { pending in
            pending += left
            pendingFreeCount.store(pending.count, ordering: .relaxed)
        }
    }

    private func free(host allocation: Allocation) throws(CUDAError) {
        try freeHostMemory(allocation.base, inOrder: true)
        giveBack(allocation)
    }

    private func free(managed allocation: Allocation, _ target: StreamTarget) throws(CUDAError) {
        memoryAdvice.withLock { $0[allocation.id] = nil }
        var base = allocation.base
        if allocation.deviceBase != 0 {
            let found = shared.remove(at: UInt(allocation.base)) { range in
                range.giveUpAddresses()
                return range.driverBase
            }
            guard let found else { throw .invalidValue }
            base = found
        }
        try driver.cuMemFreeAsync(target.context, dptr: base, hStream: target.stream)
        memory.remove(allocation.base) { $0.id == allocation.id }
        giveBack(allocation)
    }

    /// Counts memory of a pool as free, if the pool is there still.
    func giveBack(_ allocation: Allocation) { pools[allocation.poolBits]?.client?.giveBack(allocation.byteCount) }
}

extension StreamTarget {
    /// The legacy default stream of a context.
    fileprivate init(legacyOf context: ContextHandle, _ contextBits: UInt64) {
        self.init(contextBits: contextBits, context: context, stream: .legacyDefault)
    }
}
