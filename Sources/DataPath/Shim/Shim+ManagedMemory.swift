// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Managed memory: allocation, prefetches, advice, and what is known of a range.
///
/// Prefetching to a device sends at once what a launch would have to send; prefetching to the host makes the next touch
/// bring as much as possible. Advice is remembered; it changes nothing here.
extension Shim {
    /// CU_DEVICE_CPU.
    static var hostDevice: Int32 { -1 }

    func cuMemAllocManaged(
        _ dptr: UnsafeMutablePointer<CUdeviceptr>?, _ bytesize: Int, _ flags: UInt32
    ) throws(CUDAError) {
        let active = try activeContext()
        guard dptr != nil, bytesize != 0, [CU_MEM_ATTACH_GLOBAL.rawValue, CU_MEM_ATTACH_HOST.rawValue].contains(flags)
        else { throw .invalidValue }
        guard bytesize > 0 else { throw .outOfMemory }
        try write(try allocateManaged(bytesize, in: active), to: dptr)
    }

    /// The range must be managed memory, or a length of 0 for a whole allocation.
    ///
    /// To which stream memory is attached changes nothing: it changes sides when work is enqueued.
    func cuStreamAttachMemAsync(
        _ hStream: OpaquePointer?, _ dptr: CUdeviceptr, _ length: Int, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        _ = try target(hStream, defaultStream)
        let known = [CU_MEM_ATTACH_GLOBAL, CU_MEM_ATTACH_HOST, CU_MEM_ATTACH_SINGLE].map(\.rawValue)
        let allocation = try managed(dptr, max(1, length))
        guard known.contains(flags), length == 0 || dptr == allocation.base && length == allocation.byteCount,
            flags != CU_MEM_ATTACH_SINGLE.rawValue || bits(hStream) > Self.perThreadStreamBits
        else { throw .invalidValue }
    }

    // MARK: Prefetches

    func cuMemPrefetchAsync(
        _ devPtr: CUdeviceptr, _ count: Int, _ dstDevice: CUdevice, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try prefetch(devPtr, count, to: dstDevice, try target(hStream, defaultStream))
    }

    func cuMemPrefetchAsync_v2(
        _ devPtr: CUdeviceptr, _ count: Int, _ location: CUmemLocation, _ flags: UInt32, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard flags == 0 else { throw .invalidValue }
        try prefetch(devPtr, count, to: try device(of: location), try target(hStream, defaultStream))
    }

    func prefetch(
        _ address: CUdeviceptr, _ count: Int, to device: Int32, _ stream: StreamTarget
    ) throws(CUDAError) {
        let allocation = try managed(address, count)
        if device != Self.hostDevice { _ = try self.device(device) }
        advise(allocation) { $0.lastPrefetchLocation = device }
        guard allocation.deviceBase != 0 else { return }
        let part = UInt(address)..<UInt(address) + UInt(count)
        if device == Self.hostDevice {
            _ = shared.withRange(at: part.lowerBound) { $0.expectTouch(at: part.lowerBound) }
        } else {
            try shared.whileOnDevice([part], stream) {}
        }
    }

    // MARK: Advice

    func cuMemAdvise(
        _ devPtr: CUdeviceptr, _ count: Int, _ advice: CUmem_advise, _ device: CUdevice
    ) throws(CUDAError) {
        let allocation = try managed(devPtr, count)
        switch advice {
        case CU_MEM_ADVISE_SET_READ_MOSTLY: advise(allocation) { $0.isReadMostly = true }
        case CU_MEM_ADVISE_UNSET_READ_MOSTLY: advise(allocation) { $0.isReadMostly = false }
        case CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
            advise(allocation) { $0.preferredLocation = MemoryAdvice.nowhere }
        case CU_MEM_ADVISE_SET_PREFERRED_LOCATION, CU_MEM_ADVISE_SET_ACCESSED_BY, CU_MEM_ADVISE_UNSET_ACCESSED_BY:
            if device != Self.hostDevice { _ = try self.device(device) }
            advise(allocation) { known in
                switch advice {
                case CU_MEM_ADVISE_SET_PREFERRED_LOCATION: known.preferredLocation = device
                case CU_MEM_ADVISE_SET_ACCESSED_BY: known.accessedBy.insert(device)
                default: known.accessedBy.remove(device)
                }
            }
        default: throw .invalidValue
        }
    }

