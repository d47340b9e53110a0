// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Synchronization

/// The default pool of a place, and the one that the application has put in its stead.
struct ClientPools {
    var defaultPool: Pool?
    var current: Pool?
}

/// Pools of host memory and of managed memory, which this library has itself: see ``ClientPool``.
extension Shim {
    // MARK: Places

    /// What a pool is of that is not a device's alone; nil for one that is.
    ///
    /// CUDA_ERROR_INVALID_VALUE for what is no place of a pool, CUDA_ERROR_NOT_SUPPORTED for parts of a device.
    func clientPlace(_ location: CUmemLocation, _ type: CUmemAllocationType) throws(CUDAError) -> ClientPool.Place? {
        let isManaged = type == CU_MEM_ALLOCATION_TYPE_MANAGED
        guard isManaged || type == CU_MEM_ALLOCATION_TYPE_PINNED else { throw .invalidValue }
        var id: Int32 = 0
        switch location.type {
        case CU_MEM_LOCATION_TYPE_DEVICE:
            guard isManaged else { return nil }
            id = try device(location.id).ordinal
        case CU_MEM_LOCATION_TYPE_HOST: break
        case CU_MEM_LOCATION_TYPE_NONE:
            guard isManaged else { throw .invalidValue }
        case CU_MEM_LOCATION_TYPE_HOST_NUMA:
            guard csystem_has_node(location.id) else { throw .invalidValue }
            id = location.id
        case CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN:
            throw isManaged ? .invalidValue : .notSupported
        default: throw .invalidValue
        }
        return ClientPool.Place(isManaged: isManaged, location: location.type.rawValue, id: id)
    }

    /// Such pools are for one process.
    ///
    /// CUDA documents that those of the host are, and what is answered; for the others it is what a driver answers that
    /// cannot.
    func checkSharing(
        _ handleTypes: CUmemAllocationHandleType, of place: ClientPool.Place
    ) throws(CUDAError) {
        guard handleTypes != CU_MEM_HANDLE_TYPE_NONE else { return }
        throw place.location == CU_MEM_LOCATION_TYPE_HOST.rawValue ? .invalidValue : .notSupported
    }

    func makeClientPool(_ place: ClientPool.Place, maxBytes: Int, isDefault: Bool) throws(CUDAError) -> Pool {
        guard maxBytes >= 0, let first = devices.first else { throw .invalidValue }
        let isDevice = place.location == CU_MEM_LOCATION_TYPE_DEVICE.rawValue
        let device = isDevice ? try device(place.id) : first
        return try pools.insert { bits in
            Pool(
                bits: bits, handle: MemoryPoolHandle(bits: 0), device: device, isDefault: isDefault,
                client: ClientPool(place, maxBytes: maxBytes))
        }
    }

    func defaultPool(of place: ClientPool.Place) throws(CUDAError) -> Pool {
        if let pool = clientPools.withLock({ $0[place]?.defaultPool }) { return pool }
        let made = try makeClientPool(place, maxBytes: 0, isDefault: true)
        let kept = clientPools.withLock { known in
            if let earlier = known[place]?.defaultPool { return earlier }
            known[place, default: ClientPools()].defaultPool = made
            return made
        }
        if kept !== made { pools.remove(made.bits) }
        return kept
    }

    // MARK: Access

    func isHost(_ location: CUmemLocation) throws(CUDAError) -> Bool {
        switch location.type {
        case CU_MEM_LOCATION_TYPE_DEVICE: return false
        case CU_MEM_LOCATION_TYPE_HOST, CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
            return true
        default: throw .invalidValue
        }
    }

    /// The host always has access; what a device may do is told, and not enforced.
    func setAccess(_ access: CUmemAccessDesc, _ pool: ClientPool) throws(CUDAError) {
        let isAllowed: Bool
        switch access.flags {
        case CU_MEM_ACCESS_FLAGS_PROT_READWRITE: isAllowed = true
        case CU_MEM_ACCESS_FLAGS_PROT_NONE: isAllowed = false
        case CU_MEM_ACCESS_FLAGS_PROT_READ: throw .notSupported
        default: throw .invalidValue
        }
        let isHost = try isHost(access.location)
        if isHost || pool.place.isManaged {
            guard isAllowed else { throw .invalidValue }
            return
        }
        pool.setAccess(try device(access.location.id).ordinal, isAllowed)
    }
}
