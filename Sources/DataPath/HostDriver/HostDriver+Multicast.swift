// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

// Multicast objects, whose properties are a structure in C.

extension HostDriver {
    package func cuMulticastCreate(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        guard let function = multicast.cuMulticastCreate else { throw .notSupported }
        var properties = CUmulticastObjectProp(
            numDevices: numDevices, size: size, handleTypes: handleTypes, flags: flags)
        var made: CUmemGenericAllocationHandle = 0
        try check(function(&made, &properties))
        return PhysicalMemoryHandle(bits: made)
    }

    package func cuMulticastGetGranularity(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int {
        guard let function = multicast.cuMulticastGetGranularity else { throw .notSupported }
        var properties = CUmulticastObjectProp(
            numDevices: numDevices, size: size, handleTypes: handleTypes, flags: flags)
        var granularity = 0
        try check(function(&granularity, &properties, option))
        return granularity
    }
}

/// The functions of multicast that the printed half does not have.
struct HostMulticastFunctions: Sendable {
    let cuMulticastCreate:
        (
            @convention(c) (
                UnsafeMutablePointer<CUmemGenericAllocationHandle>?, UnsafePointer<CUmulticastObjectProp>?
            ) -> CUresult
        )?
    let cuMulticastGetGranularity:
        (@convention(c) (UnsafeMutablePointer<Int>?, UnsafePointer<CUmulticastObjectProp>?, UInt32) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuMulticastCreate = library.function("cuMulticastCreate")
        cuMulticastGetGranularity = library.function("cuMulticastGetGranularity")
    }
}
