// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization
import Testing

/// Streams, events and host functions.
@Suite struct DriverContractStreams {
    @Test(arguments: DriverContract.subjects)
    func doesTheWorkOfAStreamInOrder(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let increment = try fixture.function("increment", in: ContractPTX.store)
        let stream = try fixture.makeStream()
        let address = try fixture.upload([0] as [UInt32])
        for _ in 0..<3000 { try fixture.launch(increment, stream, .u64(address)) }
        #expect(try fixture.download(address, count: 1, of: UInt32(0), stream) == [3000])
        try fixture.driver.cuStreamDestroy_v2(fixture.context, hStream: stream)
    }

    @Test(arguments: DriverContract.subjects)
    func saysWhetherAStreamHasWork(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream(nonBlocking: true)
        try fixture.driver.cuStreamQuery(fixture.context, hStream: stream)
        let gate = try fixture.block(stream)
        #expect(throws: CUDAError.notReady) { try fixture.driver.cuStreamQuery(fixture.context, hStream: stream) }
        gate.open()
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        try fixture.driver.cuStreamQuery(fixture.context, hStream: stream)
    }

    @Test(arguments: DriverContract.subjects)
    func legacyStreamWaitsForBlockingStreams(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream()
        let address = try fixture.upload([1] as [UInt32])
        let gate = try fixture.block(stream)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 2, n: 1, hStream: stream)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 3, n: 1, hStream: .legacyDefault)
        #expect(throws: CUDAError.notReady) {
            try fixture.driver.cuStreamQuery(fixture.context, hStream: .legacyDefault)
        }
        gate.open()
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [3])
    }

    @Test(arguments: DriverContract.subjects)
    func blockingStreamsWaitForTheLegacyStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream()
        let address = try fixture.upload([1] as [UInt32])
        let gate = try fixture.block(.legacyDefault)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 2, n: 1, hStream: .legacyDefault)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 3, n: 1, hStream: stream)
        #expect(throws: CUDAError.notReady) { try fixture.driver.cuStreamQuery(fixture.context, hStream: stream) }
        gate.open()
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [3])
    }

    @Test(arguments: DriverContract.subjects)
    func nonBlockingStreamsDoNotWait(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([1] as [UInt32])
        try fixture.synchronize()
        let gate = try fixture.block(.legacyDefault)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 2, n: 1, hStream: stream)
        #expect(try fixture.download(address, count: 1, of: UInt32(0), stream) == [2])
        gate.open()
        try fixture.synchronize()
    }

    @Test(arguments: DriverContract.subjects)
    func callsHostFunctionsInOrder(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream()
        let shared = SharedCalls()
        for number in 0..<100 {
            try fixture.driver.cuLaunchHostFunc(fixture.context, stream: stream) { shared.note(number) }
        }
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        #expect(shared.numbers == Array(0..<100))
    }

    /// A stream that is full behind a host function stops whoever fills it, and nobody else.
    @Test(.timeLimit(.minutes(2)), arguments: DriverContract.subjects)
    func goesOnWhenAStreamIsFullBehindAHostFunction(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let increment = try fixture.function("increment", in: ContractPTX.store)
        let address = try fixture.upload([0] as [UInt32])
        let stream = try fixture.makeStream()
        for _ in 0..<3 {
            try driver.cuLaunchHostFunc(context, stream: stream) { usleep(20_000) }
            for _ in 0..<3000 { try fixture.launch(increment, stream, .u64(address)) }
        }
        try driver.cuStreamSynchronize(context, hStream: stream)
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [9000])
        // The function waits for what comes after many calls on another stream.
        let other = try fixture.makeStream(nonBlocking: true)
        let gate = try fixture.block(try fixture.makeStream(nonBlocking: true))
        for _ in 0..<2000 { try fixture.launch(increment, other, .u64(address)) }
        try driver.cuStreamSynchronize(context, hStream: other)
        gate.open()
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [11000])
    }

    private final class SharedCalls: Sendable {
        private let calls = Mutex<[Int]>([])
        func note(_ number: Int) { calls.withLock { $0.append(number) } }
        var numbers: [Int] { calls.withLock { $0 } }
    }

    @Test(arguments: DriverContract.subjects)
    func reusesTheSourceOfACopyAfterTheCall(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([0, 0, 0, 0] as [UInt32])
        try fixture.synchronize()
        let gate = try fixture.block(stream)
        var source: [UInt32] = [1, 2, 3, 4]
        try fixture.write(source, to: address, stream)
        for index in source.indices { source[index] = 9 }
        gate.open()
        #expect(try fixture.download(address, count: 4, of: UInt32(0), stream) == [1, 2, 3, 4])
    }

    @Test(arguments: DriverContract.subjects)
    func copiesToTheHostInTheOrderOfAStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream()
        let address = try fixture.upload([1, 1] as [UInt32])
        let target = try fixture.driver.cuMemAllocHost_v2(fixture.context, bytesize: 8)
        defer { fixture.driver.cuMemFreeHost(fixture.context, target) }
        target.initializeMemory(as: UInt8.self, repeating: 0)
        try fixture.synchronize()
        let gate = try fixture.block(stream)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 5, n: 2, hStream: stream)
        try fixture.driver.cuMemcpyDtoHAsync_v2(fixture.context, dstHost: target, srcDevice: address, stream: stream)
        #expect(target.load(as: UInt32.self) == 0)
        gate.open()
        try fixture.driver.cuStreamSynchronize(fixture.context, hStream: stream)
        #expect(target.load(as: UInt32.self) == 5)
    }

    @Test(arguments: DriverContract.subjects)
    func finishesTheWorkOfAnEndedStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let stream = try fixture.makeStream(nonBlocking: true)
        let address = try fixture.upload([0] as [UInt32])
        try fixture.synchronize()
        let gate = try fixture.block(stream)
        try fixture.driver.cuMemsetD32Async(fixture.context, dstDevice: address, ui: 6, n: 1, hStream: stream)
        try fixture.driver.cuStreamDestroy_v2(fixture.context, hStream: stream)
        fixture.expectRefusalAfterOpening(gate, CUDA_ERROR_INVALID_HANDLE, CUDA_ERROR_CONTEXT_IS_DESTROYED) {
            try fixture.driver.cuStreamQuery(fixture.context, hStream: stream)
        }
        try fixture.synchronize()
        #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [6])
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesWhatIsNoStream(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) {
            try fixture.driver.cuStreamQuery(fixture.context, hStream: StreamHandle(bits: 0x1234_5678))
        }
        fixture.expectRefusal(CUDA_ERROR_INVALID_VALUE) {
            _ = try fixture.driver.cuStreamCreateWithPriority(fixture.context, flags: 0x80, priority: 0)
        }
    }

    // MARK: Events

    @Test(arguments: DriverContract.subjects)
    func anEventIsReadyWhenItsWorkIsDone(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let stream = try fixture.makeStream()
        let event = try driver.cuEventCreate(context, flags: 0)
        try driver.cuEventQuery(context, hEvent: event)
        let gate = try fixture.block(stream)
        try driver.cuEventRecordWithFlags(context, hEvent: event, hStream: stream, flags: 0)
        #expect(throws: CUDAError.notReady) { try driver.cuEventQuery(context, hEvent: event) }
        gate.open()
        try driver.cuEventSynchronize(context, hEvent: event)
        try driver.cuEventQuery(context, hEvent: event)
        try driver.cuEventDestroy_v2(context, hEvent: event)
        fixture.expectRefusal(CUDA_ERROR_INVALID_HANDLE) { try driver.cuEventQuery(context, hEvent: event) }
    }

    @Test(arguments: DriverContract.subjects)
    func aStreamWaitsForAnEvent(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let first = try fixture.makeStream(nonBlocking: true)
        let second = try fixture.makeStream(nonBlocking: true)
        let event = try driver.cuEventCreate(context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
        let address = try fixture.upload([0] as [UInt32])
        try fixture.synchronize()
        let gate = try fixture.block(first)
        try driver.cuMemsetD32Async(context, dstDevice: address, ui: 1, n: 1, hStream: first)
        try driver.cuEventRecordWithFlags(context, hEvent: event, hStream: first, flags: 0)
        try driver.cuStreamWaitEvent(context, hStream: second, hEvent: event, flags: 0)
        try driver.cuMemsetD32Async(context, dstDevice: address, ui: 2, n: 1, hStream: second)
        // What is enqueued waits for this recording, whatever becomes of the event.
        try driver.cuEventDestroy_v2(context, hEvent: event)
        #expect(throws: CUDAError.notReady) { try driver.cuStreamQuery(context, hStream: second) }
        gate.open()
        #expect(try fixture.download(address, count: 1, of: UInt32(0), second) == [2])
    }

    @Test(arguments: DriverContract.subjects)
    func measuresTimeBetweenEvents(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let stream = try fixture.makeStream()
        let start = try driver.cuEventCreate(context, flags: 0)
        let end = try driver.cuEventCreate(context, flags: 0)
        try driver.cuEventRecordWithFlags(context, hEvent: start, hStream: stream, flags: 0)
        try driver.cuLaunchHostFunc(context, stream: stream) { usleep(20_000) }
        try driver.cuEventRecordWithFlags(context, hEvent: end, hStream: stream, flags: 0)
        try driver.cuEventSynchronize(context, hEvent: end)
        let milliseconds = try driver.cuEventElapsedTime_v2(context, hStart: start, hEnd: end)
        #expect((19...5_000).contains(milliseconds))
    }

    @Test(arguments: DriverContract.subjects)
    func measuresNoTimeWithoutRecordings(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let (driver, context) = (fixture.driver, fixture.context)
        let stream = try fixture.makeStream()
        let recorded = try driver.cuEventCreate(context, flags: 0)
        let unrecorded = try driver.cuEventCreate(context, flags: 0)
        let untimed = try driver.cuEventCreate(context, flags: CU_EVENT_DISABLE_TIMING.rawValue)
        try driver.cuEventRecordWithFlags(context, hEvent: untimed, hStream: stream, flags: 0)
        let gate = try fixture.block(stream)
        try driver.cuEventRecordWithFlags(context, hEvent: recorded, hStream: stream, flags: 0)
        #expect(throws: CUDAError.notReady) {
            try driver.cuEventElapsedTime_v2(context, hStart: recorded, hEnd: recorded)
        }
        gate.open()
        try driver.cuEventSynchronize(context, hEvent: recorded)
        for event in [unrecorded, untimed] {
            #expect(throws: CUDAError.invalidHandle) {
                try driver.cuEventElapsedTime_v2(context, hStart: recorded, hEnd: event)
            }
        }
    }

    @Test(arguments: DriverContract.subjects)
    func severalThreadsUseTheirOwnStreams(_ subject: DriverContract.Subject) throws {
        let fixture = try DriverFixture(subject)
        let increment = try fixture.function("increment", in: ContractPTX.store)
        let shared = Results()
        var threads: [pthread_t] = []
        for _ in 0..<4 {
            let body = ThreadBody {
                guard let stream = try? fixture.makeStream(), let address = try? fixture.upload([0] as [UInt32]) else {
                    return
                }
                for _ in 0..<500 { try? fixture.launch(increment, stream, .u64(address)) }
                shared.add((try? fixture.download(address, count: 1, of: UInt32(0), stream)) ?? [])
            }
            var thread = pthread_t()
            pthread_create(
                &thread, nil,
                { body in
                    Unmanaged<ThreadBody>.fromOpaque(body!).takeRetainedValue().run()
                    return nil
                }, Unmanaged.passRetained(body).toOpaque())
            threads.append(thread)
        }
        for thread in threads { pthread_join(thread, nil) }
        #expect(shared.values == [500, 500, 500, 500])
    }

    private final class Results: Sendable {
        private let all = Mutex<[UInt32]>([])
        func add(_ values: [UInt32]) { all.withLock { $0 += values } }
        var values: [UInt32] { all.withLock { $0 } }
    }

    private final class ThreadBody: Sendable {
        let run: @Sendable () -> Void
        init(_ run: @escaping @Sendable () -> Void) { self.run = run }
    }
}

extension DriverFixture {
    /// As ``expectRefusal(_:sourceLocation:_:)``, for a body that is followed by opening a gate.
    func expectRefusalAfterOpening(_ gate: Gate, _ codes: CUresult..., body: () throws -> Void) {
        do {
            try body()
            gate.open()
            try synchronize()
            Issue.record("the call was not refused")
        } catch let error as CUDAError {
            gate.open()
            #expect(codes.contains(error.code))
        } catch {
            gate.open()
            Issue.record(error)
        }
    }
}
