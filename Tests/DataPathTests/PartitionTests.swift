// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CCUDA
import Driver
import SoftGPU
import Testing

@testable import PartitionedDriver

/// What a partition counts of a driver, and gives back exactly: ARC-14, for all processes of an allocation.
@Suite struct PartitionTests {
    /// Two processes of one allocation of 64 MiB, each with its own driver of a larger GPU.
    private struct Pair {
        let ledger: AllocationLedger
        let drivers: [PartitionedDriver]
        let contexts: [ContextHandle]

        init(limitBytes: Int? = 64 << 20) throws {
            let ledger = try AllocationLedger(deviceCount: 1, limitBytes: limitBytes)
            drivers = try (0..<2).map { number in
                ledger.open(slot: number)
                return PartitionedDriver(
                    try SoftGPU(SoftGPUConfiguration("1x256")), devices: [0],
                    slot: try LedgerSlot(ledger, number: number)
                )
            }
            contexts = try drivers.map { try $0.cuDevicePrimaryCtxRetain(dev: 0) }
            self.ledger = ledger
        }

        var used: Int { ledger.usedBytes(device: 0) }

        func expectAgreement(sourceLocation: SourceLocation = #_sourceLocation) throws {
            for (driver, context) in zip(drivers, contexts) {
                let (free, total) = try driver.cuMemGetInfo_v2(context)
                #expect(total == 64 << 20 && free == total - used, sourceLocation: sourceLocation)
            }
        }
    }

    @Test func processesShareOnePartition() throws {
        let pair = try Pair()
        let (first, second) = (pair.drivers[0], pair.drivers[1])
        let held = try first.cuMemAlloc_v2(pair.contexts[0], bytesize: 40 << 20)
        #expect(throws: CUDAError.outOfMemory) { try second.cuMemAlloc_v2(pair.contexts[1], bytesize: 24 << 20 | 1) }
        let rest = try second.cuMemAlloc_v2(pair.contexts[1], bytesize: 24 << 20)
        #expect(try first.cuMemGetInfo_v2(pair.contexts[0]).free == 0)
        try pair.expectAgreement()
        try first.cuMemFree_v2(pair.contexts[0], dptr: held)
        try second.cuMemFree_v2(pair.contexts[1], dptr: rest)
        #expect(pair.used == 0)
        #expect(try pair.drivers[0].describe().devices[0].totalBytes == 64 << 20)
    }

