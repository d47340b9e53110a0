// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

extension FakeDriver {
    func cuMulticastCreate(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle { make("multicast of \(numDevices), \(size) bytes, \(handleTypes)") }
    func cuMulticastAddDevice(mcHandle: PhysicalMemoryHandle, dev: Int32) throws(CUDAError) {
        note("add \(dev) to \(mcHandle.bits)")
    }
    func cuMulticastBindMem(
        mcHandle: PhysicalMemoryHandle, mcOffset: Int, memHandle: PhysicalMemoryHandle, memOffset: Int, size: Int,
        flags: UInt64
    ) throws(CUDAError) { note("bind \(memHandle.bits)+\(memOffset) to \(mcHandle.bits)+\(mcOffset), \(size)") }
    func cuMulticastBindMem_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memHandle: PhysicalMemoryHandle, memOffset: Int,
        size: Int, flags: UInt64
    ) throws(CUDAError) {
        note("bind \(memHandle.bits)+\(memOffset) of \(dev) to \(mcHandle.bits)+\(mcOffset), \(size)")
    }
    func cuMulticastBindAddr(
        mcHandle: PhysicalMemoryHandle, mcOffset: Int, memptr: CUdeviceptr, size: Int, flags: UInt64
    ) throws(CUDAError) { note("bind address to \(mcHandle.bits)+\(mcOffset), \(size)") }
    func cuMulticastBindAddr_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memptr: CUdeviceptr, size: Int, flags: UInt64
    ) throws(CUDAError) { note("bind address of \(dev) to \(mcHandle.bits)+\(mcOffset), \(size)") }
    func cuMulticastUnbind(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, size: Int
    ) throws(CUDAError) { note("unbind \(dev) from \(mcHandle.bits)+\(mcOffset), \(size)") }
    func cuMulticastGetGranularity(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int { 2 << 20 }
}
