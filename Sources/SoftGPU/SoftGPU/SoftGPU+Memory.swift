// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

/// Device memory, and memory of pools in the order of streams.
extension SoftGPU {
    package func cuMemAlloc_v2(_ context: ContextHandle, bytesize: Int) throws(CUDAError) -> CUdeviceptr {
        let context = try self.context(context)
        let allocation = try context.device.allocate(bytesize)
        remember(allocation, bytesize, .context, context)
        return CUdeviceptr(allocation.address)
    }

    package func cuMemAllocPitch_v2(
        _ context: ContextHandle, widthInBytes: Int, height: Int, elementSizeBytes: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, pPitch: Int) {
        guard widthInBytes > 0, height > 0, [4, 8, 16].contains(elementSizeBytes) else { throw .invalidValue }
        let alignment = DeviceProfile.pitchAlignment
        let (padded, overflow) = widthInBytes.addingReportingOverflow(alignment - 1)
        let pitch = padded / alignment * alignment
        let (byteCount, overflow2) = pitch.multipliedReportingOverflow(by: height)
        guard !overflow, !overflow2 else { throw .outOfMemory }
        return (try cuMemAlloc_v2(context, bytesize: byteCount), pitch)
    }

    package func cuMemFree_v2(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) {
        let context = try self.context(context)
        guard dptr != 0 else { return }
        let entry = try memoryMap.beginFree(at: UInt64(dptr))
        // Work that was enqueued before may use it, also work of a peer.
        context.waitForAll()
        if entry.context != context.bits { contexts[entry.context]?.waitForAll() }
        finishFree(entry)
        try context.checkHealth()
    }

    package func cuMemGetInfo_v2(_ context: ContextHandle) throws(CUDAError) -> (free: Int, total: Int) {
        let memory = try self.context(context).device.memory
        return (memory.freeBytes, memory.totalBytes)
    }

    private func remember(
        _ allocation: Allocation, _ byteCount: Int, _ owner: MemoryMap.Owner, _ context: Context
    ) {
        memoryMap.insert(
            MemoryMap.Entry(
                address: allocation.address, byteCount: byteCount, owner: owner, context: context.bits,
                allocation: allocation))
    }

    /// Ends an allocation whose free was begun.
    private func finishFree(_ entry: MemoryMap.Entry) {
        guard (try? memoryMap.remove(at: entry.address)) != nil else { return }
        giveBack(entry)
    }

    /// Gives memory that is no longer known back to its pool.
    func giveBack(_ entry: MemoryMap.Entry) {
        guard let allocation = entry.allocation as? Allocation else { return }
        switch entry.owner {
        case .pool(let pool), .importedPool(let pool): pool.release(allocation)
        case .context, .imported, .mapping, .module: break
        }
    }

    // MARK: In the order of streams

    package func cuMemAllocAsync(
        _ context: ContextHandle, bytesize: Int, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        let context = try self.context(context)
        return try allocate(bytesize, from: context.device.defaultPool, hStream, in: context)
    }

    package func cuMemAllocFromPoolAsync(
        _ context: ContextHandle, bytesize: Int, pool: MemoryPoolHandle, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        let context = try self.context(context)
        return try allocate(bytesize, from: try self.pool(pool), hStream, in: context)
    }

    /// Memory may be had earlier than CUDA promises, so that nothing need be enqueued; only when there is none left do
    /// the frees that the stream still has before it have to be awaited.
    private func allocate(
        _ byteCount: Int, from pool: MemoryPool, _ stream: StreamHandle, in context: Context
    ) throws(CUDAError) -> CUdeviceptr {
        let stream = try self.stream(stream, in: context)
        let allocation: Allocation
        do {
            allocation = try pool.allocate(byteCount)
        } catch {
            guard error == .outOfMemory else { throw error }
            // Also where the stream has reached its end by now: its frees may have come after the attempt.
            stream.wait(for: stream.position.sequence)
            allocation = try pool.allocate(byteCount)
        }
        remember(allocation, byteCount, .pool(pool), context)
        return CUdeviceptr(allocation.address)
    }

    package func cuMemFreeAsync(_ context: ContextHandle, dptr: CUdeviceptr, hStream: StreamHandle) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        guard dptr != 0 else { return }
        let entry = try memoryMap.beginFree(at: UInt64(dptr))
        context.enqueue(stream, .housekeeping { [weak self] in self?.finishFree(entry) })
    }

    // MARK: Pools

    package func cuMemPoolCreate(
        device: Int32, handleTypes: UInt32, maxSize: Int
    ) throws(CUDAError) -> MemoryPoolHandle {
        let device = try self.device(device)
        guard maxSize >= 0 else { throw .invalidValue }
        guard handleTypes & ~CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue == 0 else { throw .notSupported }
        let identity = handleTypes == 0 ? nil : try SharedFile(.pool, byteCount: 1, device: device.ordinal)
        let pool = try pools.insert { bits in
            MemoryPool(
                bits: bits, device: device.ordinal, isDefault: false, memory: device.memory, maxBytes: maxSize,
                identity: identity)
        }
        device.add(pool)
        return MemoryPoolHandle(bits: pool.bits)
    }

    package func cuMemPoolDestroy(pool: MemoryPoolHandle) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard !pool.isDefault else { throw .invalidValue }
        guard pools.remove(pool.bits) != nil else { throw .invalidHandle }
        devices[pool.device].remove(pool)
        pool.destroy()
    }

    package func cuMemPoolTrimTo(pool: MemoryPoolHandle, minBytesToKeep: Int) throws(CUDAError) {
        guard minBytesToKeep >= 0 else { throw .invalidValue }
        try self.pool(pool).trim(to: UInt64(minBytesToKeep))
    }

    package func cuMemPoolSetAttribute(pool: MemoryPoolHandle, attr: UInt32, value: UInt64) throws(CUDAError) {
        try self.pool(pool).setAttribute(attr, value)
    }

    package func cuMemPoolGetAttribute(pool: MemoryPoolHandle, attr: UInt32) throws(CUDAError) -> UInt64 {
        try self.pool(pool).attribute(attr)
    }

    package func cuDeviceGetDefaultMemPool(dev: Int32) throws(CUDAError) -> MemoryPoolHandle {
        MemoryPoolHandle(bits: try device(dev).defaultPool.bits)
    }
}
