// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Memory of a device without an address of its own, or a multicast object, which is mapped and shared in its stead.
final class PhysicalMemory: Sendable {
    struct Uses {
        /// Handles that the application holds: of its creation, its import, and cuMemRetainAllocationHandle.
        var handles = 1
        var mappings = 0
    }

    /// What the application holds of it.
    let bits: UInt64
    let handle: PhysicalMemoryHandle
    let byteCount: Int
    let device: Device
    let handleTypes: UInt32
    let allocFlags: UInt64
    let isMulticast: Bool
    let uses = Mutex(Uses())

    init(
        bits: UInt64, handle: PhysicalMemoryHandle, byteCount: Int, device: Device, handleTypes: UInt32,
        allocFlags: UInt64, isMulticast: Bool = false
    ) {
        self.bits = bits
        self.handle = handle
        self.byteCount = byteCount
        self.device = device
        self.handleTypes = handleTypes
        self.allocFlags = allocFlags
        self.isMulticast = isMulticast
    }

    var properties: CUmemAllocationProp {
        var properties = CUmemAllocationProp()
        properties.type = CU_MEM_ALLOCATION_TYPE_PINNED
        properties.requestedHandleTypes = CUmemAllocationHandleType(handleTypes)
        properties.location = CUmemLocation(type: CU_MEM_LOCATION_TYPE_DEVICE, id: device.ordinal)
        properties.allocFlags = unsafeBitCast(allocFlags, to: CUmemAllocationFlags.self)
        return properties
    }
}

/// Reserved addresses, and what is mapped there.
struct VirtualMemory {
    struct Mapping {
        let byteCount: Int
        let memory: PhysicalMemory
        /// What each device may do, by the application's ordinals: CUmemAccess_flags.
        var access: [CUdevice: UInt32] = [:]
    }

    /// The bytes of each reservation by its address.
    var reservations: [CUdeviceptr: Int] = [:]
    var mappings: [CUdeviceptr: Mapping] = [:]

    /// Whether a range lies in one reservation.
    func isReserved(_ address: CUdeviceptr, _ byteCount: Int) -> Bool {
        reservations.contains { base, size in
            address >= base && address - base <= CUdeviceptr(size) && byteCount <= size - Int(address - base)
        }
    }

    /// The addresses of the mappings that touch a range, in order.
    func mappings(in address: CUdeviceptr, _ byteCount: Int) -> [CUdeviceptr] {
        let (end, isTooLong) = address.addingReportingOverflow(CUdeviceptr(byteCount))
        guard !isTooLong else { return [] }
        return mappings.filter { $0.key < end && $0.key + CUdeviceptr($0.value.byteCount) > address }.keys.sorted()
    }

    /// The addresses of the mappings of which a range consists.
    ///
    /// CUDA_ERROR_INVALID_VALUE if it has a gap, or only a part of a mapping.
    func whole(_ address: CUdeviceptr, _ byteCount: Int) throws(CUDAError) -> [CUdeviceptr] {
        guard byteCount > 0 else { throw .invalidValue }
        let found = mappings(in: address, byteCount)
        var end = address
        for base in found {
            guard base == end, let mapping = mappings[base] else { throw .invalidValue }
            end += CUdeviceptr(mapping.byteCount)
        }
        guard !found.isEmpty, end - address == CUdeviceptr(byteCount) else { throw .invalidValue }
        return found
    }
}
