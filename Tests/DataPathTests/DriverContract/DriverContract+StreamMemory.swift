// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Values in memory that streams write and wait for.
@Suite struct DriverContractStreamMemory {
    private typealias Operation = StreamMemoryOperation

    @Test(arguments: DriverContract.subjects)
    func writesValuesInTheOrderOfTheStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([1, 1, 1, 1] as [UInt32])
        try fixture.synchronize()
        let gate = try fixture.block(stream)
        try fixture.enqueue(
            [
                Operation(.write32, address: address, value: 7),
                Operation(.barrier),
                Operation(.write64, address: address + 8, value: 0x0000_0009_0000_0008, flags: 1),
            ], stream)
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [1])
        gate.open()
        #expect(try fixture.download(address, count: 4, of: UInt32(0), stream) == [7, 1, 8, 9])
    }

    /// The stream that waits holds up neither another stream nor the calls of the same thread.
    @Test(arguments: DriverContract.subjects)
    func waitsWithoutHoldingUpOthers(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let waiting = try fixture.makeStream(nonBlocking: true)
        let other = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([0, 0] as [UInt64])
        let unrelated = try fixture.upload([5] as [UInt32])
        try fixture.synchronize()
        try fixture.enqueue([Operation(.wait64, address: address, value: 3)], waiting)
        try fixture.enqueue([Operation(.write32, address: address + 8, value: 1)], waiting)
        #expect(try fixture.download(unrelated, count: 1, of: UInt32(0), other) == [5])
        #expect(throws: CUDAError.notReady) {
            try fixture.driver.cuStreamQuery(fixture.context, hStream: waiting)
        }
        #expect(try fixture.download(address, count: 2, of: UInt64(0), other) == [0, 0])
        try fixture.enqueue([Operation(.write64, address: address, value: 4)], other)
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: waiting)
        #expect(try fixture.download(address, count: 2, of: UInt64(0), other) == [4, 1])
    }

    /// Each condition is false for the first value and true for the second.
    @Test(arguments: DriverContract.subjects)
    func knowsEveryCondition(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let waiting = try fixture.makeStream(nonBlocking: true)
        let other = try fixture.makeStream(nonBlocking: true)
        let conditions: [(flags: CUstreamWaitValue_flags, value: UInt32, before: UInt32, after: UInt32)] = [
            (CU_STREAM_WAIT_VALUE_GEQ, 5, 4, 6),
            // Counters wrap: 1 comes after 0xffff_fff0.
            (CU_STREAM_WAIT_VALUE_GEQ, 1, 0xffff_fff0, 2),
            (CU_STREAM_WAIT_VALUE_EQ, 5, 6, 5),
            (CU_STREAM_WAIT_VALUE_AND, 4, 3, 12),
            (CU_STREAM_WAIT_VALUE_NOR, 0xffff_0000, 0x0000_ffff, 0x0000_fffe),
        ]
        for condition in conditions {
            let address = try fixture.upload([condition.before])
            try fixture.synchronize()
            try fixture.enqueue(
                [
                    Operation(
                        .wait32, address: address, value: UInt64(condition.value), flags: condition.flags.rawValue)
                ], waiting)
            #expect(throws: CUDAError.notReady, "\(condition)") {
                // Long enough for somebody who looks at the value to look again.
                for _ in 0..<20 { try fixture.driver.cuStreamQuery(fixture.context, hStream: other) }
                try fixture.driver.cuStreamQuery(fixture.context, hStream: waiting)
            }
            try fixture.enqueue([Operation(.write32, address: address, value: UInt64(condition.after))], other)
            try fixture.driver.cuStreamSynchronize(fixture.context, hStream: waiting)
        }
    }

    /// A free waits for the work that may use the memory; the value that this waits for comes after it.
    @Test(arguments: DriverContract.subjects.filter { $0.name.contains("remote") })
    func readsOnWhileAFreeWaitsForAValue(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let waiting = try fixture.makeStream()
        let other = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([0] as [UInt32])
        let freed = try fixture.allocate(100)
        try fixture.synchronize()
        try fixture.enqueue([Operation(.wait32, address: address, value: 1)], waiting)
        try fixture.free(freed)
        try fixture.enqueue([Operation(.write32, address: address, value: 1)], other)
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: waiting)
    }

    @Test(arguments: DriverContract.subjects)
    func endsAContextWhoseStreamWaits(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let context = try fixture.driver.cuCtxCreate_v2(flags: 0, dev: 0)
        let address = try fixture.driver.cuMemAlloc_v2(context, bytesize: 4)
        try fixture.driver.cuMemsetD32Async(context, dstDevice: address, ui: 0, n: 1, hStream: .legacyDefault)
        let stream = try fixture.driver.cuStreamCreateWithPriority(
            context, flags: CU_STREAM_NON_BLOCKING.rawValue, priority: 0)
        try fixture.driver.cuStreamBatchMemOp_v2(
            context, stream: stream, operations: [Operation(.wait32, address: address, value: 1)])
        if !subject.name.contains("remote") { try fixture.driver.cuCtxDestroy_v2(ctx: context) }
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func refusesBadOperations(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream()
        let address = try fixture.upload([0] as [UInt64])
        for operation in [
            Operation(.write32, address: address + 2), Operation(.write64, address: address + 4),
            Operation(.write32, address: 0), Operation(.write32, address: address, flags: 2),
            Operation(.wait32, address: address, flags: 4), Operation(.wait64, address: address + 8),
            Operation(.wait32, address: 0x1000),
        ] {
            fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) { try fixture.enqueue([operation], stream) }
        }
        fixture.expectRefusal(CUDA_ERROR_NOT_SUPPORTED) { try fixture.enqueue([Operation(.flushRemoteWrites)], stream) }
    }
}

extension DriverFixture {
    fileprivate func enqueue(_ operations: [StreamMemoryOperation], _ stream: StreamHandle) throws {
        try driver.cuStreamBatchMemOp_v2(context, stream: stream, operations: operations)
    }
}
