// SPDX-License-Identifier: Apache-2.0
package import AllocationLedger
package import Driver
import Synchronization

/// A part of another driver: some of its devices, and on each as much memory as the allocation has left.
///
/// Whatever takes device memory is counted in the allocation's ledger, which all its processes share: before the driver
/// is asked where it is known how much will be taken, otherwise by what the driver has less afterwards. What an
/// application is told of free and total memory is the partition's.
package final class PartitionedDriver: Driver {
    let driver: any Driver
    /// The driver's number of each device, by the partition's.
    private let devices: [Int32]
    let slot: LedgerSlot
    let account = Mutex(MemoryAccount())
    /// ``MemoryAccount/isChangingByItself``, for a look that costs nothing.
    let isChangingByItself = Atomic(false)
    /// Host functions that have been enqueued and have not returned.
    let hostFunctionCount = Atomic(0)

    /// Makes a part of a driver.
    ///
    /// - Parameters:
    ///   - driver: The whole.
    ///   - devices: The driver's numbers of the devices of the partition, in the order in which they appear.
    ///   - slot: Where what this process uses is counted.
    package init(_ driver: any Driver, devices: [Int], slot: LedgerSlot) {
        precondition(devices.count == slot.ledger.deviceCount, "the ledger counts other devices")
        self.driver = driver
        self.devices = devices.map(Int32.init)
        self.slot = slot
    }

    func driverDevice(_ device: Int32) throws(CUDAError) -> Int32 {
        guard devices.indices.contains(Int(device)) else { throw .invalidDevice }
        return devices[Int(device)]
    }

    package func describe() throws(CUDAError) -> DriverDescription {
        var description = try driver.describe()
        let all = description.devices
        description.devices = []
        for device in devices {
            guard all.indices.contains(Int(device)) else { throw .invalidDevice }
            var part = all[Int(device)]
            if let limit = slot.ledger.limitBytes { part.totalBytes = min(part.totalBytes, limit) }
            part.canAccessPeer = devices.map { part.canAccessPeer[Int($0)] }
            description.devices.append(part)
        }
        return description
    }

    package func cuMemAllocHost_v2(
        _ context: ContextHandle, bytesize: Int
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        try driver.cuMemAllocHost_v2(context, bytesize: bytesize)
    }

    package func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer) {
        driver.cuMemFreeHost(context, memory)
    }

    // MARK: Contexts

    package func cuDevicePrimaryCtxRetain(dev: Int32) throws(CUDAError) -> ContextHandle {
        let number = try driverDevice(dev)
        return try makeContext(on: dev) { () throws(CUDAError) in
            try driver.cuDevicePrimaryCtxRetain(dev: number)
        } undo: { context throws(CUDAError) in
            try driver.cuDevicePrimaryCtxRelease_v2(dev: number, context: context)
        }
    }

    package func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) {
        try driver.cuDevicePrimaryCtxRelease_v2(dev: driverDevice(dev), context: context)
        let isLast = account.withLock { account in
            account.contexts[context]?.retains -= 1
            return account.contexts[context]?.retains == 0
        }
        if isLast { forget(context) }
    }

    package func cuDevicePrimaryCtxSetFlags_v2(dev: Int32, flags: UInt32) throws(CUDAError) {
        try driver.cuDevicePrimaryCtxSetFlags_v2(dev: driverDevice(dev), flags: flags)
    }

    package func cuCtxCreate_v2(flags: UInt32, dev: Int32) throws(CUDAError) -> ContextHandle {
        let number = try driverDevice(dev)
        return try makeContext(on: dev) { () throws(CUDAError) in
            try driver.cuCtxCreate_v2(flags: flags, dev: number)
        } undo: { context throws(CUDAError) in
            try driver.cuCtxDestroy_v2(ctx: context)
        }
    }

    package func cuCtxDestroy_v2(ctx: ContextHandle) throws(CUDAError) {
        try driver.cuCtxDestroy_v2(ctx: ctx)
        forget(ctx)
    }

    /// Makes or retains a context, and counts what the driver takes for it.
    ///
    /// That can be seen when there is another context on the device to look from; for the first one nothing is counted.
    private func makeContext(
        on device: Int32, _ make: () throws(CUDAError) -> ContextHandle,
        undo: (ContextHandle) throws(CUDAError) -> Void
    ) throws(CUDAError) -> ContextHandle {
        let observer = account.withLock { $0.anyContext(on: device) }
        let before = observer.flatMap(freeBytes)
        let context = try make()
        let isKnown = account.withLock { account in
            account.contexts[context]?.retains += 1
            return account.contexts[context] != nil
        }
        if isKnown { return context }
        let after = freeBytes(context)
        let ownBytes = if let before, let after { max(0, before - after) } else { 0 }
        guard slot.take(ownBytes, device: Int(device)) else {
            try undo(context)
            throw .outOfMemory
        }
        account.withLock { account in
            account.contexts[context] = MemoryAccount.Context(device: device, ownBytes: ownBytes)
            slot.setContexts(account.contextCount(on: device), device: Int(device))
        }
        learnRounding(on: device, in: context)
        return context
    }

    /// A context has ended, and its memory with it.
    private func forget(_ context: ContextHandle) {
        account.withLock { account in
            guard let ended = account.end(context) else { return }
            account.takeEndedExports().forEach(slot.withdraw)
            slot.giveBack(ended.byteCount, device: Int(ended.device))
            slot.setContexts(account.contextCount(on: ended.device), device: Int(ended.device))
        }
        settle()
    }

    // MARK: Looking at the driver

    /// Free bytes of a context's device, as the driver sees it.
    func freeBytes(_ context: ContextHandle) -> Int? { try? driver.cuMemGetInfo_v2(context).free }

    /// Finds out how the driver rounds: what it has less after the smallest allocation, and after a second one.
    private func learnRounding(on device: Int32, in context: ContextHandle) {
        guard !account.withLock({ $0.knowsRounding(on: device) }) else { return }
        guard let start = freeBytes(context), let first = try? driver.cuMemAlloc_v2(context, bytesize: 1) else {
            return
        }
        let middle = freeBytes(context)
        let second = try? driver.cuMemAlloc_v2(context, bytesize: 1)
        let end = freeBytes(context)
        if let second { try? driver.cuMemFree_v2(context, dptr: second) }
        try? driver.cuMemFree_v2(context, dptr: first)
        guard let middle, let end, second != nil else { return }
        let block = start - middle
        // Something else than a power of two is the doing of another process at the same moment.
        guard Self.blockBytes ~= block, block.nonzeroBitCount == 1 else { return }
        account.withLock { $0.learn(Rounding(blockBytes: block, sharesBlocks: end == middle), on: device) }
    }

    /// What drivers take at once: pages of 4 KiB up to 2 MiB, several of them on large GPUs.
    private static let blockBytes = 4096...32 << 20

    /// Counts what the driver has given back since, where no call told it.
    func settle() {
        guard isChangingByItself.load(ordering: .relaxed) else { return }
        account.withLock { account in
            settlePendingFrees(&account)
            settleImports(&account)
            settleImportedMemory(&account)
            for pool in account.pools.keys { settle(pool, &account) }
            isChangingByItself.store(account.isChangingByItself, ordering: .relaxed)
        }
    }

    package func cuMemGetInfo_v2(_ context: ContextHandle) throws(CUDAError) -> (free: Int, total: Int) {
        settle()
        let whole = try driver.cuMemGetInfo_v2(context)
        guard let limit = slot.ledger.limitBytes, let device = account.withLock({ $0.device(of: context) }) else {
            return whole
        }
        let total = min(limit, whole.total)
        let used = slot.ledger.usedBytes(device: Int(device))
        return (max(0, min(total - used, whole.free)), total)
    }

    // A driver gives memory back when somebody waits for its work.

    package func cuCtxSynchronize(_ context: ContextHandle) throws(CUDAError) {
        try driver.cuCtxSynchronize(context)
        settle()
    }

    package func cuStreamSynchronize(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        try driver.cuStreamSynchronize(context, hStream: hStream)
        settle()
    }

    package func cuEventSynchronize(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        try driver.cuEventSynchronize(context, hEvent: hEvent)
        settle()
    }
}
