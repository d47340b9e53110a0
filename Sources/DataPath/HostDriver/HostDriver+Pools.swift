// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Glibc

// Pools, and pools of other workers.

extension HostDriver {
    package func cuMemPoolCreate(
        device: Int32, handleTypes: UInt32, maxSize: Int
    ) throws(CUDAError) -> MemoryPoolHandle {
        guard let function = more.cuMemPoolCreate else { throw .notSupported }
        var properties = CUmemPoolProps()
        properties.allocType = CU_MEM_ALLOCATION_TYPE_PINNED
        properties.handleTypes = CUmemAllocationHandleType(handleTypes)
        properties.location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: device)
        properties.maxSize = maxSize
        var made: UInt64 = 0
        try check(function(&made, &properties))
        return MemoryPoolHandle(bits: made)
    }

    package func cuMemPoolDestroy(pool: MemoryPoolHandle) throws(CUDAError) {
        guard let function = pools.cuMemPoolDestroy else { throw .notSupported }
        // A descriptor would keep the pool.
        descriptors.withdraw(.pool(pool.bits))
        try check(function(pool.bits))
    }

    package func cuMemPoolSetAttribute(pool: MemoryPoolHandle, attr: UInt32, value: UInt64) throws(CUDAError) {
        guard let function = more.cuMemPoolSetAttribute else { throw .notSupported }
        // Little-endian: a 32-bit attribute is read from the low half.
        var value = value
        try check(function(pool.bits, attr, &value))
    }

    package func cuMemPoolGetAttribute(pool: MemoryPoolHandle, attr: UInt32) throws(CUDAError) -> UInt64 {
        guard let function = more.cuMemPoolGetAttribute else { throw .notSupported }
        var value: UInt64 = 0
        try check(function(pool.bits, attr, &value))
        return value
    }

    // MARK: Between processes

    package func cuMemPoolExportToShareableHandle(pool: MemoryPoolHandle) throws(CUDAError) -> ShareableHandle {
        guard let function = pools.cuMemPoolExportToShareableHandle else { throw .notSupported }
        return try descriptors.offer(.pool(pool.bits)) { () throws(CUDAError) in
            var descriptor: Int32 = -1
            try check(function(&descriptor, pool.bits, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue, 0))
            return descriptor
        }
    }

    package func cuMemPoolImportFromShareableHandle(handle: ShareableHandle) throws(CUDAError) -> MemoryPoolHandle {
        guard let function = pools.cuMemPoolImportFromShareableHandle else { throw .notSupported }
        guard let descriptor = DescriptorExchange.take(handle) else { throw .invalidHandle }
        defer { close(descriptor) }
        var made: UInt64 = 0
        try check(
            function(
                &made, UnsafeMutableRawPointer(bitPattern: Int(descriptor)),
                CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue, 0))
        return MemoryPoolHandle(bits: made)
    }

    package func cuMemPoolExportPointer(
        _ context: ContextHandle, ptr: CUdeviceptr
    ) throws(CUDAError) -> ShareableHandle {
        guard let function = pools.cuMemPoolExportPointer else { throw .notSupported }
        try makeCurrent(context)
        var data = CUmemPoolPtrExportData()
        try check(function(&data, ptr))
        return ShareableHandle(bytesOf: data)
    }

    package func cuMemPoolImportPointer(
        _ context: ContextHandle, pool: MemoryPoolHandle, shareData: ShareableHandle
    ) throws(CUDAError) -> (ptr: CUdeviceptr, bytesize: Int) {
        guard let function = pools.cuMemPoolImportPointer, let rangeOf = more.cuMemGetAddressRange else {
            throw .notSupported
        }
        try makeCurrent(context)
        var data = shareData.value(as: CUmemPoolPtrExportData.self)
        var address: CUdeviceptr = 0
        try check(function(&address, pool.bits, &data))
        var byteCount = 0
        let code = rangeOf(nil, &byteCount, address)
        guard code == CUDA_SUCCESS else {
            try? cuMemFree_v2(context, dptr: address)
            throw CUDAError(code)
        }
        return (address, byteCount)
    }
}

/// The functions of pools that the printed half does not have.
struct HostPoolFunctions: Sendable {
    let cuMemPoolDestroy: (@convention(c) (UInt64) -> CUresult)?
    let cuMemPoolExportToShareableHandle:
        (@convention(c) (UnsafeMutableRawPointer?, UInt64, UInt32, UInt64) -> CUresult)?
    let cuMemPoolImportFromShareableHandle:
        (@convention(c) (UnsafeMutablePointer<UInt64>?, UnsafeMutableRawPointer?, UInt32, UInt64) -> CUresult)?
    let cuMemPoolExportPointer:
        (@convention(c) (UnsafeMutablePointer<CUmemPoolPtrExportData>?, CUdeviceptr) -> CUresult)?
    let cuMemPoolImportPointer:
        (
            @convention(c) (
                UnsafeMutablePointer<CUdeviceptr>?, UInt64, UnsafeMutablePointer<CUmemPoolPtrExportData>?
            ) -> CUresult
        )?

    init(_ library: borrowing DriverLibrary) {
        cuMemPoolDestroy = library.function("cuMemPoolDestroy")
        cuMemPoolExportToShareableHandle = library.function("cuMemPoolExportToShareableHandle")
        cuMemPoolImportFromShareableHandle = library.function("cuMemPoolImportFromShareableHandle")
        cuMemPoolExportPointer = library.function("cuMemPoolExportPointer")
        cuMemPoolImportPointer = library.function("cuMemPoolImportPointer")
    }
}