    @Test func countsWhatTheDriverTakes() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let small = try (0..<10).map { _ in try driver.cuMemAlloc_v2(context, bytesize: 1) }
        #expect(pair.used == 10 * 4096)
        let (rows, pitch) = try driver.cuMemAllocPitch_v2(
            context, widthInBytes: 100, height: 100, elementSizeBytes: 4)
        #expect(pair.used == (10 + (pitch * 100 + 4095) / 4096) * 4096)
        try pair.expectAgreement()
        for address in small + [rows] { try driver.cuMemFree_v2(context, dptr: address) }
        #expect(pair.used == 0)
        // A row more than there is; counted by its pitch, not by its width.
        #expect(throws: CUDAError.outOfMemory) {
            try driver.cuMemAllocPitch_v2(context, widthInBytes: 1, height: 1 << 20, elementSizeBytes: 4)
        }
        #expect(throws: CUDAError.invalidValue) { try driver.cuMemAlloc_v2(context, bytesize: 0) }
        #expect(pair.used == 0)
    }

    @Test func countsWhatPoolsKeep() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let pool = try driver.cuMemPoolCreate(device: 0, handleTypes: 0, maxSize: 0)
        try driver.cuMemPoolSetAttribute(
            pool: pool, attr: CU_MEMPOOL_ATTR_RELEASE_THRESHOLD.rawValue, value: UInt64.max)
        let address = try driver.cuMemAllocFromPoolAsync(
            context, bytesize: 48 << 20, pool: pool, hStream: .legacyDefault)
        try driver.cuMemFreeAsync(context, dptr: address, hStream: .legacyDefault)
        try driver.cuCtxSynchronize(context)
        #expect(pair.used == 48 << 20, "it is kept")
        #expect(throws: CUDAError.outOfMemory) {
            try pair.drivers[1].cuMemAlloc_v2(pair.contexts[1], bytesize: 32 << 20)
        }
        // The same process gets at it: from the pool, and from elsewhere when there is nothing else.
        let again = try driver.cuMemAllocFromPoolAsync(
            context, bytesize: 48 << 20, pool: pool, hStream: .legacyDefault)
        #expect(pair.used == 48 << 20)
        try driver.cuMemFreeAsync(context, dptr: again, hStream: .legacyDefault)
        try driver.cuCtxSynchronize(context)
        let direct = try driver.cuMemAlloc_v2(context, bytesize: 60 << 20)
        #expect(pair.used == 60 << 20)
        try driver.cuMemFree_v2(context, dptr: direct)
        #expect(pair.used == 0)
    }

    @Test func aDestroyedPoolsMemoryCountsUntilItIsFreed() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let pool = try driver.cuMemPoolCreate(device: 0, handleTypes: 0, maxSize: 0)
        let addresses = try (0..<2).map { _ in
            try driver.cuMemAllocFromPoolAsync(context, bytesize: 8 << 20, pool: pool, hStream: .legacyDefault)
        }
        try driver.cuMemPoolDestroy(pool: pool)
        #expect(pair.used == 16 << 20)
        try driver.cuMemFree_v2(context, dptr: addresses[0])
        #expect(pair.used == 8 << 20)
        try driver.cuMemFreeAsync(context, dptr: addresses[1], hStream: .legacyDefault)
        try driver.cuCtxSynchronize(context)
        #expect(pair.used == 0)
    }

    @Test func whatAStreamStillUsesCounts() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let stream = try driver.cuStreamCreateWithPriority(
            context, flags: CU_STREAM_NON_BLOCKING.rawValue, priority: 0)
        let address = try driver.cuMemAlloc_v2(context, bytesize: 40 << 20)
        let gate = Gate()
        try driver.cuLaunchHostFunc(context, stream: stream) { gate.wait() }
        try driver.cuMemFreeAsync(context, dptr: address, hStream: stream)
        #expect(throws: CUDAError.outOfMemory) { try driver.cuMemAlloc_v2(context, bytesize: 40 << 20) }
        // Nobody waits for a stream that waits for a host function.
        #expect(throws: CUDAError.outOfMemory) {
            try driver.cuMemAllocAsync(context, bytesize: 40 << 20, hStream: stream)
        }
        #expect(pair.used == 40 << 20)
        gate.open()
        try driver.cuStreamSynchronize(context, hStream: stream)
        #expect(pair.used == 0)
    }

    @Test func countsTheVariablesOfModules() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let module = try load(variables(bytes: 20 << 20), driver, context)
        #expect(pair.used == 20 << 20)
        #expect(throws: CUDAError.outOfMemory) { try load(variables(bytes: 50 << 20), driver, context) }
        #expect(pair.used == 20 << 20, "a module that did not fit has left something")
        #expect(throws: CUDAError.self) { try load("no PTX", driver, context) }
        #expect(pair.used == 20 << 20)
        try driver.cuModuleUnload(context, hmod: module)
        #expect(pair.used == 0)
    }

    @Test func countsTheHeapOfKernels() throws {
        let pair = try Pair()
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        let heap = CU_LIMIT_MALLOC_HEAP_SIZE.rawValue
        #expect(throws: CUDAError.outOfMemory) { try driver.cuCtxSetLimit(context, limit: heap, value: 65 << 20) }
        try driver.cuCtxSetLimit(context, limit: heap, value: 32 << 20)
        #expect(pair.used == 32 << 20, "it is counted before a kernel takes it")
        try driver.cuCtxSetLimit(context, limit: heap, value: 16 << 20)
        #expect(pair.used == 16 << 20)
        let module = try load(allocating, driver, context)
        #expect(pair.used == 16 << 20)
        #expect(try pair.drivers[0].driver.cuMemGetInfo_v2(context).free == 240 << 20)
        try driver.cuCtxSetLimit(context, limit: heap, value: 24 << 20)
        #expect(pair.used == 24 << 20)
        try driver.cuModuleUnload(context, hmod: module)
        #expect(pair.used == 24 << 20, "the heap stays with its context")
        try driver.cuDevicePrimaryCtxRelease_v2(dev: 0, context: context)
        #expect(pair.used == 0)
    }

    @Test func countsTheHeapThatNobodyHasSet() throws {
        let pair = try Pair()
        _ = try load(allocating, pair.drivers[0], pair.contexts[0])
        #expect(pair.used == 8 << 20)
        try pair.expectAgreement()
    }

    @Test func givesEverythingBackWithTheContext() throws {
        let pair = try Pair()
        let driver = pair.drivers[0]
        for isPrimary in [true, false] {
            let context =
                isPrimary ? pair.contexts[0] : try driver.cuCtxCreate_v2(flags: 0, dev: 0)
            _ = try driver.cuMemAlloc_v2(context, bytesize: 1 << 20)
            _ = try driver.cuMemAllocAsync(context, bytesize: 1 << 20, hStream: .legacyDefault)
            let freed = try driver.cuMemAlloc_v2(context, bytesize: 1 << 20)
            try driver.cuMemFreeAsync(context, dptr: freed, hStream: .legacyDefault)
            _ = try load(variables(bytes: 1 << 20), driver, context)
            #expect(pair.used > 0)
            if isPrimary {
                // Retained twice, released twice.
                #expect(try driver.cuDevicePrimaryCtxRetain(dev: 0) == context)
                try driver.cuDevicePrimaryCtxRelease_v2(dev: 0, context: context)
                #expect(pair.used > 0)
                #expect(pair.ledger.processes.count == 2)
                try driver.cuDevicePrimaryCtxRelease_v2(dev: 0, context: context)
            } else {
                try driver.cuCtxDestroy_v2(ctx: context)
            }
            #expect(pair.used == 0)
            #expect(pair.ledger.processes.count == 1)
        }
    }

    @Test func knowsWhatIsUsedOfWholeGPUs() throws {
        let pair = try Pair(limitBytes: nil)
        let (driver, context) = (pair.drivers[0], pair.contexts[0])
        _ = try driver.cuMemAlloc_v2(context, bytesize: 100 << 20)
        #expect(pair.used == 100 << 20)
        #expect(try driver.cuMemGetInfo_v2(context) == (156 << 20, 256 << 20))
    }

    @Test func smallAllocationsShareBlocks() {
        var rounding = Rounding(blockBytes: 2 << 20, sharesBlocks: true)
        #expect(rounding.grow(by: 1) == 2 << 20)
        #expect(rounding.grow(by: 1 << 20) == 0)
        #expect(rounding.grow(by: 1 << 20) == 2 << 20)
        #expect(rounding.grow(by: 2 << 20 | 1) == 4 << 20)
        #expect(rounding.shrink(by: 2 << 20 | 1) == 4 << 20)
        #expect(rounding.shrink(by: 1 << 20) == 2 << 20)
        #expect(rounding.shrink(by: 1 << 20) == 0)
        #expect(rounding.shrink(by: 1) == 2 << 20)
    }

    // MARK: Programs

    private func load(
        _ text: String, _ driver: PartitionedDriver, _ context: ContextHandle
    ) throws -> ModuleHandle {
        var log = JITLog()
        return try driver.cuModuleLoadDataEx(context, image: Array(text.utf8).span.bytes, options: [], log: &log)
    }

    private func variables(bytes: Int) -> String {
        ".version 7.0\n.target sm_75\n.address_size 64\n.visible .global .align 4 .b8 large[\(bytes)];\n"
    }

    private let allocating = """
        .version 7.0
        .target sm_75
        .address_size 64
        .extern .func (.param .b64 func_retval0) malloc (.param .b64 malloc_param_0);
        .visible .entry allocate(.param .u64 target)
        {
            .reg .b64 %rd<4>;
            mov.u64 %rd1, 64;
            {
                .param .b64 param0;
                st.param.b64 [param0+0], %rd1;
                .param .b64 retval0;
                call.uni (retval0), malloc, (param0);
                ld.param.b64 %rd2, [retval0+0];
            }
            ld.param.u64 %rd3, [target];
            st.global.u64 [%rd3], %rd2;
            ret;
        }

        """
}
