// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

/// Handles of freed objects, of other kinds, of other drivers, or made up: an error, and everything goes on.
@Suite struct DriverContractStrayHandles {
    /// A call with a handle in place of the right one.
    private typealias Call = (name: String, make: @Sendable (DriverFixture, UInt64) throws -> Void)

    private static let moduleCalls: [Call] = [
        ("cuModuleUnload", { try $0.driver.cuModuleUnload($0.context, hmod: ModuleHandle(bits: $1)) }),
        (
            "cuModuleGetFunction",
            { _ = try $0.driver.cuModuleGetFunction($0.context, hmod: ModuleHandle(bits: $1), name: "empty") }
        ),
        (
            "cuModuleGetGlobal_v2",
            { _ = try $0.driver.cuModuleGetGlobal_v2($0.context, hmod: ModuleHandle(bits: $1), name: "total") }
        ),
        (
            "cuModuleEnumerateFunctions",
            { _ = try $0.driver.cuModuleEnumerateFunctions($0.context, hmod: ModuleHandle(bits: $1)) }
        ),
        (
            "cuFuncGetAttribute",
            { _ = try $0.driver.cuFuncGetAttribute($0.context, attrib: 0, hfunc: FunctionHandle(bits: $1)) }
        ),
        (
            "cuFuncSetAttribute",
            { try $0.driver.cuFuncSetAttribute($0.context, hfunc: FunctionHandle(bits: $1), attrib: 8, value: 1) }
        ),
        (
            "cuFuncSetCacheConfig",
            { try $0.driver.cuFuncSetCacheConfig($0.context, hfunc: FunctionHandle(bits: $1), config: 0) }
        ),
        (
            "cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags",
            {
                _ = try $0.driver.cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(
                    $0.context, hfunc: FunctionHandle(bits: $1), blockSize: 32, dynamicSMemSize: 0, flags: 0)
            }
        ),
        (
            "cuLaunchKernel",
            {
                try $0.driver.cuLaunchKernel(
                    $0.context, f: FunctionHandle(bits: $1), LaunchGeometry(grid: (1, 1, 1), block: (1, 1, 1)),
                    stream: .legacyDefault, parameters: UnsafeRawBufferPointer(start: nil, count: 0))
            }
        ),
    ]

    private static let streamCalls: [Call] = [
        ("cuStreamDestroy_v2", { try $0.driver.cuStreamDestroy_v2($0.context, hStream: StreamHandle(bits: $1)) }),
        ("cuStreamSynchronize", { try $0.driver.cuStreamSynchronize($0.context, hStream: StreamHandle(bits: $1)) }),
        ("cuStreamQuery", { try $0.driver.cuStreamQuery($0.context, hStream: StreamHandle(bits: $1)) }),
        (
            "cuMemsetD8Async",
            {
                try $0.driver.cuMemsetD8Async(
                    $0.context, dstDevice: 0x1000, uc: 0, n: 1, hStream: StreamHandle(bits: $1))
            }
        ),
        (
            "cuMemcpyHtoDAsync_v2",
            {
                try $0.driver.cuMemcpyHtoDAsync_v2(
                    $0.context, dstDevice: 0x1000, srcHost: ([1] as [UInt8]).span.bytes,
                    hStream: StreamHandle(bits: $1))
            }
        ),
        (
            "cuMemcpyDtoH_v2",
            { fixture, bits in
                var byte: UInt8 = 0
                try withUnsafeMutableBytes(of: &byte) {
                    try fixture.driver.cuMemcpyDtoH_v2(
                        fixture.context, dstHost: $0, srcDevice: 0x1000, stream: StreamHandle(bits: bits))
                }
            }
        ),
        (
            "cuMemAllocAsync",
            { _ = try $0.driver.cuMemAllocAsync($0.context, bytesize: 1, hStream: StreamHandle(bits: $1)) }
        ),
        ("cuLaunchHostFunc", { try $0.driver.cuLaunchHostFunc($0.context, stream: StreamHandle(bits: $1)) {} }),
        ("cuEventDestroy_v2", { try $0.driver.cuEventDestroy_v2($0.context, hEvent: EventHandle(bits: $1)) }),
        (
            "cuEventRecordWithFlags",
            {
                try $0.driver.cuEventRecordWithFlags(
                    $0.context, hEvent: EventHandle(bits: $1), hStream: .legacyDefault, flags: 0)
            }
        ),
        ("cuEventQuery", { try $0.driver.cuEventQuery($0.context, hEvent: EventHandle(bits: $1)) }),
        ("cuEventSynchronize", { try $0.driver.cuEventSynchronize($0.context, hEvent: EventHandle(bits: $1)) }),
        (
            "cuEventElapsedTime_v2",
            {
                _ = try $0.driver.cuEventElapsedTime_v2(
                    $0.context, hStart: EventHandle(bits: $1), hEnd: EventHandle(bits: $1))
            }
        ),
        (
            "cuStreamWaitEvent",
            {
                try $0.driver.cuStreamWaitEvent(
                    $0.context, hStream: .legacyDefault, hEvent: EventHandle(bits: $1), flags: 0)
            }
        ),
        ("cuCtxRecordEvent", { try $0.driver.cuCtxRecordEvent($0.context, hEvent: EventHandle(bits: $1)) }),
        ("cuCtxWaitEvent", { try $0.driver.cuCtxWaitEvent($0.context, hEvent: EventHandle(bits: $1)) }),
        ("cuIpcGetEventHandle", { _ = try $0.driver.cuIpcGetEventHandle($0.context, hEvent: EventHandle(bits: $1)) }),
    ]

