// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import CCUDA
package import Driver
import Glibc
import Synchronization

// Pools: what is counted of one is what it has reserved, whether the application uses it or it is kept for later. The
// driver tells how much that is.

extension PartitionedDriver {
    package func cuMemAllocAsync(
        _ context: ContextHandle, bytesize: Int, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        guard let device = account.withLock({ $0.device(of: context) }) else { throw .invalidContext }
        let pool = try cuDeviceGetDefaultMemPool(dev: device)
        return try allocate(context, bytesize, from: pool, hStream) { () throws(CUDAError) in
            try driver.cuMemAllocAsync(context, bytesize: bytesize, hStream: hStream)
        }
    }

    package func cuMemAllocFromPoolAsync(
        _ context: ContextHandle, bytesize: Int, pool: MemoryPoolHandle, hStream: StreamHandle
    ) throws(CUDAError) -> CUdeviceptr {
        try allocate(context, bytesize, from: pool, hStream) { () throws(CUDAError) in
            try driver.cuMemAllocFromPoolAsync(context, bytesize: bytesize, pool: pool, hStream: hStream)
        }
    }

    private func allocate(
        _ context: ContextHandle, _ byteCount: Int, from pool: MemoryPoolHandle, _ stream: StreamHandle,
        _ body: () throws(CUDAError) -> CUdeviceptr
    ) throws(CUDAError) -> CUdeviceptr {
        guard let device = account.withLock({ $0.pools[pool]?.device }) else { throw .invalidValue }
        guard byteCount >= 0 else { throw .invalidValue }
        let most = roundedUp(byteCount, to: MemoryAccount.Pool.pageBytes)
        let number = Int(device)
        if takeForPool(most, device) {
            if let address = try allocate(context, byteCount, from: pool, most, body) { return address }
        } else if let least = account.withLock({ least(of: most, from: pool, $0) }), slot.take(least, device: number),
            // There may be enough in the pool, or enough that the stream frees before.
            let address = try allocate(context, byteCount, from: pool, least, body)
        {
            return address
        }
        // What the stream still frees can be had when it has come to here; after that, what pools keep.
        waitUntilIdle(stream, context)
        _ = reclaim(on: device)
        guard slot.take(most, device: number),
            let address = try allocate(context, byteCount, from: pool, most, body)
        else { throw .outOfMemory }
        return address
    }

    private func takeForPool(_ byteCount: Int, _ device: Int32) -> Bool {
        if slot.take(byteCount, device: Int(device)) { return true }
        settle()
        return slot.take(byteCount, device: Int(device))
    }

    /// Allocates when `taken` bytes have been counted for it, and corrects the count.
    ///
    /// Returns nil when the pool has taken more than there is, which is undone.
    private func allocate(
        _ context: ContextHandle, _ byteCount: Int, from pool: MemoryPoolHandle, _ taken: Int,
        _ body: () throws(CUDAError) -> CUdeviceptr
    ) throws(CUDAError) -> CUdeviceptr? {
        let address: CUdeviceptr
        do throws(CUDAError) {
            address = try body()
        } catch {
            account.withLock { account in
                account.pools[pool]?.countedBytes += taken
                settle(pool, &account)
            }
            throw error
        }
        let fits = account.withLock { account -> Bool in
            guard let known = account.pools[pool] else { return true }
            let reserved = reservedBytes(of: pool) ?? known.countedBytes + taken
            // The pool may have had enough, or have taken a larger piece.
            let more = reserved - known.countedBytes - taken
            if more <= 0 { slot.giveBack(-more, device: Int(known.device)) }
            let fits = more <= 0 || slot.take(more, device: Int(known.device))
            account.pools[pool]?.countedBytes = fits ? reserved : known.countedBytes + taken
            account.remember(
                address,
                MemoryAccount.Allocation(device: known.device, context: context, byteCount: byteCount, pool: pool))
            isChangingByItself.store(true, ordering: .relaxed)
            return fits
        }
        if fits { return address }
        try cuMemFree_v2(context, dptr: address)
        try? cuMemPoolTrimTo(pool: pool, minBytesToKeep: 0)
        return nil
    }

