// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Multicast objects, where the server's devices have a switch that can do it; they say whether.
///
/// Mapping, access, export and release are those of memory.
extension Shim {
    func cuMulticastCreate(
        _ mcHandle: UnsafeMutablePointer<CUmemGenericAllocationHandle>?, _ prop: UnsafePointer<CUmulticastObjectProp>?
    ) throws(CUDAError) {
        let (properties, first) = try check(prop)
        guard mcHandle != nil, properties.size > 0 else { throw .invalidValue }
        let made = try driver.cuMulticastCreate(
            numDevices: properties.numDevices, size: properties.size, handleTypes: properties.handleTypes, flags: 0)
        try write(
            keep(made, properties.size, first, UInt32(properties.handleTypes), 0, isMulticast: true), to: mcHandle)
    }

    func cuMulticastGetGranularity(
        _ granularity: UnsafeMutablePointer<Int>?, _ prop: UnsafePointer<CUmulticastObjectProp>?,
        _ option: CUmulticastGranularity_flags
    ) throws(CUDAError) {
        let (properties, _) = try check(prop)
        guard granularity != nil, option.rawValue <= CU_MULTICAST_GRANULARITY_RECOMMENDED.rawValue else {
            throw .invalidValue
        }
        let bytes = try driver.cuMulticastGetGranularity(
            numDevices: properties.numDevices, size: properties.size, handleTypes: properties.handleTypes, flags: 0,
            option: option.rawValue)
        try write(bytes, to: granularity)
    }

    /// The properties of an object, and a device that can have one: without any, CUDA_ERROR_NOT_SUPPORTED.
    private func check(
        _ properties: UnsafePointer<CUmulticastObjectProp>?
    ) throws(CUDAError) -> (CUmulticastObjectProp, Device) {
        guard let properties = properties?.pointee, properties.numDevices > 0, properties.flags == 0 else {
            throw .invalidValue
        }
        let fileDescriptor = UInt64(CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue)
        guard properties.handleTypes & ~fileDescriptor == 0, let able = devices.first(where: \.hasMulticast) else {
            throw .notSupported
        }
        return (properties, able)
    }

    func cuMulticastAddDevice(_ mcHandle: CUmemGenericAllocationHandle, _ dev: CUdevice) throws(CUDAError) {
        let device = try deviceWithMulticast(dev)
        try driver.cuMulticastAddDevice(mcHandle: try multicast(mcHandle).handle, dev: device.driverOrdinal)
    }

    func cuMulticastBindMem(
        _ mcHandle: CUmemGenericAllocationHandle, _ mcOffset: Int, _ memHandle: CUmemGenericAllocationHandle,
        _ memOffset: Int, _ size: Int, _ flags: UInt64
    ) throws(CUDAError) {
        let (object, bound) = (try multicast(mcHandle), try memory(memHandle, memOffset, size))
        try check(object, mcOffset, size, flags)
        try driver.cuMulticastBindMem(
            mcHandle: object.handle, mcOffset: mcOffset, memHandle: bound.handle, memOffset: memOffset, size: size,
            flags: 0)
    }

    func cuMulticastBindMem_v2(
        _ mcHandle: CUmemGenericAllocationHandle, _ dev: CUdevice, _ mcOffset: Int,
        _ memHandle: CUmemGenericAllocationHandle, _ memOffset: Int, _ size: Int, _ flags: UInt64
    ) throws(CUDAError) {
        let device = try deviceWithMulticast(dev)
        let (object, bound) = (try multicast(mcHandle), try memory(memHandle, memOffset, size))
        try check(object, mcOffset, size, flags)
        try driver.cuMulticastBindMem_v2(
            mcHandle: object.handle, dev: device.driverOrdinal, mcOffset: mcOffset, memHandle: bound.handle,
            memOffset: memOffset, size: size, flags: 0)
    }

    func cuMulticastBindAddr(
        _ mcHandle: CUmemGenericAllocationHandle, _ mcOffset: Int, _ memptr: CUdeviceptr, _ size: Int, _ flags: UInt64
    ) throws(CUDAError) {
        let object = try multicast(mcHandle)
        try check(object, mcOffset, size, flags)
        try checkIsMemory(memptr, size)
        try driver.cuMulticastBindAddr(
            mcHandle: object.handle, mcOffset: mcOffset, memptr: memptr, size: size, flags: 0)
    }

    func cuMulticastBindAddr_v2(
        _ mcHandle: CUmemGenericAllocationHandle, _ dev: CUdevice, _ mcOffset: Int, _ memptr: CUdeviceptr, _ size: Int,
        _ flags: UInt64
    ) throws(CUDAError) {
        let device = try deviceWithMulticast(dev)
        let object = try multicast(mcHandle)
        try check(object, mcOffset, size, flags)
        try checkIsMemory(memptr, size)
        try driver.cuMulticastBindAddr_v2(
            mcHandle: object.handle, dev: device.driverOrdinal, mcOffset: mcOffset, memptr: memptr, size: size,
            flags: 0)
    }

    func cuMulticastUnbind(
        _ mcHandle: CUmemGenericAllocationHandle, _ dev: CUdevice, _ mcOffset: Int, _ size: Int
    ) throws(CUDAError) {
        let device = try deviceWithMulticast(dev)
        let object = try multicast(mcHandle)
        try check(object, mcOffset, size, 0)
        try driver.cuMulticastUnbind(
            mcHandle: object.handle, dev: device.driverOrdinal, mcOffset: mcOffset, size: size)
    }

    // MARK: Checks

    private func deviceWithMulticast(_ ordinal: CUdevice) throws(CUDAError) -> Device {
        let device = try device(ordinal)
        guard device.hasMulticast else { throw .notSupported }
        return device
    }

    private func multicast(_ handle: CUmemGenericAllocationHandle) throws(CUDAError) -> PhysicalMemory {
        let object = try held(handle)
        guard object.isMulticast else { throw .invalidValue }
        return object
    }

    /// Memory of which a part is bound.
    private func memory(
        _ handle: CUmemGenericAllocationHandle, _ offset: Int, _ byteCount: Int
    ) throws(CUDAError) -> PhysicalMemory {
        let memory = try held(handle)
        guard !memory.isMulticast, Self.isInside(offset, byteCount, of: memory) else { throw .invalidValue }
        return memory
    }

    private func check(
        _ object: PhysicalMemory, _ offset: Int, _ byteCount: Int, _ flags: UInt64
    ) throws(CUDAError) {
        guard flags == 0, Self.isInside(offset, byteCount, of: object) else { throw .invalidValue }
    }

    private static func isInside(_ offset: Int, _ byteCount: Int, of memory: PhysicalMemory) -> Bool {
        offset >= 0 && byteCount > 0 && offset <= memory.byteCount && byteCount <= memory.byteCount - offset
    }

    /// Memory of a device, all of the range.
    private func checkIsMemory(_ address: CUdeviceptr, _ byteCount: Int) throws(CUDAError) {
        guard let allocation = memory.find(address), allocation.kind == .device || allocation.kind == .mapped,
            allocation.contains(address, byteCount)
        else { throw .invalidValue }
    }
}

extension Device {
    fileprivate var hasMulticast: Bool { description[CU_DEVICE_ATTRIBUTE_MULTICAST_SUPPORTED] != 0 }
}
