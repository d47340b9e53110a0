// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

/// Pools whose memory other processes use.
///
/// A pool that was made for that has a file behind each piece of its memory, which other processes map; they know the
/// pool by a file of its own, and its memory by a number that both have in common.
extension SoftGPU {
    package func cuMemPoolExportToShareableHandle(pool: MemoryPoolHandle) throws(CUDAError) -> ShareableHandle {
        let pool = try self.pool(pool)
        guard let identity = pool.identity, !pool.isImported else { throw .invalidValue }
        return identity.handle
    }

    package func cuMemPoolImportFromShareableHandle(handle: ShareableHandle) throws(CUDAError) -> MemoryPoolHandle {
        let identity = try SharedFile(opening: handle, .pool)
        guard devices.indices.contains(identity.device) else { throw .invalidHandle }
        let device = devices[identity.device]
        let pool = try pools.insert { bits in
            MemoryPool(
                bits: bits, device: device.ordinal, isDefault: false, memory: device.memory, maxBytes: 0,
                identity: identity, isImported: true)
        }
        return MemoryPoolHandle(bits: pool.bits)
    }

    package func cuMemPoolExportPointer(_ context: ContextHandle, ptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle
    {
        _ = try self.context(context)
        guard let entry = memoryMap.entry(at: UInt64(ptr)), case .pool = entry.owner, !entry.isFreePending,
            let handle = (entry.allocation as? Allocation)?.export()
        else { throw .invalidValue }
        return handle
    }

    package func cuMemPoolImportPointer(
        _ context: ContextHandle, pool: MemoryPoolHandle, shareData: ShareableHandle
    ) throws(CUDAError) -> (ptr: CUdeviceptr, bytesize: Int) {
        let context = try self.context(context)
        let pool = try self.pool(pool)
        let (allocation, byteCount) = try pool.open(shareData)
        memoryMap.insert(
            MemoryMap.Entry(
                address: allocation.address, byteCount: byteCount, owner: .importedPool(pool), context: context.bits,
                allocation: allocation))
        return (CUdeviceptr(allocation.address), byteCount)
    }
}
