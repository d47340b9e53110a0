// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Pools whose memory other processes use.
///
/// Here one process imports its own, so that the contract needs no second one; `shared_pools.cu` has two.
@Suite struct DriverContractSharedPools {
    private static let fileDescriptor = CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR.rawValue

    /// A pool, and the same pool as another process has it.
    private struct Pair {
        let fixture: DriverFixture
        let own: MemoryPoolHandle
        let exported: ShareableHandle
        let imported: MemoryPoolHandle

        init(_ fixture: DriverFixture) throws {
            self.fixture = fixture
            own = try fixture.driver.cuMemPoolCreate(device: 0, handleTypes: fileDescriptor, maxSize: 0)
            exported = try fixture.driver.cuMemPoolExportToShareableHandle(pool: own)
            imported = try fixture.driver.cuMemPoolImportFromShareableHandle(handle: exported)
        }

        func allocate(_ byteCount: Int) throws -> CUdeviceptr {
            try fixture.driver.cuMemAllocFromPoolAsync(
                fixture.context, bytesize: byteCount, pool: own, hStream: .legacyDefault)
        }

        func export(_ address: CUdeviceptr) throws -> ShareableHandle {
            try fixture.driver.cuMemPoolExportPointer(fixture.context, ptr: address)
        }

        func open(_ data: ShareableHandle) throws -> (ptr: CUdeviceptr, bytesize: Int) {
            try fixture.driver.cuMemPoolImportPointer(fixture.context, pool: imported, shareData: data)
        }

        func attribute(_ attribute: CUmemPool_attribute, of pool: MemoryPoolHandle) throws -> UInt64 {
            try fixture.driver.cuMemPoolGetAttribute(pool: pool, attr: attribute.rawValue)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func opensMemoryOfAnImportedPool(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let pair = try Pair(fixture)
        let address = try pair.allocate(1 << 20)
        try fixture.write([1, 2, 3] as [UInt32], to: address)
        let before = try fixture.driver.cuMemGetInfo_v2(fixture.context).free
        let (opened, byteCount) = try pair.open(pair.export(address))
        #expect(opened != address && byteCount == 1 << 20)
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before, "it counts once")
        #expect(try fixture.download(opened, count: 3, of: UInt32(0)) == [1, 2, 3])
        let store = try fixture.function("store", in: ContractPTX.store)
        try fixture.launch(store, .legacyDefault, .u64(UInt64(opened + 4)), .u32(7))
        #expect(try fixture.download(address, count: 3, of: UInt32(0)) == [1, 7, 3])
        #expect(try pair.attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT, of: pair.imported) == 1 << 20)
        try fixture.free(opened)
        #expect(try pair.attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT, of: pair.imported) == 0)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.free(opened) }
        #expect(try fixture.download(address, count: 3, of: UInt32(0)) == [1, 7, 3])
        #expect(try fixture.driver.cuMemGetInfo_v2(fixture.context).free == before)
    }

    @Test(arguments: DriverContract.subjects)
    func freesImportedMemoryInTheOrderOfAStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let pair = try Pair(fixture)
        let address = try pair.allocate(4096)
        try fixture.write([5] as [UInt32], to: address)
        try fixture.synchronize()
        let opened = try pair.open(pair.export(address)).ptr
        let target = try fixture.upload([0] as [UInt32])
        let stream = try fixture.makeStream(nonBlocking: true)
        let gate = try fixture.block(stream)
        try fixture.driver.cuMemcpyDtoDAsync_v2(
            fixture.context, dstDevice: target, srcDevice: opened, byteCount: 4, hStream: stream)
        try fixture.driver.cuMemFreeAsync(fixture.context, dptr: opened, hStream: stream)
        gate.open()
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        #expect(try fixture.download(target, count: 1, of: UInt32(0)) == [5])
        #expect(try pair.attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT, of: pair.imported) == 0)
    }

    @Test(arguments: DriverContract.subjects)
    func allocatesNothingFromAnImportedPool(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let pair = try Pair(fixture)
        let opened = try pair.open(pair.export(pair.allocate(4096))).ptr
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemAllocFromPoolAsync(
                fixture.context, bytesize: 4096, pool: pair.imported, hStream: .legacyDefault)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemPoolExportToShareableHandle(pool: pair.imported)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try pair.export(opened) }
        #expect(try pair.attribute(CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES, of: pair.imported) == 0)
        #expect(
            try pair.attribute(CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES, of: pair.own) == UInt64(Self.fileDescriptor))
    }

    @Test(arguments: DriverContract.subjects)
    func refusesWhatIsNotOfThePool(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (pair, other) = (try Pair(fixture), try Pair(fixture))
        let data = try pair.export(pair.allocate(4096))
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try other.open(data) }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try pair.open(pair.exported) }
        for byte in [0, 8, 16, 20, 31] {
            var forged = data.bytes
            forged[byte] ^= 1
            let handle = try #require(ShareableHandle(forged))
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { _ = try pair.open(handle) }
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemPoolImportPointer(fixture.context, pool: pair.own, shareData: data)
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            _ = try fixture.driver.cuMemPoolImportFromShareableHandle(handle: data)
        }
        try fixture.driver.cuMemPoolDestroy(pool: other.own)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            _ = try fixture.driver.cuMemPoolImportFromShareableHandle(handle: other.exported)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func exportsOnlyPoolsThatWereMadeForIt(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let plain = try fixture.driver.cuMemPoolCreate(device: 0, handleTypes: 0, maxSize: 0)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuMemPoolExportToShareableHandle(pool: plain)
        }
        let ordered = try fixture.driver.cuMemAllocFromPoolAsync(
            fixture.context, bytesize: 4096, pool: plain, hStream: .legacyDefault)
        for address in [ordered, try fixture.allocate(4096), 0x1234] {
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
                _ = try fixture.driver.cuMemPoolExportPointer(fixture.context, ptr: address)
            }
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) {
            _ = try fixture.driver.cuMemPoolCreate(device: 0, handleTypes: 8, maxSize: 0)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func whatWasExportedStaysUntilThePoolEnds(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let pair = try Pair(fixture)
        let addresses = [try pair.allocate(1 << 20), try pair.allocate(1 << 20)]
        let opened = try pair.open(pair.export(addresses[0])).ptr
        try fixture.write([9] as [UInt32], to: opened)
        for address in addresses {
            try fixture.driver.cuMemFreeAsync(fixture.context, dptr: address, hStream: .legacyDefault)
        }
        try fixture.synchronize()
        try fixture.driver.cuMemPoolTrimTo(pool: pair.own, minBytesToKeep: 0)
        #expect(try pair.attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, of: pair.own) == 1 << 20)
        #expect(try pair.allocate(1 << 20) == addresses[0], "it is used again")
        try fixture.driver.cuMemPoolDestroy(pool: pair.own)
        try fixture.driver.cuMemPoolDestroy(pool: pair.imported)
        #expect(try fixture.download(opened, count: 1, of: UInt32(0)) == [9])
        try fixture.free(opened)
    }
}
