// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// The pools of a location. Locations that have pools are devices, and their memory stays where it is.
extension Shim {
    func cuMemGetDefaultMemPool(
        _ pool_out: UnsafeMutablePointer<OpaquePointer?>?, _ location: UnsafeMutablePointer<CUmemLocation>?,
        _ type: CUmemAllocationType
    ) throws(CUDAError) {
        try cuDeviceGetDefaultMemPool(pool_out, try deviceWithPools(location, type))
    }

    func cuMemGetMemPool(
        _ pool: UnsafeMutablePointer<OpaquePointer?>?, _ location: UnsafeMutablePointer<CUmemLocation>?,
        _ type: CUmemAllocationType
    ) throws(CUDAError) {
        try cuDeviceGetMemPool(pool, try deviceWithPools(location, type))
    }

    func cuMemSetMemPool(
        _ location: UnsafeMutablePointer<CUmemLocation>?, _ type: CUmemAllocationType, _ pool: OpaquePointer?
    ) throws(CUDAError) {
        try cuDeviceSetMemPool(try deviceWithPools(location, type), pool)
    }

    /// The device that is meant; CUDA_ERROR_NOT_SUPPORTED for pools of the host and of managed memory.
    private func deviceWithPools(
        _ location: UnsafeMutablePointer<CUmemLocation>?, _ type: CUmemAllocationType
    ) throws(CUDAError) -> CUdevice {
        guard let location = location?.pointee else { throw .invalidValue }
        switch (location.type, type) {
        case (CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_ALLOCATION_TYPE_PINNED): return location.id
        case (CU_MEM_LOCATION_TYPE_HOST, CU_MEM_ALLOCATION_TYPE_PINNED),
            (CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_ALLOCATION_TYPE_PINNED),
            (CU_MEM_LOCATION_TYPE_DEVICE_LOCALITY_DOMAIN, CU_MEM_ALLOCATION_TYPE_PINNED),
            (CU_MEM_LOCATION_TYPE_NONE, CU_MEM_ALLOCATION_TYPE_MANAGED),
            (CU_MEM_LOCATION_TYPE_DEVICE, CU_MEM_ALLOCATION_TYPE_MANAGED),
            (CU_MEM_LOCATION_TYPE_HOST, CU_MEM_ALLOCATION_TYPE_MANAGED),
            (CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_ALLOCATION_TYPE_MANAGED):
            throw .notSupported
        default: throw .invalidValue
        }
    }
}
