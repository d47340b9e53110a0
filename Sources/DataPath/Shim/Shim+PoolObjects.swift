// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Pools of the application: their life, attributes and access.
extension Shim {
    func cuMemPoolCreate(
        _ pool: UnsafeMutablePointer<OpaquePointer?>?, _ poolProps: UnsafePointer<CUmemPoolProps>?
    ) throws(CUDAError) {
        guard pool != nil, let properties = poolProps?.pointee else { throw .invalidValue }
        if let place = try clientPlace(properties.location, properties.allocType) {
            try checkSharing(properties.handleTypes, of: place)
            let made = try makeClientPool(place, maxBytes: properties.maxSize, isDefault: false)
            return try write(handle: made.bits, to: pool)
        }
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
        if let place = pool.client?.place {
            // What is allocated lives on.
            return clientPools.withLock { if $0[place]?.current === pool { $0[place]?.current = nil } }
        }
        pool.device.pools.withLock { if $0.currentPool === pool { $0.currentPool = nil } }
        try driver.cuMemPoolDestroy(pool: pool.handle)
    }

    func cuMemPoolTrimTo(_ pool: OpaquePointer?, _ minBytesToKeep: Int) throws(CUDAError) {
        let pool = try self.pool(pool)
        // Pools of this library keep nothing.
        guard pool.client == nil else { return finishPendingFrees() }
        try driver.cuMemPoolTrimTo(pool: pool.handle, minBytesToKeep: minBytesToKeep)
    }

    func cuMemPoolGetAttribute(
        _ pool: OpaquePointer?, _ attr: CUmemPool_attribute, _ value: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let value else { throw .invalidValue }
        let is64Bit = try is64Bit(attr)
        let number = try attribute(attr, of: pool)
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
        if let client = pool.client { return try client.setAttribute(attr, number) }
        try driver.cuMemPoolSetAttribute(pool: pool.handle, attr: attr.rawValue, value: number)
    }

    private func attribute(_ attribute: CUmemPool_attribute, of pool: Pool) throws(CUDAError) -> UInt64 {
        if let client = pool.client {
            finishPendingFrees()
            return try client.attribute(attribute)
        }
        switch attribute {
        // As the application numbers devices.
        case CU_MEMPOOL_ATTR_LOCATION_ID: return UInt64(pool.device.ordinal)
        case CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES: return UInt64(pool.handleTypes)
        default: return try driver.cuMemPoolGetAttribute(pool: pool.handle, attr: attribute.rawValue)
        }
    }

    /// The device of a pool reaches its memory; others do not.
    func cuMemPoolGetAccess(
        _ flags: UnsafeMutablePointer<CUmemAccess_flags>?, _ memPool: OpaquePointer?,
        _ location: UnsafeMutablePointer<CUmemLocation>?
    ) throws(CUDAError) {
        let pool = try self.pool(memPool)
        guard let location = location?.pointee else { throw .invalidValue }
        if let client = pool.client {
            var isAccessible = try isHost(location)
            if !isAccessible { isAccessible = client.isAccessible(to: try device(location.id).ordinal) }
            return try write(
                isAccessible ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE, to: flags)
        }
        guard location.type == CU_MEM_LOCATION_TYPE_DEVICE else { throw .invalidValue }
        let isOwn = try device(location.id) === pool.device
        try write(isOwn ? CU_MEM_ACCESS_FLAGS_PROT_READWRITE : CU_MEM_ACCESS_FLAGS_PROT_NONE, to: flags)
    }

    func cuMemPoolSetAccess(
        _ pool: OpaquePointer?, _ map: UnsafePointer<CUmemAccessDesc>?, _ count: Int
    ) throws(CUDAError) {
        let pool = try self.pool(pool)
        guard let map, count > 0, count <= devices.count else { throw .invalidValue }
        for index in 0..<count {
            if let client = pool.client {
                try setAccess(map[index], client)
                continue
            }
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
