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
        guard let allocation = memory.find(dptr), allocation.base == dptr, allocation.kind == .device else {
            throw .invalidValue
        }
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
        guard pool.device === device, !pool.isImported else { throw .invalidValue }
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

    // MARK: Pools of the application

    func cuMemPoolCreate(
        _ pool: UnsafeMutablePointer<OpaquePointer?>?, _ poolProps: UnsafePointer<CUmemPoolProps>?
    ) throws(CUDAError) {
        guard pool != nil, let properties = poolProps?.pointee,
            properties.allocType == CU_MEM_ALLOCATION_TYPE_PINNED
        else { throw .invalidValue }
        guard properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE else { throw .notSupported }
        let device = try device(properties.location.id)
        let handleTypes = properties.handleTypes.rawValue
        guard handleTypes & ~device.poolHandleTypes == 0 else { throw .notSupported }
        let handle = try driver.cuMemPoolCreate(
            device: device.driverOrdinal, handleTypes: handleTypes, maxSize: properties.maxSize)
        let made = try pools.insert { bits in
            Pool(bits: bits, handle: handle, device: device, handleTypes: handleTypes)
        }
        try write(handle: made.bits, to: pool)
    }

    func cuMemPoolDestroy(_ pool: OpaquePointer?) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard !pool.isDefault, pools.remove(pool.bits) != nil else { throw .invalidValue }
        pool.device.pools.withLock { if $0.currentPool === pool { $0.currentPool = nil } }
        try driver.cuMemPoolDestroy(pool: pool.handle)
    }

    func cuMemPoolTrimTo(_ pool: OpaquePointer?, _ minBytesToKeep: Int) throws(CUDAError) {
        try driver.cuMemPoolTrimTo(pool: try self.pool(pool).handle, minBytesToKeep: minBytesToKeep)
    }

    func cuMemPoolGetAttribute(
        _ pool: OpaquePointer?, _ attr: CUmemPool_attribute, _ value: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let value else { throw .invalidValue }
        let is64Bit = try is64Bit(attr)
        let number = try driver.cuMemPoolGetAttribute(pool: pool.handle, attr: attr.rawValue)
        if is64Bit {
            value.storeBytes(of: number, as: UInt64.self)
        } else {
            value.storeBytes(of: UInt32(truncatingIfNeeded: number), as: UInt32.self)
        }
    }

    func cuMemPoolSetAttribute(
        _ pool: OpaquePointer?, _ attr: CUmemPool_attribute, _ value: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let value else { throw .invalidValue }
        let number =
            try is64Bit(attr) ? value.loadUnaligned(as: UInt64.self) : UInt64(value.loadUnaligned(as: UInt32.self))
        try driver.cuMemPoolSetAttribute(pool: pool.handle, attr: attr.rawValue, value: number)
    }

    /// The device of a pool reaches its memory; others do not.
    func cuMemPoolGetAccess(
        _ flags: UnsafeMutablePointer<CUmemAccess_flags>?, _ memPool: OpaquePointer?,
        _ location: UnsafeMutablePointer<CUmemLocation>?
    ) throws(CUDAError) {
        let pool = try self.pool(memPool)
        guard let location = location?.pointee, location.type == CU_MEM_LOCATION_TYPE_DEVICE else {
            throw .invalidValue
        }
        let isOwn = try device(location.id) === pool.device
        try write(isOwn ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE, to: flags)
    }

    func cuMemPoolSetAccess(
        _ pool: OpaquePointer?, _ map: UnsafePointer<CUmemAccessDesc>?, _ count: Int
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let map, count > 0, count <= devices.count else { throw .invalidValue }
        for index in 0..<count {
            guard map[index].location.type == CU_MEM_LOCATION_TYPE_DEVICE else { throw .invalidValue }
            let isOwn = try device(map[index].location.id) === pool.device
            switch (isOwn, map[index].flags) {
            case (true, CU_MEM_ACCESS_FLAGS_PROT_READWRITE), (false, CU_MEM_ACCESS_FLAGS_PROT_NONE): continue
            case (true, _): throw .invalidValue
            case (false, _): throw .notSupported
            }
        }
    }

    func pool(_ handle: OpaquePointer?) throws(CUDAError) -> Pool {
        guard let pool = pools[bits(handle)] else { throw .invalidValue }
        return pool
    }

    /// Whether the value of an attribute is a 64-bit number; the others are `int`.
    private func is64Bit(_ attribute: CUmemPool_attribute) throws(CUDAError) -> Bool {
        switch attribute {
        case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC,
            CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES, CU_MEMPOOL_ATTR_ALLOCATION_TYPE,
            CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES, CU_MEMPOOL_ATTR_LOCATION_ID, CU_MEMPOOL_ATTR_LOCATION_TYPE,
            CU_MEMPOOL_ATTR_HW_DECOMPRESS_ENABLED, CU_MEMPOOL_ATTR_LOCALITY_DOMAIN_ID:
            false
        case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD, CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH,
            CU_MEMPOOL_ATTR_USED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_HIGH, CU_MEMPOOL_ATTR_MAX_POOL_SIZE:
            true
        default: throw .invalidValue
        }
    }
}
