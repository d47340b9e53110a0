// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Memory in the order of streams.
@Suite struct DriverContractPools {
    @Test(arguments: DriverContract.subjects)
    func allocatesInTheOrderOfAStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let stream = try fixture.makeStream()
        for round in 0..<50 {
            let address = try driver.cuMemAllocAsync(context, bytesize: 10_000, hStream: stream)
            try driver.cuMemsetD8Async(
                context, dstDevice: address, uc: UInt8(round), n: 10_000, hStream: stream)
            if round == 49 {
                let bytes = try fixture.download(address, count: 10_000, of: UInt8(0), stream)
                #expect(bytes == [UInt8](repeating: 49, count: 10_000))
            }
            try driver.cuMemFreeAsync(context, dptr: address, hStream: stream)
        }
        try driver.cuStreamSynchronize(context, hStream: stream)
    }

    @Test(arguments: DriverContract.subjects)
    func givesMemoryBackToTheDevice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let before = try driver.cuMemGetInfo_v2(context).free
        let address = try driver.cuMemAllocAsync(context, bytesize: 32 << 20, hStream: .legacyDefault)
        #expect(try driver.cuMemGetInfo_v2(context).free <= before - 32 << 20)
        try driver.cuMemFreeAsync(context, dptr: address, hStream: .legacyDefault)
        try fixture.synchronize()
        #expect(try driver.cuMemGetInfo_v2(context).free == before)
    }

    @Test(arguments: DriverContract.subjects)
    func usesMemoryAgainThatWasFreedBefore(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let total = try driver.cuMemGetInfo_v2(context).total
        let stream = try fixture.makeStream()
        // More than the device has, were it not for the frees in between.
        for _ in 0..<6 {
            let address = try driver.cuMemAllocAsync(context, bytesize: total / 3, hStream: stream)
            try driver.cuMemsetD8Async(context, dstDevice: address, uc: 1, n: 100, hStream: stream)
            try driver.cuMemFreeAsync(context, dptr: address, hStream: stream)
        }
        try driver.cuStreamSynchronize(context, hStream: stream)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesToFreeTwice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let address = try driver.cuMemAllocAsync(context, bytesize: 100, hStream: .legacyDefault)
        try driver.cuMemFreeAsync(context, dptr: address, hStream: .legacyDefault)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            try driver.cuMemFreeAsync(context, dptr: address, hStream: .legacyDefault)
        }
        let other = try driver.cuMemAllocAsync(context, bytesize: 100, hStream: .legacyDefault)
        try fixture.free(other)
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try driver.cuMemAllocAsync(context, bytesize: 0, hStream: .legacyDefault)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func countsThePoolsMemory(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let pool = try driver.cuMemPoolCreate(device: 0, handleTypes: 0, maxSize: 0)
        func attribute(_ attribute: CUmemPool_attribute) throws -> UInt64 {
            try driver.cuMemPoolGetAttribute(pool: pool, attr: attribute.rawValue)
        }
        try driver.cuMemPoolSetAttribute(
            pool: pool, attr: CU_MEMPOOL_ATTR_RELEASE_THRESHOLD.rawValue, value: UInt64.max)
        #expect(try attribute(CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) == UInt64.max)
        let address = try driver.cuMemAllocFromPoolAsync(
            context, bytesize: 1 << 20, pool: pool, hStream: .legacyDefault)
        try fixture.synchronize()
        #expect(try attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 1 << 20)
        #expect(try attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= 1 << 20)
        try driver.cuMemFreeAsync(context, dptr: address, hStream: .legacyDefault)
        try fixture.synchronize()
        #expect(try attribute(CU_MEMPOOL_ATTR_USED_MEM_CURRENT) == 0)
        #expect(try attribute(CU_MEMPOOL_ATTR_USED_MEM_HIGH) == 1 << 20)
        // The threshold keeps it reserved until the pool is trimmed.
        #expect(try attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) >= 1 << 20)
        try driver.cuMemPoolTrimTo(pool: pool, minBytesToKeep: 0)
        #expect(try attribute(CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT) == 0)
        try driver.cuMemPoolDestroy(pool: pool)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_INVALID_VALUE) {
            try driver.cuMemPoolTrimTo(pool: pool, minBytesToKeep: 0)
        }
    }

    @Test(arguments: DriverContract.subjects)
    func everyDeviceHasItsDefaultPool(_ subject: DriverContract.Subject) throws {
        let driver = try subject.makeDriver()
        let count = try driver.describe().devices.count
        let pools = try (0..<count).map { try driver.cuDeviceGetDefaultMemPool(dev: Int32($0)) }
        #expect(Set(pools).count == count)
        #expect(throws: CUDAError.self) { try driver.cuMemPoolDestroy(pool: pools[0]) }
    }
}