    private static let otherCalls: [Call] = [
        ("cuCtxDestroy_v2", { try $0.driver.cuCtxDestroy_v2(ctx: ContextHandle(bits: $1)) }),
        ("cuCtxGetLimit", { _ = try $0.driver.cuCtxGetLimit(ContextHandle(bits: $1), limit: 0) }),
        ("cuMemAlloc_v2", { _ = try $0.driver.cuMemAlloc_v2(ContextHandle(bits: $1), bytesize: 1) }),
        (
            "cuCtxEnablePeerAccess",
            { try $0.driver.cuCtxEnablePeerAccess($0.context, peerContext: ContextHandle(bits: $1), flags: 0) }
        ),
        ("cuMemFree_v2", { try $0.driver.cuMemFree_v2($0.context, dptr: $1) }),
        ("cuMemFreeAsync", { try $0.driver.cuMemFreeAsync($0.context, dptr: $1, hStream: .legacyDefault) }),
        ("cuMemPoolDestroy", { try $0.driver.cuMemPoolDestroy(pool: MemoryPoolHandle(bits: $1)) }),
        (
            "cuMemPoolTrimTo",
            { try $0.driver.cuMemPoolTrimTo(pool: MemoryPoolHandle(bits: $1), minBytesToKeep: 0) }
        ),
        (
            "cuMemPoolGetAttribute",
            { _ = try $0.driver.cuMemPoolGetAttribute(pool: MemoryPoolHandle(bits: $1), attr: 4) }
        ),
        (
            "cuMemAllocFromPoolAsync",
            {
                _ = try $0.driver.cuMemAllocFromPoolAsync(
                    $0.context, bytesize: 1, pool: MemoryPoolHandle(bits: $1), hStream: .legacyDefault)
            }
        ),
        (
            "cuGraphLaunch",
            {
                try $0.driver.cuGraphLaunch(
                    $0.context, hGraphExec: GraphHandle(bits: $1), hStream: .legacyDefault)
            }
        ),
        ("cuGraphExecDestroy", { try $0.driver.cuGraphExecDestroy($0.context, hGraphExec: GraphHandle(bits: $1)) }),
        ("cuGraphDestroy", { try $0.driver.cuGraphDestroy($0.context, hGraph: GraphDraftHandle(bits: $1)) }),
        (
            "cuGraphConditionalHandleCreate",
            {
                _ = try $0.driver.cuGraphConditionalHandleCreate(
                    $0.context, hGraph: GraphDraftHandle(bits: $1), defaultLaunchValue: 0, flags: 0)
            }
        ),
        (
            "cuGraphInstantiate",
            {
                let plan = GraphPlan(nodes: [], draft: GraphDraftHandle(bits: $1))
                _ = try $0.driver.cuGraphInstantiate($0.context, plan: plan)
            }
        ),
        (
            "cuGraphExecUpdate_v2",
            {
                let draft = try $0.driver.cuGraphCreate($0.context, flags: 0)
                try $0.driver.cuGraphExecUpdate_v2(
                    $0.context, graph: GraphHandle(bits: $1), plan: GraphPlan(nodes: [], draft: draft))
            }
        ),
        ("cuArrayDestroy", { try $0.driver.cuArrayDestroy($0.context, hArray: ArrayHandle(bits: $1)) }),
        (
            "cuMipmappedArrayDestroy",
            {
                try $0.driver.cuMipmappedArrayDestroy(
                    $0.context, hMipmappedArray: MipmappedArrayHandle(bits: $1))
            }
        ),
        (
            "cuMipmappedArrayGetLevel",
            {
                _ = try $0.driver.cuMipmappedArrayGetLevel(
                    $0.context, hMipmappedArray: MipmappedArrayHandle(bits: $1), level: 0)
            }
        ),
        ("cuTexObjectDestroy", { try $0.driver.cuTexObjectDestroy($0.context, texObject: $1) }),
        ("cuSurfObjectDestroy", { try $0.driver.cuSurfObjectDestroy($0.context, surfObject: $1) }),
        (
            "cuSurfObjectCreate", { _ = try $0.driver.cuSurfObjectCreate($0.context, array: ArrayHandle(bits: $1)) }
        ),
        (
            "cuMemPoolExportToShareableHandle",
            { _ = try $0.driver.cuMemPoolExportToShareableHandle(pool: MemoryPoolHandle(bits: $1)) }
        ),
        (
            "cuMemPoolImportPointer",
            {
                let nothing = ShareableHandle(words: (0, 0, 0, 0, 0, 0, 0, 0))
                _ = try $0.driver.cuMemPoolImportPointer(
                    $0.context, pool: MemoryPoolHandle(bits: $1), shareData: nothing)
            }
        ),
        ("cuMemRelease", { try $0.driver.cuMemRelease(handle: PhysicalMemoryHandle(bits: $1)) }),
        (
            "cuMemExportToShareableHandle",
            { _ = try $0.driver.cuMemExportToShareableHandle(handle: PhysicalMemoryHandle(bits: $1)) }
        ),
        ("cuMemUnmap", { try $0.driver.cuMemUnmap(ptr: $1, size: 2 << 20) }),
        ("cuMemAddressFree", { try $0.driver.cuMemAddressFree(ptr: $1, size: 2 << 20) }),
        ("cuIpcCloseMemHandle", { try $0.driver.cuIpcCloseMemHandle($0.context, dptr: $1) }),
        ("cuGreenCtxDestroy", { try $0.driver.cuGreenCtxDestroy(hCtx: GreenContextHandle(bits: $1)) }),
        (
            "cuGreenCtxGetDevResource",
            { _ = try $0.driver.cuGreenCtxGetDevResource(hCtx: GreenContextHandle(bits: $1)) }
        ),
        (
            "cuGreenCtxStreamCreate",
            {
                _ = try $0.driver.cuGreenCtxStreamCreate(
                    $0.context, greenCtx: GreenContextHandle(bits: $1), flags: 1, priority: 0)
            }
        ),
        ("cuDevResourceGenerateDesc", { _ = try $0.driver.cuDevResourceGenerateDesc(resources: [$1]) }),
        ("cuGreenCtxCreate", { _ = try $0.driver.cuGreenCtxCreate(desc: $1, dev: 0, flags: 1) }),
    ]

