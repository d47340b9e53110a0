// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// What a launch is refused for at once, with the codes of CUDA's drivers, and nothing is sent.
@Suite struct LaunchCheckTests {
    private struct Shape: Sendable, CustomTestStringConvertible {
        var grid: (UInt32, UInt32, UInt32) = (1, 1, 1)
        var block: (UInt32, UInt32, UInt32) = (1, 1, 1)
        var shared: UInt32 = 0
        let code: CUresult

        var testDescription: String { "\(grid) \(block) \(shared)" }
    }

    private static let shapes = [
        Shape(grid: (0, 1, 1), code: CUDA_ERROR_INVALID_VALUE), Shape(grid: (1, 0, 1), code: CUDA_ERROR_INVALID_VALUE),
        Shape(grid: (1, 1, 0), code: CUDA_ERROR_INVALID_VALUE),
        Shape(grid: (1, 65536, 1), code: CUDA_ERROR_INVALID_VALUE),
        Shape(block: (0, 1, 1), code: CUDA_ERROR_INVALID_VALUE),
        Shape(block: (1, 1, 65), code: CUDA_ERROR_INVALID_VALUE),
        Shape(block: (1025, 1, 1), code: CUDA_ERROR_INVALID_VALUE),
        Shape(block: (1024, 2, 1), code: CUDA_ERROR_INVALID_VALUE),
        Shape(shared: 4097, code: CUDA_ERROR_INVALID_VALUE),
        // The kernel has at most 512 threads, the device 1024.
        Shape(block: (513, 1, 1), code: CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES),
        Shape(block: (512, 1, 1), shared: 4096, code: CUDA_SUCCESS),
    ]

    /// Launches with two parameters of the right sizes.
    private static func launch(
        _ harness: Harness, _ function: OpaquePointer?, _ shape: Shape, _ stream: OpaquePointer? = nil
    ) -> CUresult {
        let block = UnsafeMutableRawPointer.allocate(byteCount: 16, alignment: 8)
        let parameters = UnsafeMutablePointer<UnsafeMutableRawPointer?>.allocate(capacity: 2)
        defer {
            block.deallocate()
            parameters.deallocate()
        }
        block.initializeMemory(as: UInt8.self, repeating: 0, count: 16)
        parameters[0] = block
        parameters[1] = block + 8
        return harness.code { () throws(CUDAError) in
            try harness.shim.cuLaunchKernel(
                function, shape.grid.0, shape.grid.1, shape.grid.2, shape.block.0, shape.block.1, shape.block.2,
                shape.shared, stream, parameters, nil, defaultStream: .legacy)
        }
    }

    @Test func refusesShapesThatNoLaunchCanHave() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            for shape in Self.shapes {
                _ = harness.driver.takeCalls()
                let code = Self.launch(harness, kernel, shape)
                #expect(code == shape.code, "\(shape.testDescription)")
                #expect(harness.driver.takeCalls().isEmpty == (shape.code != CUDA_SUCCESS), "\(shape.testDescription)")
            }
        }
    }

    @Test func refusesFunctionsAndStreamsThatHaveEnded() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let shape = Shape(code: CUDA_ERROR_INVALID_HANDLE)
            var module: OpaquePointer?
            var function: OpaquePointer?
            try shim.cuModuleLoadData(&module, ".version 7.0")
            try shim.cuModuleGetFunction(&function, module, "kernel")
            var stream: OpaquePointer?
            try shim.cuStreamCreate(&stream, 0)
            try shim.cuStreamDestroy_v2(stream)
            #expect(Self.launch(harness, function, shape, stream) == shape.code)
            try shim.cuModuleUnload(module)
            #expect(Self.launch(harness, function, shape) == shape.code)
            #expect(Self.launch(harness, module, shape) == shape.code)
            #expect(Self.launch(harness, nil, shape) == shape.code)
        }
    }

    @Test func refusesAFunctionOfAnotherContext() throws {
        try Harness().run { harness in
            let kernel = try harness.kernel()
            var other: OpaquePointer?
            try harness.shim.cuCtxCreate_v2(&other, 0, 0)
            #expect(Self.launch(harness, kernel, Shape(code: CUDA_SUCCESS)) == CUDA_ERROR_INVALID_HANDLE)
            try harness.shim.cuCtxDestroy_v2(other)
            #expect(Self.launch(harness, kernel, Shape(code: CUDA_SUCCESS)) == CUDA_SUCCESS)
        }
    }

    @Test func refusesWorkWithoutAContextAndInOneThatHasEnded() throws {
        try Harness().run { harness in
            let shim = harness.shim
            var own: OpaquePointer?
            try shim.cuCtxCreate_v2(&own, 0, 0)
            var stream: OpaquePointer?
            try shim.cuStreamCreate(&stream, 0)
            try shim.cuCtxPushCurrent_v2(own)
            try shim.cuCtxDestroy_v2(own)
            // It is still beneath on the stack.
            #expect(throws: CUDAError.contextIsDestroyed) { try shim.cuCtxSynchronize() }
            #expect(throws: CUDAError.invalidHandle) { try shim.cuStreamQuery(stream, defaultStream: .legacy) }
            try shim.cuCtxSetCurrent(nil)
            try shim.cuCtxSetCurrent(nil)
            #expect(throws: CUDAError.invalidContext) { try harness.allocate(1) }
        }
    }

    private static func create(_ harness: Harness, _ parameters: CUctxCreateParams) -> CUresult {
        let place = UnsafeMutablePointer<CUctxCreateParams>.allocate(capacity: 1)
        let made = UnsafeMutablePointer<OpaquePointer?>.allocate(capacity: 1)
        defer {
            place.deallocate()
            made.deallocate()
        }
        place.initialize(to: parameters)
        return harness.code { () throws(CUDAError) in try harness.shim.cuCtxCreate_v4(made, place, 0, 0) }
    }

    @Test func contextParametersExcludeEachOther() throws {
        try Harness().run { harness in
            let affinity = UnsafeMutablePointer<CUexecAffinityParam>.allocate(capacity: 1)
            defer { affinity.deallocate() }
            affinity.initialize(to: CUexecAffinityParam(type: CU_EXEC_AFFINITY_TYPE_SM_COUNT, smCount: 2))
            let graphics = UnsafeMutableRawPointer(affinity)
            #expect(
                Self.create(
                    harness,
                    CUctxCreateParams(execAffinityParams: affinity, numExecAffinityParams: 1, cigParams: graphics))
                    == CUDA_ERROR_INVALID_VALUE)
            #expect(
                Self.create(
                    harness, CUctxCreateParams(execAffinityParams: affinity, numExecAffinityParams: 1, cigParams: nil))
                    == CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY)
            #expect(
                Self.create(
                    harness, CUctxCreateParams(execAffinityParams: nil, numExecAffinityParams: 0, cigParams: graphics))
                    == CUDA_ERROR_NOT_SUPPORTED)
            #expect(Self.create(harness, CUctxCreateParams()) == CUDA_SUCCESS)
        }
    }
}
