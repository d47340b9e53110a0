// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// Addresses and the memory behind them, managed apart from each other.
extension Shim {
    private static var addressTriesMax: Int { 32 }

    /// Reserves addresses of the device that are free in this process too.
    func cuMemAddressReserve(
        _ ptr: UnsafeMutablePointer<CUdeviceptr>?, _ size: Int, _ alignment: Int, _ addr: CUdeviceptr, _ flags: UInt64
    ) throws(CUDAError) {
        guard ptr != nil, size > 0, alignment >= 0, flags == 0, alignment == 0 || alignment.nonzeroBitCount == 1 else {
            throw .invalidValue
        }
        var unsuitable: [CUdeviceptr] = []
        defer { for address in unsuitable { try? driver.cuMemAddressFree(ptr: address, size: size) } }
        var wish = addr
        while unsuitable.count < Self.addressTriesMax {
            let address = try driver.cuMemAddressReserve(size: size, alignment: alignment, addr: wish, flags: 0)
            if memory.reserve(address, size) {
                virtualMemory.withLock { $0.reservations[address] = size }
                return try write(address, to: ptr)
            }
            unsuitable.append(address)
            // Where this process has room, the device may have some too.
            wish = Self.freeAddress(size, alignment: max(alignment, Int(AddressReservations.chunkBytes)))
        }
        throw .outOfMemory
    }

    private static func freeAddress(_ byteCount: Int, alignment: Int) -> CUdeviceptr {
        let (padded, isTooLong) = byteCount.addingReportingOverflow(alignment)
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        guard !isTooLong, let found = mmap(nil, padded, PROT_NONE, flags, -1, 0), found != MAP_FAILED else { return 0 }
        munmap(found, padded)
        let unit = CUdeviceptr(alignment)
        return (CUdeviceptr(UInt(bitPattern: found)) + unit - 1) / unit * unit
    }

    func cuMemAddressFree(_ ptr: CUdeviceptr, _ size: Int) throws(CUDAError) {
        try virtualMemory.withLock { state throws(CUDAError) in
            guard state.reservations[ptr] == size, state.mappings(in: ptr, size).isEmpty else { throw .invalidValue }
            state.reservations[ptr] = nil
        }
        try driver.cuMemAddressFree(ptr: ptr, size: size)
        memory.release(ptr, size)
    }

    // MARK: Memory

    func cuMemCreate(
        _ handle: UnsafeMutablePointer<CUmemGenericAllocationHandle>?, _ size: Int,
        _ prop: UnsafePointer<CUmemAllocationProp>?, _ flags: UInt64
    ) throws(CUDAError) {
        guard handle != nil, size > 0, flags == 0 else { throw .invalidValue }
        let (device, properties) = try check(prop)
        let handleTypes = properties.requestedHandleTypes.rawValue
        let allocFlags = unsafeBitCast(properties.allocFlags, to: UInt64.self)
        let made = try driver.cuMemCreate(
            size: size, device: device.driverOrdinal, handleTypes: handleTypes, allocFlags: allocFlags)
        try write(keep(made, size, device, handleTypes, allocFlags), to: handle)
    }

    func keep(
        _ made: PhysicalMemoryHandle, _ byteCount: Int, _ device: Device, _ handleTypes: UInt32, _ allocFlags: UInt64,
        isMulticast: Bool = false
    ) throws(CUDAError) -> CUmemGenericAllocationHandle {
        let memory = try physicalMemory.insert { bits in
            PhysicalMemory(
                bits: bits, handle: made, byteCount: byteCount, device: device, handleTypes: handleTypes,
                allocFlags: allocFlags, isMulticast: isMulticast)
        }
        return memory.bits
    }

    /// Memory of a device, which other processes may import by a file descriptor.
    private func check(
        _ properties: UnsafePointer<CUmemAllocationProp>?
    ) throws(CUDAError) -> (Device, CUmemAllocationProp) {
        guard let properties = properties?.pointee, properties.type == CU_MEM_ALLOCATION_TYPE_PINNED else {
            throw .invalidValue
        }
        let fileDescriptor = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue
        guard properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE,
            properties.requestedHandleTypes.rawValue & ~fileDescriptor == 0
        else { throw .notSupported }
        return (try device(properties.location.id), properties)
    }

    /// Memory of which the application has a handle.
    func held(_ handle: CUmemGenericAllocationHandle) throws(CUDAError) -> PhysicalMemory {
        guard let memory = physicalMemory[handle], memory.uses.withLock({ $0.handles > 0 }) else {
            throw .invalidValue
        }
        return memory
    }

    func cuMemRelease(_ handle: CUmemGenericAllocationHandle) throws(CUDAError) {
        try endUse(of: try held(handle)) { $0.handles -= 1 }
    }