    /// Numbers that are no handle: small and large, like an address, with every bit, and of an object that has ended; and
    /// a module and an event, each of which is a stray where the other is wanted.
    private func strays(_ fixture: DriverFixture) throws -> (all: [UInt64], module: UInt64, event: UInt64) {
        let ended = try fixture.driver.cuEventCreate(fixture.context, flags: 0)
        try fixture.driver.cuEventDestroy_v2(fixture.context, hEvent: ended)
        let module = try fixture.load(ContractPTX.add)
        let event = try fixture.driver.cuEventCreate(fixture.context, flags: 0)
        return (
            [0x7777, 0x7f00_dead_b000, 0xffff_ffff, UInt64.max, UInt64.max - 1, ended.bits], module.bits, event.bits
        )
    }

    /// Sends every stray to every call, and sees that the stream goes on after each call.
    private func expectRefusals(_ calls: [Call], _ subject: DriverContract.Subject, usesEvents: Bool) throws {
        let fixture = try DriverFixture(subject)
        let (all, module, event) = try strays(fixture)
        let handles = all + (usesEvents ? [module] : [event])
        let increment = try fixture.function("increment", in: ContractPTX.store)
        let address = try fixture.upload([0] as [UInt32])
        for (number, call) in calls.enumerated() {
            for handle in handles {
                do {
                    try call.make(fixture, handle)
                    try fixture.synchronize()
                    Issue.record("\(call.name) took \(String(handle, radix: 16))")
                } catch let error as CUDAError {
                    #expect(!error.isSticky, "\(call.name) with \(String(handle, radix: 16)): \(error)")
                    #expect(error != .deinitialized && error != .unknown, "\(call.name): \(error)")
                }
            }
            // What was right before still is, in the same stream.
            try fixture.launch(increment, .legacyDefault, .u64(address))
            #expect(try fixture.download(address, count: 1, of: UInt32(0)) == [UInt32(number + 1)], "\(call.name)")
        }
    }

    /// A worker survives whatever handles it is sent.
    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesStrayModulesAndFunctions(_ subject: DriverContract.Subject) throws {
        try expectRefusals(Self.moduleCalls, subject, usesEvents: false)
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesStrayStreamsAndEvents(_ subject: DriverContract.Subject) throws {
        try expectRefusals(Self.streamCalls, subject, usesEvents: true)
    }

    @Test(arguments: DriverContract.handleCheckingSubjects)
    func refusesStrayHandlesOfEverythingElse(_ subject: DriverContract.Subject) throws {
        try expectRefusals(Self.otherCalls, subject, usesEvents: true)
    }
}
