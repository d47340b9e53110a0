// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// Green contexts as an application sees them.
@Suite struct GreenContextTests {
    /// A green context with one of the two halves, and the context that represents it.
    private func half(_ harness: Harness) throws -> (green: OpaquePointer?, context: OpaquePointer?) {
        var whole = CUdevResource()
        try harness.shim.cuDeviceGetDevResource(0, &whole, CU_DEV_RESOURCE_TYPE_SM)
        var group = CUdevResource()
        var count: UInt32 = 1
        var rest = CUdevResource()
        try harness.shim.cuDevSmResourceSplitByCount(&group, &count, &whole, &rest, 0, 2)
        #expect(count == 1 && group.sm.smCount == 2 && rest.type == CU_DEV_RESOURCE_TYPE_SM)
        var descriptor: OpaquePointer?
        try harness.shim.cuDevResourceGenerateDesc(&descriptor, &group, 1)
        var green: OpaquePointer?
        try harness.shim.cuGreenCtxCreate(&green, descriptor, 0, CU_GREEN_CTX_DEFAULT_STREAM.rawValue)
        var context: OpaquePointer?
        try harness.shim.cuCtxFromGreenCtx(&context, green)
        return (green, context)
    }

    @Test func tellsMultiprocessorsAndHowManyGroupsTheyMake() throws {
        try Harness().run { harness in
            var whole = CUdevResource()
            try harness.shim.cuDeviceGetDevResource(0, &whole, CU_DEV_RESOURCE_TYPE_SM)
            #expect(whole.sm.smCount == 4 && whole.sm.minSmPartitionSize == 2 && whole.nextResource == nil)
            var count: UInt32 = 0
            try harness.shim.cuDevSmResourceSplitByCount(nil, &count, &whole, nil, 0, 2)
            #expect(count == 2)
            for type in [CU_DEV_RESOURCE_TYPE_INVALID, CU_DEV_RESOURCE_TYPE_WORKQUEUE] {
                #expect(
                    harness.code { () throws(CUDAError) in
                        try harness.shim.cuDeviceGetDevResource(0, &whole, type)
                    } == CUDA_ERROR_INVALID_RESOURCE_TYPE)
            }
            var parameters = CU_DEV_SM_RESOURCE_GROUP_PARAMS()
            try harness.shim.cuDevSmResourceSplit(nil, 1, &whole, nil, 0, &parameters)
            #expect(parameters.smCount == 2)
            parameters.reserved.10 = 1
            #expect(
                harness.code { () throws(CUDAError) in
                    try harness.shim.cuDevSmResourceSplit(nil, 1, &whole, nil, 0, &parameters)
                } == CUDA_ERROR_INVALID_VALUE)
        }
    }

    @Test func whatIsMadeInAGreenContextBelongsToThePrimaryContext() throws {
        try Harness().run { harness in
            var primary: OpaquePointer?
            try harness.shim.cuCtxGetCurrent(&primary)
            let kernel = try harness.kernel()
            let (_, context) = try half(harness)
            try harness.shim.cuCtxPushCurrent_v2(context)
            var event: OpaquePointer?
            try harness.shim.cuEventCreate(&event, 0)
            let address = try harness.allocate(64)
            _ = harness.driver.takeCalls()
            // The primary context's kernel runs in the green one's default stream.
            var pointer = address
            var number: UInt32 = 7
            try withUnsafeMutablePointer(to: &pointer) { pointer in
                try withUnsafeMutablePointer(to: &number) { number in
                    var parameters: [UnsafeMutableRawPointer?] = [UnsafeMutableRawPointer(pointer), .init(number)]
                    try harness.shim.cuLaunchKernel(
                        kernel, 1, 1, 1, 1, 1, 1, 0, nil, &parameters, nil, defaultStream: .legacy)
                }
            }
            let calls = harness.driver.takeCalls()
            #expect(calls.count == 1 && calls[0].hasPrefix("launch 1x1 on ") && calls[0] != "launch 1x1 on 0")
            var found: OpaquePointer?
            var foundGreen: OpaquePointer?
            try harness.shim.cuStreamGetCtx_v2(nil, &found, &foundGreen, defaultStream: .legacy)
            #expect(found == primary && foundGreen != nil)
            try harness.shim.cuCtxPopCurrent_v2(nil)
            // Also usable from the primary context.
            try harness.shim.cuEventRecord(event, nil, defaultStream: .legacy)
            try harness.shim.cuMemFree_v2(address)
        }
    }

    @Test func streamsOfAnEndedGreenContextAreDetached() throws {
        try Harness().run { harness in
            let (green, context) = try half(harness)
            var stream: OpaquePointer?
            try harness.shim.cuGreenCtxStreamCreate(&stream, green, CU_STREAM_NON_BLOCKING.rawValue, 0)
            try harness.shim.cuStreamSynchronize(stream, defaultStream: .legacy)
            try harness.shim.cuGreenCtxDestroy(green)
            let query = harness.code { () throws(CUDAError) in
                try harness.shim.cuStreamQuery(stream, defaultStream: .legacy)
            }
            #expect(query == CUDA_ERROR_STREAM_DETACHED)
            try harness.shim.cuStreamDestroy_v2(stream)
            let push = harness.code { () throws(CUDAError) in try harness.shim.cuCtxPushCurrent_v2(context) }
            #expect(push == CUDA_ERROR_INVALID_CONTEXT)
            let again = harness.code { () throws(CUDAError) in try harness.shim.cuGreenCtxDestroy(green) }
            #expect(again == CUDA_ERROR_INVALID_CONTEXT)
        }
    }

    @Test func aGreenContextIsNoContext() throws {
        try Harness().run { harness in
            let (green, context) = try half(harness)
            let calls: [() throws -> Void] = [
                { try harness.shim.cuCtxSetCurrent(green) },
                { try harness.shim.cuCtxDestroy_v2(green) },
                { try harness.shim.cuCtxDestroy_v2(context) },
                { try harness.shim.cuCtxDetach(context) },
                { try harness.shim.cuGreenCtxDestroy(context) },
            ]
            for call in calls { #expect(throws: CUDAError.invalidContext) { try call() } }
            var id: UInt64 = 0
            let none = harness.code { () throws(CUDAError) in try harness.shim.cuGreenCtxGetId(nil, &id) }
            #expect(none == CUDA_ERROR_INVALID_CONTEXT)
            try harness.shim.cuCtxPushCurrent_v2(context)
            var same: UInt64 = 0
            try harness.shim.cuGreenCtxGetId(green, &id)
            try harness.shim.cuGreenCtxGetId(nil, &same)
            #expect(id == same && id != 0)
            // Its streams do not wait for a default stream, and CUDA gives threads none of their own there.
            var stream: OpaquePointer?
            let blocking = harness.code { () throws(CUDAError) in try harness.shim.cuStreamCreate(&stream, 0) }
            #expect(blocking == CUDA_ERROR_INVALID_VALUE)
            let perThread = harness.code { () throws(CUDAError) in
                try harness.shim.cuStreamQuery(OpaquePointer(bitPattern: 2), defaultStream: .legacy)
            }
            #expect(perThread == CUDA_ERROR_INVALID_HANDLE)
        }
    }

    @Test func endsWithThePrimaryContextThatIsReset() throws {
        try Harness().run { harness in
            let (green, _) = try half(harness)
            _ = harness.driver.takeCalls()
            try harness.shim.cuDevicePrimaryCtxReset_v2(0)
            #expect(harness.driver.takeCalls().contains("end green"))
            let again = harness.code { () throws(CUDAError) in try harness.shim.cuGreenCtxDestroy(green) }
            #expect(again == CUDA_ERROR_INVALID_CONTEXT)
        }
    }

    @Test func eventsOfWholeContextsGoToTheRightOne() throws {
        try Harness().run { harness in
            let (green, context) = try half(harness)
            var event: OpaquePointer?
            try harness.shim.cuEventCreate(&event, 0)
            _ = harness.driver.takeCalls()
            try harness.shim.cuGreenCtxRecordEvent(green, event)
            try harness.shim.cuCtxRecordEvent(context, event)
            try harness.shim.cuCtxRecordEvent(nil, event)
            try harness.shim.cuGreenCtxWaitEvent(green, event)
            try harness.shim.cuCtxWaitEvent(nil, event)
            #expect(
                harness.driver.takeCalls()
                    == ["record green", "record green", "record context", "wait green", "wait context"])
            let bad = harness.code { () throws(CUDAError) in try harness.shim.cuCtxRecordEvent(nil, green) }
            #expect(bad == CUDA_ERROR_INVALID_HANDLE)
        }
    }
}
