// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
package import CCUDA
package import Driver
import Synchronization

// Memory that is managed apart from its addresses counts from its creation until it is neither held nor mapped.
// Addresses cost nothing.

/// Memory behind addresses: by its handle, or, once that is released, by a number of its own.
struct PhysicalMapping {
    enum Memory {
        case held(PhysicalMemoryHandle)
        case released(UInt64)
    }

    let byteCount: Int
    var memory: Memory
}

extension PartitionedDriver {
    package func cuMemCreate(
        size: Int, device: Int32, handleTypes: UInt32, allocFlags: UInt64
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        let number = try driverDevice(device)
        guard size > 0 else { throw .invalidValue }
        settle()
        guard take(size, on: device) != nil else { throw .outOfMemory }
        do throws(CUDAError) {
            let made = try driver.cuMemCreate(
                size: size, device: number, handleTypes: handleTypes, allocFlags: allocFlags)
            account.withLock {
                $0.physicalMemory[made] = MemoryAccount.PhysicalMemory(
                    device: device, byteCount: size, origin: nil, isCounted: true)
            }
            return made
        } catch {
            giveBack(size, on: device)
            throw error
        }
    }

    package func cuMemRelease(handle: PhysicalMemoryHandle) throws(CUDAError) {
        account.withLock { account in
            guard let export = account.physicalMemory[handle]?.export else { return }
            account.physicalMemory[handle]?.export = nil
            slot.withdraw(export)
        }
        try driver.cuMemRelease(handle: handle)
        account.withLock { account in
            guard let memory = account.physicalMemory.removeValue(forKey: handle) else { return }
            guard memory.mappingCount > 0 else { return giveBack(memory, &account) }
            account.lastReleased += 1
            let number = account.lastReleased
            account.releasedMemory[number] = memory
            for (address, mapping) in account.mappings {
                guard case .held(handle) = mapping.memory else { continue }
                account.mappings[address]?.memory = .released(number)
            }
        }
    }

    private func giveBack(_ memory: MemoryAccount.PhysicalMemory, _ account: inout MemoryAccount) {
        guard memory.isCounted else { return }
        slot.giveBack(account.shrink(by: memory.byteCount, on: memory.device), device: Int(memory.device))
    }

    package func cuMemMap(
        ptr: CUdeviceptr, size: Int, offset: Int, handle: PhysicalMemoryHandle, flags: UInt64
    ) throws(CUDAError) {
        try driver.cuMemMap(ptr: ptr, size: size, offset: offset, handle: handle, flags: flags)
        account.withLock { account in
            account.mappings[ptr] = PhysicalMapping(byteCount: size, memory: .held(handle))
            account.physicalMemory[handle]?.mappingCount += 1
        }
    }

    package func cuMemUnmap(ptr: CUdeviceptr, size: Int) throws(CUDAError) {
        try driver.cuMemUnmap(ptr: ptr, size: size)
        account.withLock { account in
            for (address, mapping) in account.mappings
            where address >= ptr && address - ptr < CUdeviceptr(size) {
                account.mappings[address] = nil
                switch mapping.memory {
                case .held(let handle): account.physicalMemory[handle]?.mappingCount -= 1
                case .released(let number):
                    account.releasedMemory[number]?.mappingCount -= 1
                    guard let memory = account.releasedMemory[number], memory.mappingCount == 0 else { continue }
                    account.releasedMemory[number] = nil
                    giveBack(memory, &account)
                }
            }
        }
    }

    package func cuMemSetAccess(ptr: CUdeviceptr, size: Int, device: Int32, flags: UInt32) throws(CUDAError) {
        try driver.cuMemSetAccess(ptr: ptr, size: size, device: driverDevice(device), flags: flags)
    }

    package func cuMemGetAllocationGranularity(
        device: Int32, handleTypes: UInt32, allocFlags: UInt64, option: UInt32
    ) throws(CUDAError) -> Int {
        try driver.cuMemGetAllocationGranularity(
            device: driverDevice(device), handleTypes: handleTypes, allocFlags: allocFlags, option: option)
    }

    // MARK: Between processes

    package func cuMemExportToShareableHandle(handle: PhysicalMemoryHandle) throws(CUDAError) -> ShareableHandle {
        guard let known = account.withLock({ $0.physicalMemory[handle] }) else { throw .invalidHandle }
        if let export = known.export { return ShareableHandle(export) }
        let driverHandle = try driver.cuMemExportToShareableHandle(handle: handle)
        let export = Export(
            known.isMulticast ? .multicast : .physicalMemory, device: Int(known.device), byteCount: known.byteCount,
            handle: driverHandle.bytes)
        guard let reference = slot.publish(export) else { throw .outOfMemory }
        account.withLock { $0.physicalMemory[handle]?.export = reference }
        return ShareableHandle(reference)
    }

    package func cuMemImportFromShareableHandle(
        shareableHandle: ShareableHandle
    ) throws(CUDAError) -> PhysicalMemoryHandle {
        settle()
        let (reference, export) = try find(shareableHandle, .physicalMemory, .multicast)
        guard let driverHandle = ShareableHandle(export.handle) else { throw .invalidHandle }
        let made = try driver.cuMemImportFromShareableHandle(shareableHandle: driverHandle)
        account.withLock { account in
            account.physicalMemory[made] = MemoryAccount.PhysicalMemory(
                device: Int32(export.device), byteCount: export.byteCount,
                origin: export.kind == .multicast ? nil : reference, isCounted: false,
                isMulticast: export.kind == .multicast)
            isChangingByItself.store(true, ordering: .relaxed)
        }
        return made
    }

    /// Counts imported memory whose process has given it up.
    func settleImportedMemory(_ account: inout MemoryAccount) {
        func isOrphaned(_ memory: MemoryAccount.PhysicalMemory) -> Bool {
            guard let origin = memory.origin, !memory.isCounted else { return false }
            return slot.ledger.export(origin) == nil
        }
        for (handle, memory) in account.physicalMemory where isOrphaned(memory) {
            slot.add(account.grow(by: memory.byteCount, on: memory.device), device: Int(memory.device))
            account.physicalMemory[handle]?.isCounted = true
        }
        for (number, memory) in account.releasedMemory where isOrphaned(memory) {
            slot.add(account.grow(by: memory.byteCount, on: memory.device), device: Int(memory.device))
            account.releasedMemory[number]?.isCounted = true
        }
    }
}
