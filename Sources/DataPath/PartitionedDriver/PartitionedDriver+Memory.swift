// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import CCUDA
package import Driver
import Synchronization

// Memory of its own: counted before the driver is asked.

extension PartitionedDriver {
    package func cuMemAlloc_v2(_ context: ContextHandle, bytesize: Int) throws(CUDAError) -> CUdeviceptr {
        try allocate(context, bytesize) { () throws(CUDAError) in
            (try driver.cuMemAlloc_v2(context, bytesize: bytesize), bytesize)
        }
    }

    package func cuMemAllocPitch_v2(
        _ context: ContextHandle, widthInBytes: Int, height: Int, elementSizeBytes: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, pPitch: Int) {
        var pitch = 0
        let (product, overflow) = widthInBytes.multipliedReportingOverflow(by: height)
        guard !overflow, product >= 0 else { throw .invalidValue }
        let address = try allocate(context, product) { () throws(CUDAError) in
            let made = try driver.cuMemAllocPitch_v2(
                context, widthInBytes: widthInBytes, height: height, elementSizeBytes: elementSizeBytes)
            pitch = made.pPitch
            return (made.dptr, made.pPitch * height)
        }
        return (address, pitch)
    }

    /// Counts an allocation first, so that two processes cannot both take the last bytes.
    ///
    /// `body` returns how many bytes it has become, which with a pitch only the driver knows.
    private func allocate(
        _ context: ContextHandle, _ byteCount: Int, _ body: () throws(CUDAError) -> (CUdeviceptr, Int)
    ) throws(CUDAError) -> CUdeviceptr {
        guard let device = account.withLock({ $0.device(of: context) }) else { throw .invalidContext }
        guard byteCount >= 0 else { throw .invalidValue }
        guard take(byteCount, on: device) != nil else { throw .outOfMemory }
        let address: CUdeviceptr
        let taken: Int
        do throws(CUDAError) {
            (address, taken) = try body()
        } catch {
            giveBack(byteCount, on: device)
            throw error
        }
        if taken != byteCount {
            giveBack(byteCount, on: device)
            guard take(taken, on: device) != nil else {
                try driver.cuMemFree_v2(context, dptr: address)
                throw .outOfMemory
            }
        }
        account.withLock {
            $0.remember(address, MemoryAccount.Allocation(device: device, context: context, byteCount: taken))
        }
        return address
    }

    /// Counts an allocation; before it is refused, memory that pools only keep is given back.
    ///
    /// Returns what the driver will take for it, or nil when there is no room.
    func take(_ byteCount: Int, on device: Int32) -> Int? {
        let blocks = account.withLock { $0.grow(by: byteCount, on: device) }
        if slot.take(blocks, device: Int(device)) { return blocks }
        if reclaim(on: device), slot.take(blocks, device: Int(device)) { return blocks }
        _ = account.withLock { $0.shrink(by: byteCount, on: device) }
        return nil
    }

    func giveBack(_ byteCount: Int, on device: Int32) {
        account.withLock { account in
            slot.giveBack(account.shrink(by: byteCount, on: device), device: Int(device))
        }
    }

    package func cuMemFree_v2(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) {
        try driver.cuMemFree_v2(context, dptr: dptr)
        if let opened = forgetImport(at: dptr) { return giveBack(opened.byteCount, on: opened.device) }
        account.withLock { account in
            guard let allocation = account.forget(dptr) else { return }
            // From here on it counts where it is open.
            account.takeEndedExports().forEach(slot.withdraw)
            guard let pool = allocation.pool else {
                let blocks = account.shrink(by: allocation.byteCount, on: allocation.device)
                return slot.giveBack(blocks, device: Int(allocation.device))
            }
            settle(pool, &account)
        }
    }

    package func cuMemFreeAsync(
        _ context: ContextHandle, dptr: CUdeviceptr, hStream: StreamHandle
    ) throws(CUDAError) {
        withdrawExport(of: dptr)
        try driver.cuMemFreeAsync(context, dptr: dptr, hStream: hStream)
        let allocation = account.withLock { account -> MemoryAccount.Allocation? in
            guard let allocation = account.forget(dptr) else { return nil }
            guard let pool = allocation.pool else { return allocation }
            settle(pool, &account)
            return nil
        }
        guard let allocation = allocation ?? forgetImport(at: dptr) else { return }
        // It is in use until the stream has come to here.
        guard let event = recordEvent(context, hStream) else {
            return giveBack(allocation.byteCount, on: allocation.device)
        }
        account.withLock {
            $0.pendingFrees.append(
                MemoryAccount.PendingFree(allocation: allocation, event: event, context: context))
            isChangingByItself.store(true, ordering: .relaxed)
        }
    }

    private func recordEvent(_ context: ContextHandle, _ stream: StreamHandle) -> EventHandle? {
        let withoutTiming = UInt32(CU_EVENT_DISABLE_TIMING.rawValue)
        guard let event = try? driver.cuEventCreate(context, flags: withoutTiming) else { return nil }
        do throws(CUDAError) {
            try driver.cuEventRecordWithFlags(context, hEvent: event, hStream: stream, flags: 0)
            return event
        } catch {
            try? driver.cuEventDestroy_v2(context, hEvent: event)
            return nil
        }
    }

    /// Counts what streams have freed by now.
    func settlePendingFrees(_ account: inout MemoryAccount) {
        var left: [MemoryAccount.PendingFree] = []
        for pending in account.pendingFrees {
            do throws(CUDAError) {
                try driver.cuEventQuery(pending.context, hEvent: pending.event)
            } catch {
                // Not yet; or its context has failed, and the memory is free when that ends.
                left.append(pending)
                continue
            }
            try? driver.cuEventDestroy_v2(pending.context, hEvent: pending.event)
            let blocks = account.shrink(by: pending.allocation.byteCount, on: pending.allocation.device)
            slot.giveBack(blocks, device: Int(pending.allocation.device))
        }
        account.pendingFrees = left
    }
}