    /// What an allocation takes at least: the pool has some, or will have it when streams have freed it.
    private func least(of most: Int, from pool: MemoryPoolHandle, _ account: MemoryAccount) -> Int? {
        guard let known = account.pools[pool] else { return nil }
        let spare = (reservedBytes(of: pool) ?? 0) - known.liveBytes
        return spare > 0 ? max(0, most - spare) : nil
    }

    /// Waits for a stream, unless a host function is due: that is called by whoever waits here.
    private func waitUntilIdle(_ stream: StreamHandle, _ context: ContextHandle) {
        while hostFunctionCount.load(ordering: .relaxed) == 0 {
            do throws(CUDAError) {
                return try driver.cuStreamQuery(context, hStream: stream)
            } catch {
                guard error == .notReady else { return }
            }
            usleep(50)
        }
    }

    package func cuLaunchHostFunc(
        _ context: ContextHandle, stream: StreamHandle, function: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        hostFunctionCount.add(1, ordering: .relaxed)
        do throws(CUDAError) {
            try driver.cuLaunchHostFunc(context, stream: stream) { [self] in
                function()
                hostFunctionCount.subtract(1, ordering: .relaxed)
            }
        } catch {
            hostFunctionCount.subtract(1, ordering: .relaxed)
            throw error
        }
    }

    /// Makes pools give back what they only keep; false when that was nothing.
    func reclaim(on device: Int32) -> Bool {
        let before = account.withLock { account -> Int in
            account.pools.values.reduce(0) { $0 + ($1.device == device ? $1.countedBytes : 0) }
                + account.pendingFrees.count
        }
        guard before > 0 else { return false }
        let pools = account.withLock { $0.pools.filter { $0.value.device == device && $0.value.countedBytes > 0 } }
        for pool in pools.keys { try? driver.cuMemPoolTrimTo(pool: pool, minBytesToKeep: 0) }
        settle()
        return true
    }

    /// Counts what a pool has reserved now.
    func settle(_ pool: MemoryPoolHandle, _ account: inout MemoryAccount) {
        guard let known = account.pools[pool], let reserved = reservedBytes(of: pool) else { return }
        let more = reserved - known.countedBytes
        if more > 0 {
            slot.add(more, device: Int(known.device))
        } else {
            slot.giveBack(-more, device: Int(known.device))
        }
        account.pools[pool]?.countedBytes = reserved
    }

    private func reservedBytes(of pool: MemoryPoolHandle) -> Int? {
        let attribute = CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT.rawValue
        return (try? driver.cuMemPoolGetAttribute(pool: pool, attr: attribute)).map { Int(clamping: $0) }
    }

    // MARK: The pools themselves

    package func cuMemPoolCreate(
        device: Int32, handleTypes: UInt32, maxSize: Int
    ) throws(CUDAError) -> MemoryPoolHandle {
        let pool = try driver.cuMemPoolCreate(
            device: driverDevice(device), handleTypes: handleTypes, maxSize: maxSize)
        account.withLock { $0.pools[pool] = MemoryAccount.Pool(device: device) }
        return pool
    }

    package func cuDeviceGetDefaultMemPool(dev: Int32) throws(CUDAError) -> MemoryPoolHandle {
        let pool = try driver.cuDeviceGetDefaultMemPool(dev: driverDevice(dev))
        account.withLock { account in
            if account.pools[pool] == nil { account.pools[pool] = MemoryAccount.Pool(device: dev) }
        }
        return pool
    }

    /// A pool's memory goes when the last allocation of it is freed; until then it is counted as memory of its own.
    package func cuMemPoolDestroy(pool: MemoryPoolHandle) throws(CUDAError) {
        withdrawExport(of: pool)
        try driver.cuMemPoolDestroy(pool: pool)
        account.withLock { account in
            account.importedPools[pool] = nil
            guard let ended = account.pools.removeValue(forKey: pool) else { return }
            var inUse = 0
            for (address, allocation) in account.allocations where allocation.pool == pool {
                account.allocations[address]?.pool = nil
                inUse += account.grow(by: allocation.byteCount, on: allocation.device)
            }
            slot.add(inUse, device: Int(ended.device))
            slot.giveBack(ended.countedBytes, device: Int(ended.device))
        }
    }

    package func cuMemPoolTrimTo(pool: MemoryPoolHandle, minBytesToKeep: Int) throws(CUDAError) {
        try driver.cuMemPoolTrimTo(pool: pool, minBytesToKeep: minBytesToKeep)
        settle()
    }
}
