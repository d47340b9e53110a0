// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Testing

/// Multiprocessors and green contexts.
@Suite struct DriverContractGreenContexts {
    /// The smallest green context that the first device can have.
    private func smallest(_ fixture: DriverFixture) throws -> (GreenContextHandle, MultiprocessorResource) {
        let driver = fixture.driver
        let whole = try driver.cuDeviceGetDevResource(dev: 0)
        let split = try driver.cuDevSmResourceSplitByCount(input: whole.number, groups: 1, flags: 0, minCount: 1)
        let group = try #require(split.groups.first)
        let descriptor = try driver.cuDevResourceGenerateDesc(resources: [group.number])
        let flags = CU_GREEN_CTX_DEFAULT_STREAM.rawValue
        return (try driver.cuGreenCtxCreate(desc: descriptor, dev: 0, flags: flags), group)
    }

    private func stream(_ fixture: DriverFixture, _ green: GreenContextHandle) throws -> StreamHandle {
        try fixture.driver.cuGreenCtxStreamCreate(
            fixture.context, greenCtx: green, flags: CU_STREAM_NON_BLOCKING.rawValue, priority: 0)
    }

    @Test(arguments: DriverContract.subjects)
    func tellsTheMultiprocessorsOfADevice(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let device = try fixture.driver.describe().devices[0]
        let whole = try fixture.driver.cuDeviceGetDevResource(dev: 0)
        #expect(whole.count == UInt32(device[CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT]))
        #expect(whole.minPartition > 0 && whole.alignment > 0)
        // Asked again, the same.
        #expect(try fixture.driver.cuDeviceGetDevResource(dev: 0) == whole)
        #expect(throws: CUDAError.invalidDevice) { try fixture.driver.cuDeviceGetDevResource(dev: 99) }
        try fixture.needSecondDevice()
        #expect(try fixture.driver.cuDeviceGetDevResource(dev: 1).number != whole.number)
    }

    @Test(arguments: DriverContract.subjects)
    func splitsMultiprocessorsWithoutLosingAny(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let whole = try fixture.driver.cuDeviceGetDevResource(dev: 0)
        let split = try fixture.driver.cuDevSmResourceSplitByCount(
            input: whole.number, groups: 1000, flags: 0, minCount: 1)
        #expect(!split.groups.isEmpty)
        #expect(Set(split.groups.map(\.count)).count == 1)
        #expect(split.groups.allSatisfy { $0.count % $0.alignment == 0 })
        let total = split.groups.reduce(0) { $0 + $1.count } + (split.remainder?.count ?? 0)
        #expect(total == whole.count)
    }

    @Test(arguments: DriverContract.subjects)
    func findsTheSizeOfAGroupThatLeavesItOpen(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let whole = try fixture.driver.cuDeviceGetDevResource(dev: 0)
        let open = MultiprocessorGroup(count: 0, coscheduled: 2)
        let tried = try fixture.driver.cuDevSmResourceSplit(
            input: whole.number, groups: [open], makesResult: false, flags: 0)
        #expect(tried.groups.isEmpty)
        #expect(tried.counts == [whole.count / 2 * 2])
        let made = try fixture.driver.cuDevSmResourceSplit(
            input: whole.number, groups: [open], makesResult: true, flags: 0)
        #expect(made.groups.map(\.count) == tried.counts)
    }