    /// Takes a use away; with the last one the memory goes.
    private func endUse(of memory: PhysicalMemory, _ take: (inout PhysicalMemory.Uses) -> Void) throws(CUDAError) {
        let isUnused = memory.uses.withLock { uses in
            take(&uses)
            return uses.handles <= 0 && uses.mappings <= 0
        }
        guard isUnused, physicalMemory.remove(memory.bits) != nil else { return }
        try driver.cuMemRelease(handle: memory.handle)
    }

    func cuMemRetainAllocationHandle(
        _ handle: UnsafeMutablePointer<CUmemGenericAllocationHandle>?, _ addr: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let address = CUdeviceptr(UInt(bitPattern: addr))
        let found = virtualMemory.withLock { state in
            state.mappings(in: address, 1).first.flatMap { state.mappings[$0]?.memory }
        }
        guard handle != nil, let found else { throw .invalidValue }
        found.uses.withLock { $0.handles += 1 }
        try write(found.bits, to: handle)
    }

    func cuMemGetAllocationGranularity(
        _ granularity: UnsafeMutablePointer<Int>?, _ prop: UnsafePointer<CUmemAllocationProp>?,
        _ option: CUmemAllocationGranularity_flags
    ) throws(CUDAError) {
        let (device, properties) = try check(prop)
        let bytes = try driver.cuMemGetAllocationGranularity(
            device: device.driverOrdinal, handleTypes: properties.requestedHandleTypes.rawValue,
            allocFlags: unsafeBitCast(properties.allocFlags, to: UInt64.self), option: option.rawValue)
        try write(bytes, to: granularity)
    }

    func cuMemGetAllocationPropertiesFromHandle(
        _ prop: UnsafeMutablePointer<CUmemAllocationProp>?, _ handle: CUmemGenericAllocationHandle
    ) throws(CUDAError) {
        let memory = try held(handle)
        // It is of no device.
        guard !memory.isMulticast else { throw .invalidValue }
        try write(memory.properties, to: prop)
    }

    // MARK: Mapping

    func cuMemMap(
        _ ptr: CUdeviceptr, _ size: Int, _ offset: Int, _ handle: CUmemGenericAllocationHandle, _ flags: UInt64
    ) throws(CUDAError) {
        let physical = try held(handle)
        // CUDA documents that the offset must be 0.
        guard size > 0, offset == 0, flags == 0, size <= physical.byteCount else { throw .invalidValue }
        try virtualMemory.withLock { state throws(CUDAError) in
            guard state.isReserved(ptr, size), state.mappings(in: ptr, size).isEmpty else { throw .invalidValue }
            try driver.cuMemMap(ptr: ptr, size: size, offset: 0, handle: physical.handle, flags: 0)
            state.mappings[ptr] = VirtualMemory.Mapping(byteCount: size, memory: physical)
            physical.uses.withLock { $0.mappings += 1 }
        }
        memory.insert(
            Allocation(
                base: ptr, byteCount: size, kind: .mapped, contextBits: 0, device: physical.device.ordinal,
                id: nextID()))
    }

    func cuMemUnmap(_ ptr: CUdeviceptr, _ size: Int) throws(CUDAError) {
        let ended = try virtualMemory.withLock { state throws(CUDAError) in
            let bases = try state.whole(ptr, size)
            for base in bases { memory.remove(base) { $0.kind == .mapped } }
            try driver.cuMemUnmap(ptr: ptr, size: size)
            return bases.compactMap { state.mappings.removeValue(forKey: $0)?.memory }
        }
        for physical in ended { try endUse(of: physical) { $0.mappings -= 1 } }
    }

    func cuMemSetAccess(
        _ ptr: CUdeviceptr, _ size: Int, _ desc: UnsafePointer<CUmemAccessDesc>?, _ count: Int
    ) throws(CUDAError) {
        guard let desc, count > 0, count <= devices.count else { throw .invalidValue }
        try virtualMemory.withLock { state throws(CUDAError) in
            let bases = try state.whole(ptr, size)
            for index in 0..<count {
                let (location, flags) = (desc[index].location, desc[index].flags)
                guard location.type == CU_MEM_LOCATION_TYPE_DEVICE else { throw .notSupported }
                let device = try device(location.id)
                try driver.cuMemSetAccess(ptr: ptr, size: size, device: device.driverOrdinal, flags: flags.rawValue)
                for base in bases { state.mappings[base]?.access[device.ordinal] = flags.rawValue }
            }
        }
    }

    func cuMemGetAccess(
        _ flags: UnsafeMutablePointer<UInt64>?, _ location: UnsafePointer<CUmemLocation>?, _ ptr: CUdeviceptr
    ) throws(CUDAError) {
        guard let location = location?.pointee, location.type == CU_MEM_LOCATION_TYPE_DEVICE else {
            throw .invalidValue
        }
        let device = try device(location.id)
        let access = virtualMemory.withLock { state in
            state.mappings(in: ptr, 1).first.flatMap { state.mappings[$0] }.map { $0.access[device.ordinal] ?? 0 }
        }
        guard let access else { throw .invalidValue }
        try write(UInt64(access), to: flags)
    }
}
