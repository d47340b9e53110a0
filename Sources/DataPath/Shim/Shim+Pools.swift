// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Stream-ordered allocation and the pools behind it.
extension Shim {
    // MARK: Allocation

    func cuMemAllocAsync(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytesize: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        try allocate(dptr, bytesize, from: try currentPool(of: try context(of: target).device), target)
    }

    func cuMemAllocFromPoolAsync(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytesize: Int, _ pool: OpaquePointer?, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard !pool.isImported else { throw .invalidValue }
        try allocate(dptr, bytesize, from: pool, try workTarget(hStream, defaultStream))
    }

    func cuMemFreeAsync(
        _ dptr: CUdeviceptr, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let target = try workTarget(hStream, defaultStream)
        if let stream = target.capturing {
            let work = try freeWork(dptr, in: try capturedGraph(of: stream))
            return try capture(work, on: stream)
        }
        if let allocation = graphAllocation(at: dptr) { return try free(allocation) }
        guard let allocation = memory.find(dptr), allocation.base == dptr, !allocation.isFreePending else {
            throw .invalidValue
        }
        if isOfClientPool(allocation) { return try freeOfClientPool(allocation, inOrderOf: target) }
        guard allocation.kind == .device else { throw .invalidValue }
        guard endImport(allocation) else { return }
        try driver.cuMemFreeAsync(target.context, dptr: dptr, hStream: target.stream)
        memory.remove(dptr) { $0.id == allocation.id }
    }

    private func allocate(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ byteCount: Int, from pool: Pool, _ target: StreamTarget
    ) throws(CUDAError) {
        guard dptr != nil, byteCount != 0 else { throw .invalidValue }
        guard byteCount > 0 else { throw .outOfMemory }
        let context = try context(of: target)
        if let client = pool.client {
            // A graph's memory nodes are of devices.
            guard target.capturing == nil else { throw .notSupported }
            return try write(try allocate(byteCount, from: pool, client, target), to: dptr)
        }
        if let stream = target.capturing {
            var properties = CUmemPoolProps()
            properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED
            properties.location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: pool.device.ordinal)
            let allocation = try makeGraphAllocation(byteCount, properties: properties)
            try capture(.allocate(allocation), on: stream)
            return try write(allocation.address, to: dptr)
        }
        let isDefaultOfStream = pool.isDefault && pool.device === context.device
        let address = try place(byteCount, in: context, pool: pool) { () throws(CUDAError) in
            isDefaultOfStream
                ? try driver.cuMemAllocAsync(target.context, bytesize: byteCount, hStream: target.stream)
                : try driver.cuMemAllocFromPoolAsync(
                    target.context, bytesize: byteCount, pool: pool.handle, hStream: target.stream)
        } free: { address throws(CUDAError) in
            try driver.cuMemFreeAsync(target.context, dptr: address, hStream: target.stream)
        }
        try write(address, to: dptr)
    }

    // MARK: Pools of a device

    func cuDeviceGetDefaultMemPool(_ pool_out: UnsafeMutablePointer<OpaquePointer?>?, _ dev: CUdevice) throws(CUDAError)
    {
        let device = try device(dev)
        try write(handle: try defaultPool(of: device).bits, to: pool_out)
    }

    func cuDeviceGetMemPool(_ pool: UnsafeMutablePointer<OpaquePointer?>?, _ dev: CUdevice) throws(CUDAError) {
        let device = try device(dev)
        try write(handle: try currentPool(of: device).bits, to: pool)
    }

    func cuDeviceSetMemPool(_ dev: CUdevice, _ pool: OpaquePointer?) throws(CUDAError) {
        let device = try device(dev)
        let pool = try self.pool(pool)
        guard pool.client == nil, pool.device === device, !pool.isImported else { throw .invalidValue }
        device.pools.withLock { $0.currentPool = pool }
    }

    func currentPool(of device: Device) throws(CUDAError) -> Pool {
        if let pool = device.pools.withLock({ $0.currentPool }) { return pool }
        return try defaultPool(of: device)
    }

    func defaultPool(of device: Device) throws(CUDAError) -> Pool {
        if let pool = device.pools.withLock({ $0.defaultPool }) { return pool }
        let handle = try driver.cuDeviceGetDefaultMemPool(dev: device.driverOrdinal)
        let made = try pools.insert { bits in Pool(bits: bits, handle: handle, device: device, isDefault: true) }
        let kept = device.pools.withLock { state in
            if let earlier = state.defaultPool { return earlier }
            state.defaultPool = made
            return made
        }
        if kept !== made { pools.remove(made.bits) }
        return kept
    }
}