    @Test(arguments: DriverContract.subjects)
    func refusesResourcesThatItHasNotTold(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        for number in [0, 999, UInt64.max] as [ResourceNumber] {
            #expect(throws: CUDAError.self) {
                try driver.cuDevSmResourceSplitByCount(input: number, groups: 1, flags: 0, minCount: 1)
            }
            #expect(throws: CUDAError.self) {
                try driver.cuDevSmResourceSplit(
                    input: number, groups: [MultiprocessorGroup(count: 0)], makesResult: true, flags: 0)
            }
            #expect(throws: CUDAError.self) { try driver.cuDevResourceGenerateDesc(resources: [number]) }
            #expect(throws: CUDAError.self) { try driver.cuGreenCtxCreate(desc: number, dev: 0, flags: 1) }
        }
        let whole = try driver.cuDeviceGetDevResource(dev: 0)
        // More than there are, and flags that nobody has defined.
        #expect(throws: CUDAError(CUDA_ERROR_INVALID_RESOURCE_CONFIGURATION)) {
            try driver.cuDevSmResourceSplitByCount(
                input: whole.number, groups: 1, flags: 0, minCount: whole.count + 1)
        }
        #expect(throws: CUDAError.invalidValue) {
            try driver.cuDevSmResourceSplitByCount(input: whole.number, groups: 1, flags: 0x80, minCount: 1)
        }
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func runsKernelsInAGreenContext(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (green, group) = try smallest(fixture)
        let told = try fixture.driver.cuGreenCtxGetDevResource(hCtx: green)
        #expect(told.count == group.count)
        // Modules and memory are the primary context's.
        let increment = try fixture.function("increment", in: ContractPTX.store)
        let address = try fixture.upload([0] as [UInt32])
        try fixture.synchronize()
        let stream = try stream(fixture, green)
        for _ in 0..<100 { try fixture.launch(increment, stream, .u64(address)) }
        #expect(try fixture.download(address, count: 1, of: UInt32(0), stream) == [100])
        try fixture.driver.cuStreamDestroy_v2(fixture.context, hStream: stream)
        try fixture.driver.cuGreenCtxDestroy(hCtx: green)
    }

    @Test(arguments: DriverContract.subjects)
    func leavesTheStreamsOfAnEndedGreenContextBehind(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (green, _) = try smallest(fixture)
        let stream = try stream(fixture, green)
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        try fixture.driver.cuGreenCtxDestroy(hCtx: green)
        #expect(throws: CUDAError(CUDA_ERROR_STREAM_DETACHED)) {
            try fixture.driver.cuStreamQuery(fixture.context, hStream: stream)
        }
        #expect(throws: CUDAError.invalidContext) { try fixture.driver.cuGreenCtxGetDevResource(hCtx: green) }
        // The context goes on, and the stream can be ended.
        try fixture.driver.cuCtxSynchronize(fixture.context)
        try fixture.driver.cuStreamDestroy_v2(fixture.context, hStream: stream)
        try fixture.driver.cuCtxSynchronize(fixture.context)
    }

    @Test(arguments: DriverContract.subjects)
    func eventOfAContextWaitsForAllItsStreams(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        let (green, _) = try smallest(fixture)
        let inside = try stream(fixture, green)
        let outside = try fixture.makeStream(nonBlocking: true)
        let event = try driver.cuEventCreate(fixture.context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
        let gate = try fixture.block(outside)
        // The green context has nothing to do, the primary one has.
        try driver.cuGreenCtxRecordEvent(fixture.context, hCtx: green, hEvent: event)
        try driver.cuEventSynchronize(fixture.context, hEvent: event)
        try driver.cuCtxRecordEvent(fixture.context, hEvent: event)
        #expect(throws: CUDAError.notReady) { try driver.cuEventQuery(fixture.context, hEvent: event) }
        gate.open()
        try driver.cuEventSynchronize(fixture.context, hEvent: event)
        let second = try fixture.block(inside)
        try driver.cuGreenCtxRecordEvent(fixture.context, hCtx: green, hEvent: event)
        #expect(throws: CUDAError.notReady) { try driver.cuEventQuery(fixture.context, hEvent: event) }
        second.open()
        try driver.cuEventSynchronize(fixture.context, hEvent: event)
        try driver.cuGreenCtxDestroy(hCtx: green)
    }

    @Test(arguments: DriverContract.subjects)
    func laterStreamsOfAContextWaitForAnEventToo(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let driver = fixture.driver
        let (green, _) = try smallest(fixture)
        let outside = try fixture.makeStream(nonBlocking: true)
        let event = try driver.cuEventCreate(fixture.context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
        let before = try stream(fixture, green)
        let gate = try fixture.block(outside)
        try driver.cuEventRecordWithFlags(fixture.context, hEvent: event, hStream: outside, flags: 0)
        try driver.cuGreenCtxWaitEvent(fixture.context, hCtx: green, hEvent: event)
        let after = try stream(fixture, green)
        let elsewhere = try fixture.makeStream(nonBlocking: true)
        for waiting in [before, after] {
            #expect(throws: CUDAError.notReady) {
                try driver.cuStreamQuery(fixture.context, hStream: waiting)
            }
        }
        try driver.cuStreamQuery(fixture.context, hStream: elsewhere)
        try driver.cuCtxWaitEvent(fixture.context, hEvent: event)
        #expect(throws: CUDAError.notReady) { try driver.cuStreamQuery(fixture.context, hStream: elsewhere) }
        gate.open()
        try driver.cuCtxSynchronize(fixture.context)
        for waiting in [before, after, elsewhere] { try driver.cuStreamQuery(fixture.context, hStream: waiting) }
        try driver.cuGreenCtxDestroy(hCtx: green)
    }
}
