// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import CCUDA
package import Driver
import Synchronization

// Pools whose memory other processes of the allocation use. It counts where it was allocated, as long as that process
// has the pool or the allocation; then where it is open.

extension PartitionedDriver {
    package func cuMemPoolExportToShareableHandle(pool: MemoryPoolHandle) throws(CUDAError) -> ShareableHandle {
        guard let known = account.withLock({ $0.pools[pool] }) else { throw .invalidValue }
        if let export = known.export { return ShareableHandle(export) }
        let handle = try driver.cuMemPoolExportToShareableHandle(pool: pool)
        let export = Export(.pool, device: Int(known.device), byteCount: 0, handle: handle.bytes)
        guard let reference = slot.publish(export) else { throw .outOfMemory }
        account.withLock { $0.pools[pool]?.export = reference }
        return ShareableHandle(reference)
    }

    package func cuMemPoolImportFromShareableHandle(handle: ShareableHandle) throws(CUDAError) -> MemoryPoolHandle {
        let (reference, export) = try find(handle, .pool)
        guard let driverHandle = ShareableHandle(export.handle) else { throw .invalidHandle }
        let pool = try driver.cuMemPoolImportFromShareableHandle(handle: driverHandle)
        account.withLock {
            $0.importedPools[pool] = MemoryAccount.ImportedPool(reference: reference, device: Int32(export.device))
        }
        return pool
    }

    package func cuMemPoolExportPointer(
        _ context: ContextHandle, ptr: CUdeviceptr
    ) throws(CUDAError) -> ShareableHandle {
        guard let known = account.withLock({ $0.allocations[ptr] }), known.pool != nil else { throw .invalidValue }
        if let export = known.export { return ShareableHandle(export) }
        let handle = try driver.cuMemPoolExportPointer(context, ptr: ptr)
        let export = Export(
            .poolMemory, device: Int(known.device), byteCount: known.byteCount, handle: handle.bytes)
        guard let reference = slot.publish(export) else { throw .outOfMemory }
        account.withLock { $0.allocations[ptr]?.export = reference }
        return ShareableHandle(reference)
    }

    package func cuMemPoolImportPointer(
        _ context: ContextHandle, pool: MemoryPoolHandle, shareData: ShareableHandle
    ) throws(CUDAError) -> (ptr: CUdeviceptr, bytesize: Int) {
        settle()
        guard let origin = account.withLock({ $0.importedPools[pool] }),
            let (reference, export) = try? find(shareData, .poolMemory),
            let driverData = ShareableHandle(export.handle)
        else { throw .invalidValue }
        let opened = try driver.cuMemPoolImportPointer(context, pool: pool, shareData: driverData)
        account.withLock { account in
            account.imports[opened.ptr] = MemoryAccount.Import(
                reference: reference, pool: origin.reference, device: origin.device, context: context,
                byteCount: export.byteCount)
            isChangingByItself.store(true, ordering: .relaxed)
        }
        // Of the driver's piece the application has what was asked for.
        return (opened.ptr, min(opened.bytesize, export.byteCount))
    }

    /// A pool is about to end: from here on nobody imports it.
    func withdrawExport(of pool: MemoryPoolHandle) {
        account.withLock { account in
            guard let export = account.pools[pool]?.export else { return }
            account.pools[pool]?.export = nil
            slot.withdraw(export)
        }
    }

    /// Memory of another process's pool has been freed here.
    ///
    /// Returns it if it was counted here, and is to be given back when nothing uses it any more.
    func forgetImport(at address: CUdeviceptr) -> MemoryAccount.Allocation? {
        account.withLock { account in
            guard let opened = account.imports[address], opened.pool != nil else { return nil }
            account.imports[address] = nil
            guard opened.isCounted else { return nil }
            return MemoryAccount.Allocation(
                device: opened.device, context: opened.context, byteCount: opened.byteCount)
        }
    }
}
