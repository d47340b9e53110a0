// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Synchronization

// Multicast objects of the partition's devices. They are mapped and exported as memory is, and have none: what is bound
// to them counts already.

extension PartitionedDriver {
    package func cuMulticastCreate(
        numDevices: UInt32, size: Int, handleTypes: UInt64, flags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        let made = try driver.cuMulticastCreate(
            numDevices: numDevices, size: size, handleTypes: handleTypes, flags: flags)
        account.withLock {
            $0.physicalMemory[made] = MemoryAccount.PhysicalMemory(
                device: 0, byteCount: size, origin: nil, isCounted: false, isMulticast: true)
        }
        return made
    }

    package func cuMulticastAddDevice(mcHandle: PhysicalMemoryHandle, dev: Int32) throws(CUDAError) {
        try driver.cuMulticastAddDevice(mcHandle: mcHandle, dev: driverDevice(dev))
    }

    package func cuMulticastBindMem_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memHandle: PhysicalMemoryHandle, memOffset: Int,
        size: Int, flags: UInt64
    ) throws(CUDAError) {
        try driver.cuMulticastBindMem_v2(
            mcHandle: mcHandle, dev: driverDevice(dev), mcOffset: mcOffset, memHandle: memHandle,
            memOffset: memOffset, size: size, flags: flags)
    }

    package func cuMulticastBindAddr_v2(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, memptr: CUdeviceptr, size: Int, flags: UInt64
    ) throws(CUDAError) {
        try driver.cuMulticastBindAddr_v2(
            mcHandle: mcHandle, dev: driverDevice(dev), mcOffset: mcOffset, memptr: memptr, size: size, flags: flags)
    }

    package func cuMulticastUnbind(
        mcHandle: PhysicalMemoryHandle, dev: Int32, mcOffset: Int, size: Int
    ) throws(CUDAError) {
        try driver.cuMulticastUnbind(mcHandle: mcHandle, dev: driverDevice(dev), mcOffset: mcOffset, size: size)
    }
}
