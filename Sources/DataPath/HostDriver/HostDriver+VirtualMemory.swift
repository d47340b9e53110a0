// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Glibc

// Addresses and the memory behind them.

extension HostDriver {
    private static func properties(_ device: Int32, _ handleTypes: UInt32, _ flags: UInt64) -> CUmemAllocationProp {
        var properties = CUmemAllocationProp()
        properties.type = CU_MEM_ALLOCATION_TYPE_PINNED
        properties.requestedHandleTypes = CUmemAllocationHandleType(handleTypes)
        properties.location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: device)
        properties.allocFlags = unsafeBitCast(flags, to: CUmemAllocationFlags.self)
        return properties
    }

    package func cuMemCreate(
        size: Int, device: Int32, handleTypes: UInt32, allocFlags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        guard let function = more.cuMemCreate else { throw .notSupported }
        var properties = Self.properties(device, handleTypes, allocFlags)
        var made: CUmemGenericAllocationHandle = 0
        try check(function(&made, size, &properties, 0))
        return PhysicalMemoryHandle(bits: made)
    }

    package func cuMemRelease(handle: PhysicalMemoryHandle) throws(CUDAError) {
        guard let function = more.cuMemRelease else { throw .notSupported }
        // A descriptor would keep the memory.
        descriptors.withdraw(.memory(handle.bits))
        try check(function(handle.bits))
    }

    package func cuMemSetAccess(ptr: CUdeviceptr, size: Int, device: Int32, flags: UInt32) throws(CUDAError) {
        guard let function = more.cuMemSetAccess else { throw .notSupported }
        var access = CUmemAccessDesc(
            location: CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: device), flags: CUmemAccess_flags(flags))
        try check(function(ptr, size, &access, 1))
    }

    package func cuMemGetAllocationGranularity(
        device: Int32, handleTypes: UInt32, allocFlags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int {
        guard let function = more.cuMemGetAllocationGranularity else { throw .notSupported }
        var properties = Self.properties(device, handleTypes, allocFlags)
        var granularity = 0
        try check(function(&granularity, &properties, option))
        return granularity
    }

    package func cuMemExportToShareableHandle(handle: PhysicalMemoryHandle) throws(CUDAError) -> ShareableHandle {
        guard let function = more.cuMemExportToShareableHandle else { throw .notSupported }
        return try descriptors.offer(.memory(handle.bits)) { () throws(CUDAError) in
            var descriptor: Int32 = -1
            try check(function(&descriptor, handle.bits, CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue, 0))
            return descriptor
        }
    }

    package func cuMemImportFromShareableHandle(
        shareableHandle: ShareableHandle
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        guard let function = more.cuMemImportFromShareableHandle else { throw .notSupported }
        guard let descriptor = DescriptorExchange.take(shareableHandle) else { throw .invalidHandle }
        defer { close(descriptor) }
        var made: CUmemGenericAllocationHandle = 0
        try check(
            function(
                &made, UnsafeMutableRawPointer(bitPattern: Int(descriptor)),
                CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue))
        return PhysicalMemoryHandle(bits: made)
    }
}
