// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Glibc
import Synchronization

/// Addresses and the memory behind them, managed apart from each other.
extension SoftGPU {
    package func cuMemAddressReserve(
        size: Int, alignment: Int, addr: CUdeviceptr, flags: UInt64
    ) throws(CUDAError) -> CUdeviceptr {
        let granularity = PhysicalMemory.granularityBytes
        let alignment = max(alignment, granularity)
        guard flags == 0, size > 0, size % granularity == 0, alignment.nonzeroBitCount == 1, alignment <= 1 << 40 else {
            throw .invalidValue
        }
        return try virtualMemory.state.withLock { state throws(CUDAError) in
            guard state.reservations.count < VirtualMemory.reservationsMax,
                let address = VirtualMemory.reserve(size, alignment: alignment, at: UInt64(addr))
            else { throw .outOfMemory }
            state.reservations[address] = size
            return CUdeviceptr(address)
        }
    }

    package func cuMemAddressFree(ptr: CUdeviceptr, size: Int) throws(CUDAError) {
        try waitWhileInUse(UInt64(ptr), size)
        try virtualMemory.state.withLock { state throws(CUDAError) in
            guard state.reservations[UInt64(ptr)] == size, state.mappings(in: UInt64(ptr), size).isEmpty else {
                throw .invalidValue
            }
            state.reservations[UInt64(ptr)] = nil
            munmap(pointer(UInt64(ptr)), size)
        }
    }

    package func cuMemCreate(
        size: Int, device: Int32, handleTypes: UInt32, allocFlags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        let device = try self.device(device)
        guard size > 0, size % PhysicalMemory.granularityBytes == 0 else { throw .invalidValue }
        // Compression and access by other hardware are wishes for what these devices do not have.
        let fileDescriptor = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue
        guard handleTypes & ~fileDescriptor == 0 else { throw .notSupported }
        guard size <= device.memory.totalBytes else { throw .outOfMemory }
        let memory = try PhysicalMemory(size, on: device, isExportable: handleTypes != 0)
        return try handle(of: memory)
    }

    private func handle(of memory: PhysicalMemory) throws(CUDAError) -> PhysicalMemoryHandle {
        var bits: UInt64 = 0
        _ = try physicalMemory.insert { handle in
            bits = handle
            return memory
        }
        return PhysicalMemoryHandle(bits: bits)
    }

    private func memory(_ handle: PhysicalMemoryHandle) throws(CUDAError) -> PhysicalMemory {
        guard let memory = physicalMemory[handle.bits] else { throw .invalidValue }
        return memory
    }

    package func cuMemRelease(handle: PhysicalMemoryHandle) throws(CUDAError) {
        guard physicalMemory.remove(handle.bits) != nil else { throw .invalidValue }
    }

    package func cuMemMap(
        ptr: CUdeviceptr, size: Int, offset: Int, handle: PhysicalMemoryHandle, flags: UInt64
    ) throws(CUDAError) {
        let memory = try memory(handle)
        let granularity = PhysicalMemory.granularityBytes
        // CUDA documents that the offset must be 0.
        guard flags == 0, offset == 0, size > 0, size % granularity == 0, ptr % CUdeviceptr(granularity) == 0,
            size <= memory.file.byteCount
        else { throw .invalidValue }
        try waitWhileInUse(UInt64(ptr), size)
        try virtualMemory.state.withLock { state throws(CUDAError) in
            guard state.isReserved(UInt64(ptr), size), state.mappings(in: UInt64(ptr), size).isEmpty else {
                throw .invalidValue
            }
            guard state.mappings.count < VirtualMemory.mappingsMax else { throw .outOfMemory }
            state.mappings[UInt64(ptr)] = try Mapping(memory, at: UInt64(ptr), byteCount: size)
        }
    }

    package func cuMemUnmap(ptr: CUdeviceptr, size: Int) throws(CUDAError) {
        let ended = try virtualMemory.state.withLock { state throws(CUDAError) in
            let mappings = try Self.whole(in: ptr, size, state)
            for mapping in mappings {
                state.mappings[mapping.address] = nil
                state.ended.append(
                    VirtualMemory.Ended(address: mapping.address, byteCount: mapping.byteCount, mapping: mapping))
            }
            return mappings
        }
        for mapping in ended { _ = try? memoryMap.remove(at: mapping.address) }
    }

    /// The mappings of which a range consists, without a gap.
    private static func whole(
        in address: CUdeviceptr, _ byteCount: Int, _ state: VirtualMemory.State
    ) throws(CUDAError) -> [Mapping] {
        guard byteCount > 0, address <= CUdeviceptr.max - CUdeviceptr(byteCount) else { throw .invalidValue }
        let mappings = state.mappings(in: UInt64(address), byteCount)
        var end = UInt64(address)
        for mapping in mappings {
            guard mapping.address == end else { throw .invalidValue }
            end += UInt64(mapping.byteCount)
        }
        guard end == UInt64(address) + UInt64(byteCount) else { throw .invalidValue }
        return mappings
    }

    package func cuMemSetAccess(ptr: CUdeviceptr, size: Int, device: Int32, flags: UInt32) throws(CUDAError) {
        let device = try self.device(device)
        let isAllowed: Bool
        switch CUmemAccess_flags(flags) {
        case CU_MEM_ACCESS_FLAGS_PROT_NONE: isAllowed = false
        case CU_MEM_ACCESS_FLAGS_PROT_READWRITE: isAllowed = true
        // Copies into memory that may only be read could not be told from others.
        case CU_MEM_ACCESS_FLAGS_PROT_READ: throw .notSupported
        default: throw .invalidValue
        }
        let mappings = try virtualMemory.state.withLock { state throws(CUDAError) in
            try Self.whole(in: ptr, size, state)
        }
        for mapping in mappings {
            guard mapping.setAccess(device.ordinal, isAllowed) else { throw .outOfMemory }
            let isUsable = mapping.devices.withLock { !$0.isEmpty }
            let isKnown = memoryMap.entry(at: mapping.address) != nil
            if isUsable && !isKnown {
                memoryMap.insert(
                    MemoryMap.Entry(
                        address: mapping.address, byteCount: mapping.byteCount, owner: .mapping, context: 0,
                        allocation: mapping))
            } else if !isUsable && isKnown {
                _ = try memoryMap.remove(at: mapping.address)
            }
        }
    }

    package func cuMemGetAllocationGranularity(
        device: Int32, handleTypes: UInt32, allocFlags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int {
        _ = try self.device(device)
        guard option <= CU_MEM_ALLOC_GRANULARITY_RECOMMENDED.rawValue else { throw .invalidValue }
        return PhysicalMemory.granularityBytes
    }

    package func cuMemExportToShareableHandle(handle: PhysicalMemoryHandle) throws(CUDAError) -> ShareableHandle {
        let memory = try memory(handle)
        guard memory.isExportable else { throw .invalidValue }
        return memory.file.handle
    }

    package func cuMemImportFromShareableHandle(
        shareableHandle: ShareableHandle
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        let memory = try PhysicalMemory(importing: shareableHandle)
        guard devices.indices.contains(memory.device) else { throw .invalidHandle }
        return try handle(of: memory)
    }

    /// Returns when no work uses any more what was mapped in a range.
    private func waitWhileInUse(_ address: UInt64, _ byteCount: Int) throws(CUDAError) {
        guard byteCount > 0, address <= UInt64.max - UInt64(byteCount) else { throw .invalidValue }
        while virtualMemory.state.withLock({ $0.isInUse(address, byteCount) }) { usleep(100) }
    }
}
