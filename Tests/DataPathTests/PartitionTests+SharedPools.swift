// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CCUDA
import Driver
import SoftGPU
import Testing

@testable import PartitionedDriver

/// Memory of a pool that two processes of an allocation use counts once: ARC-14.
@Suite struct SharedPoolPartitionTests {
    private let ledger: AllocationLedger
    private let drivers: [PartitionedDriver]
    private let contexts: [ContextHandle]
    private let pool: MemoryPoolHandle
    private let exported: ShareableHandle
    private let imported: MemoryPoolHandle
    private static let byteCount = 24 << 20

    init() throws {
        let ledger = try AllocationLedger(deviceCount: 1, limitBytes: 64 << 20)
        drivers = try (0..<2).map { number in
            ledger.open(slot: number)
            return PartitionedDriver(
                try SoftGPU(SoftGPUConfiguration("1x256")), devices: [0], slot: try LedgerSlot(ledger, number: number))
        }
        contexts = try drivers.map { try $0.cuDevicePrimaryCtxRetain(dev: 0) }
        self.ledger = ledger
        pool = try drivers[0].cuMemPoolCreate(
            device: 0, handleTypes: CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue, maxSize: 0)
        exported = try drivers[0].cuMemPoolExportToShareableHandle(pool: pool)
        imported = try drivers[1].cuMemPoolImportFromShareableHandle(handle: exported)
    }

    private func allocate() throws -> CUdeviceptr {
        try drivers[0].cuMemAllocFromPoolAsync(
            contexts[0], bytesize: Self.byteCount - 100, pool: pool, hStream: .legacyDefault)
    }

    private func open(_ data: ShareableHandle) throws -> CUdeviceptr {
        let opened = try drivers[1].cuMemPoolImportPointer(contexts[1], pool: imported, shareData: data)
        #expect(opened.bytesize == Self.byteCount - 100)
        return opened.ptr
    }

    /// What all have together, when each has noticed what the others have given up.
    private func used() throws -> Int {
        for (driver, context) in zip(drivers, contexts) { _ = try driver.cuMemGetInfo_v2(context) }
        return ledger.usedBytes(device: 0)
    }

    @Test func countsWhereItWasAllocated() throws {
        let address = try allocate()
        let opened = try open(drivers[0].cuMemPoolExportPointer(contexts[0], ptr: address))
        #expect(try used() == Self.byteCount)
        try drivers[1].cuMemFree_v2(contexts[1], dptr: opened)
        #expect(try used() == Self.byteCount)
        try drivers[0].cuMemFree_v2(contexts[0], dptr: address)
        #expect(try used() == Self.byteCount, "what was exported stays in its pool")
        try drivers[0].cuMemPoolDestroy(pool: pool)
        #expect(try used() == 0)
    }

    @Test func countsWhereItIsOpenWhenItsPoolIsGone() throws {
        let address = try allocate()
        let data = try drivers[0].cuMemPoolExportPointer(contexts[0], ptr: address)
        let opened = try open(data)
        try drivers[0].cuMemPoolDestroy(pool: pool)
        #expect(try used() == Self.byteCount, "its process has it still")
        try drivers[0].cuMemFree_v2(contexts[0], dptr: address)
        #expect(try used() == Self.byteCount, "now it counts where it is open")
        #expect(throws: CUDAError.invalidValue) { try open(data) }
        #expect(throws: CUDAError.invalidHandle) {
            try drivers[1].cuMemPoolImportFromShareableHandle(handle: exported)
        }
        try drivers[1].cuMemFreeAsync(contexts[1], dptr: opened, hStream: .legacyDefault)
        try drivers[1].cuCtxSynchronize(contexts[1])
        #expect(try used() == 0)
    }

    @Test func freedMemoryOfALivingPoolCountsOnce() throws {
        let address = try allocate()
        let opened = try open(drivers[0].cuMemPoolExportPointer(contexts[0], ptr: address))
        try drivers[0].cuMemFree_v2(contexts[0], dptr: address)
        #expect(try used() == Self.byteCount)
        // Nothing that counts stands in its own way.
        #expect(try allocate() == address)
        #expect(try used() == Self.byteCount)
        try drivers[1].cuMemFree_v2(contexts[1], dptr: opened)
        #expect(try used() == Self.byteCount)
    }

    @Test func aProcessThatDiesLeavesWhatIsOpenAndNothingElse() throws {
        let address = try allocate()
        let opened = try open(drivers[0].cuMemPoolExportPointer(contexts[0], ptr: address))
        _ = try drivers[0].cuMemPoolExportPointer(contexts[0], ptr: allocate())
        #expect(try used() == 2 * Self.byteCount)
        // As the dispatcher does when a worker has ended.
        ledger.clear(slot: 0)
        _ = try drivers[1].cuMemGetInfo_v2(contexts[1])
        #expect(ledger.usedBytes(device: 0) == Self.byteCount)
        try drivers[1].cuMemFree_v2(contexts[1], dptr: opened)
        #expect(ledger.usedBytes(device: 0) == 0)
    }

    @Test func givesBackWhatACountedContextHadOpen() throws {
        let address = try allocate()
        _ = try open(drivers[0].cuMemPoolExportPointer(contexts[0], ptr: address))
        ledger.clear(slot: 0)
        _ = try drivers[1].cuMemGetInfo_v2(contexts[1])
        #expect(ledger.usedBytes(device: 0) == Self.byteCount)
        try drivers[1].cuDevicePrimaryCtxRelease_v2(dev: 0, context: contexts[1])
        #expect(ledger.usedBytes(device: 0) == 0)
    }
}