    func cuMemAdvise_v2(
        _ devPtr: CUdeviceptr, _ count: Int, _ advice: CUmem_advise, _ location: CUmemLocation
    ) throws(CUDAError) {
        switch advice {
        // The location is of no importance.
        case CU_MEM_ADVISE_SET_READ_MOSTLY, CU_MEM_ADVISE_UNSET_READ_MOSTLY, CU_MEM_ADVISE_UNSET_PREFERRED_LOCATION:
            try cuMemAdvise(devPtr, count, advice, Self.hostDevice)
        default: try cuMemAdvise(devPtr, count, advice, try device(of: location))
        }
    }

    /// The number by which the older functions name a location.
    func device(of location: CUmemLocation) throws(CUDAError) -> Int32 {
        switch location.type {
        case CU_MEM_LOCATION_TYPE_DEVICE: return location.id
        case CU_MEM_LOCATION_TYPE_HOST, CU_MEM_LOCATION_TYPE_HOST_NUMA, CU_MEM_LOCATION_TYPE_HOST_NUMA_CURRENT:
            return Self.hostDevice
        default: throw .invalidValue
        }
    }

    // MARK: What is known

    func cuMemRangeGetAttribute(
        _ data: UnsafeMutableRawPointer?, _ dataSize: Int, _ attribute: CUmem_range_attribute, _ devPtr: CUdeviceptr,
        _ count: Int
    ) throws(CUDAError) {
        guard let data else { throw .invalidValue }
        let allocation = try managed(devPtr, count)
        let advice = memoryAdvice.withLock { $0[allocation.id] ?? MemoryAdvice() }
        let value: Int32
        switch attribute {
        case CU_MEM_RANGE_ATTRIBUTE_READ_MOSTLY: value = advice.isReadMostly ? 1 : 0
        case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION: value = advice.preferredLocation
        case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION: value = advice.lastPrefetchLocation
        case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_TYPE:
            value = Int32(locationType(advice.preferredLocation).rawValue)
        case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_TYPE:
            value = Int32(locationType(advice.lastPrefetchLocation).rawValue)
        case CU_MEM_RANGE_ATTRIBUTE_PREFERRED_LOCATION_ID: value = max(0, advice.preferredLocation)
        case CU_MEM_RANGE_ATTRIBUTE_LAST_PREFETCH_LOCATION_ID: value = max(0, advice.lastPrefetchLocation)
        case CU_MEM_RANGE_ATTRIBUTE_ACCESSED_BY:
            // A list of devices, filled up with what names none.
            guard dataSize > 0, dataSize % 4 == 0 else { throw .invalidValue }
            let devices = advice.accessedBy.sorted()
            for index in 0..<dataSize / 4 {
                let device = index < devices.count ? devices[index] : MemoryAdvice.nowhere
                data.storeBytes(of: device, toByteOffset: index * 4, as: Int32.self)
            }
            return
        default: throw .invalidValue
        }
        guard dataSize == 4 else { throw .invalidValue }
        data.storeBytes(of: value, as: Int32.self)
    }

    func cuMemRangeGetAttributes(
        _ data: UnsafeMutablePointer<UnsafeMutableRawPointer?>?, _ dataSizes: UnsafeMutablePointer<Int>?,
        _ attributes: UnsafeMutablePointer<CUmem_range_attribute>?, _ numAttributes: Int, _ devPtr: CUdeviceptr,
        _ count: Int
    ) throws(CUDAError) {
        guard let data, let dataSizes, let attributes, (1...64).contains(numAttributes) else { throw .invalidValue }
        for index in 0..<numAttributes {
            try cuMemRangeGetAttribute(data[index], dataSizes[index], attributes[index], devPtr, count)
        }
    }

    /// The type of a place that is given by the numbers of the older functions.
    func locationType(_ device: Int32) -> CUmemLocationType {
        switch device {
        case MemoryAdvice.nowhere: CU_MEM_LOCATION_TYPE_NONE
        case Self.hostDevice: CU_MEM_LOCATION_TYPE_HOST
        default: CU_MEM_LOCATION_TYPE_DEVICE
        }
    }

    private func advise(_ allocation: Allocation, _ change: (inout MemoryAdvice) -> Void) {
        memoryAdvice.withLock { change(&$0[allocation.id, default: MemoryAdvice()]) }
    }

    /// The allocation of a range of managed memory.
    func managed(_ address: CUdeviceptr, _ count: Int) throws(CUDAError) -> Allocation {
        guard count > 0, let allocation = memory.find(address), allocation.kind == .managed,
            allocation.contains(address, count)
        else { throw .invalidValue }
        return allocation
    }
}
