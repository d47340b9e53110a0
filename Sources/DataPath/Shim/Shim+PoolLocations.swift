// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// The pools of a location: of a device, of the host or a node of it, or of managed memory.
extension Shim {
    func cuMemGetDefaultMemPool(
        _ pool_out: UnsafeMutablePointer<OpaquePointer?>?, _ location: UnsafeMutablePointer<CUmemLocation>?,
        _ type: CUmemAllocationType
    ) throws(CUDAError) {
        guard let location = location?.pointee else { throw .invalidValue }
        guard let place = try clientPlace(location, type) else {
            return try cuDeviceGetDefaultMemPool(pool_out, location.id)
        }
        try write(handle: try defaultPool(of: place).bits, to: pool_out)
    }

    func cuMemGetMemPool(
        _ pool: UnsafeMutablePointer<OpaquePointer?>?, _ location: UnsafeMutablePointer<CUmemLocation>?,
        _ type: CUmemAllocationType
    ) throws(CUDAError) {
        guard let location = location?.pointee else { throw .invalidValue }
        guard let place = try clientPlace(location, type) else { return try cuDeviceGetMemPool(pool, location.id) }
        if let current = clientPools.withLock({ $0[place]?.current }) {
            return try write(handle: current.bits, to: pool)
        }
        try write(handle: try defaultPool(of: place).bits, to: pool)
    }

    func cuMemSetMemPool(
        _ location: UnsafeMutablePointer<CUmemLocation>?, _ type: CUmemAllocationType, _ pool: OpaquePointer?
    ) throws(CUDAError) {
        guard let location = location?.pointee else { throw .invalidValue }
        guard let place = try clientPlace(location, type) else { return try cuDeviceSetMemPool(location.id, pool) }
        let pool = try self.pool(pool)
        guard pool.client?.place == place else { throw .invalidValue }
        clientPools.withLock { $0[place, default: ClientPools()].current = pool }
    }
}
