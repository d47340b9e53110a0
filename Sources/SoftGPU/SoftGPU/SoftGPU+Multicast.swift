// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

/// Multicast is done by the switch between GPUs, which software GPUs do not have: they say so, and refuse it.
extension SoftGPU {
    package func cuMulticastCreate(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle { throw .notSupported }

    package func cuMulticastAddDevice(mcHandle: PhysicalMemoryHandle, dev: Int32) throws(CUDAError) {
        throw .notSupported
    }

    package func cuMulticastBindMem(
        mcHandle: PhysicalMemoryHandle, mcOffset: Int, memHandle: PhysicalMemoryHandle, memOffset: Int, size: Int,
        flags: UInt64
    ) throws(CUDAError) { throw .notSupported }

    package func cuMulticastBindMem_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memHandle: PhysicalMemoryHandle, memOffset: Int,
        size: Int, flags: UInt64
    ) throws(CUDAError) { throw .notSupported }

    package func cuMulticastBindAddr(
        mcHandle: PhysicalMemoryHandle, mcOffset: Int, memptr: CUdeviceptr, size: Int, flags: UInt64
    ) throws(CUDAError) { throw .notSupported }

    package func cuMulticastBindAddr_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memptr: CUdeviceptr, size: Int, flags: UInt64
    ) throws(CUDAError) { throw .notSupported }

    package func cuMulticastUnbind(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, size: Int
    ) throws(CUDAError) { throw .notSupported }

    package func cuMulticastGetGranularity(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int { throw .notSupported }
}
