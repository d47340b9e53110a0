// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// Texture and surface references: what is checked at once, remembered, and sent before a launch.
@Suite struct ReferenceTests {
    private static func module(_ harness: Harness) throws -> (module: OpaquePointer?, function: OpaquePointer?) {
        var module: OpaquePointer?
        var function: OpaquePointer?
        try harness.shim.cuModuleLoadData(&module, "// text")
        try harness.shim.cuModuleGetFunction(&function, module, "kernel")
        _ = harness.driver.takeCalls()
        return (module, function)
    }

    private static func launch(_ harness: Harness, _ function: OpaquePointer?) throws -> [String] {
        let (memory, number) = (UInt64(0), UInt32(0))
        try withUnsafePointer(to: memory) { memory in
            try withUnsafePointer(to: number) { number in
                var parameters: [UnsafeMutableRawPointer?] = [
                    UnsafeMutableRawPointer(mutating: memory), UnsafeMutableRawPointer(mutating: number),
                ]
                try harness.shim.cuLaunchKernel(
                    function, 1, 1, 1, 1, 1, 1, 0, nil, &parameters, nil, defaultStream: .legacy)
            }
        }
        return harness.driver.takeCalls()
    }

    private static func array(_ harness: Harness, flags: Int32 = 0) throws -> OpaquePointer? {
        var description = CUDA_ARRAY3D_DESCRIPTOR(
            Width: 8, Height: 8, Depth: 0, Format: CU_AD_FORMAT_HALF, NumChannels: 2, Flags: UInt32(flags))
        var array: OpaquePointer?
        try harness.shim.cuArray3DCreate_v2(&array, &description)
        _ = harness.driver.takeCalls()
        return array
    }

    @Test func sendsWhatAReferenceStandsForBeforeTheNextLaunch() throws {
        try Harness().run { harness in
            let (module, function) = try Self.module(harness)
            let shim = harness.shim
            var image: OpaquePointer?
            var again: OpaquePointer?
            try shim.cuModuleGetTexRef(&image, module, "image")
            try shim.cuModuleGetTexRef(&again, module, "image")
            #expect(image == again && harness.driver.takeCalls() == ["find texture image"])
            #expect(throws: CUDAError.notFound) { try shim.cuModuleGetTexRef(&again, module, "canvas") }
            _ = harness.driver.takeCalls()
            // Nothing to send before something is bound, and then all of it at once.
            try shim.cuTexRefSetFilterMode(image, CU_TR_FILTER_MODE_LINEAR)
            #expect(try Self.launch(harness, function) == ["launch 1x1 on 0"])
            try shim.cuTexRefSetFlags(image, UInt32(CU_TRSF_NORMALIZED_COORDINATES))
            try shim.cuTexRefSetArray(image, try Self.array(harness), 1)
            #expect(harness.driver.takeCalls() == [])
            #expect(
                try Self.launch(harness, function) == ["image is array, filter 1, flags 2", "launch 1x1 on 0"])
            #expect(try Self.launch(harness, function) == ["launch 1x1 on 0"])
            try shim.cuTexRefSetFilterMode(image, CU_TR_FILTER_MODE_POINT)
            // What is said of a module that ends is not sent.
            try shim.cuModuleUnload(module)
            #expect(harness.driver.takeCalls() == ["unload"])
            #expect(throws: CUDAError.invalidHandle) { try shim.cuTexRefSetFlags(image, 0) }
            let (_, other) = try Self.module(harness)
            #expect(try Self.launch(harness, other) == ["launch 1x1 on 0"])
        }
    }

    @Test func bindsMemory() throws {
        try Harness().run { harness in
            let (module, function) = try Self.module(harness)
            let shim = harness.shim
            var image: OpaquePointer?
            try shim.cuModuleGetTexRef(&image, module, "image")
            let memory = try harness.allocate(4096)
            _ = harness.driver.takeCalls()
            try shim.cuTexRefSetAddress_v2(nil, image, memory, 4096)
            // The format is that of the launch.
            try shim.cuTexRefSetFormat(image, CU_AD_FORMAT_UNSIGNED_INT8, 4)
            #expect(
                try Self.launch(harness, function) == [
                    "image is 4096 bytes of 1x4, filter 0, flags 0", "launch 1x1 on 0",
                ])
            var address: CUdeviceptr = 0
            try shim.cuTexRefGetAddress_v2(&address, image)
            #expect(address == memory)
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefSetAddress_v2(nil, image, memory, 4100) }
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefSetAddress_v2(nil, image, memory, -1) }
            var description = CUDA_ARRAY_DESCRIPTOR(
                Width: 16, Height: 4, Format: CU_AD_FORMAT_FLOAT, NumChannels: 1)
            try shim.cuTexRefSetAddress2D_v3(image, &description, memory, 64)
            #expect(
                try Self.launch(harness, function) == [
                    "image is 16x4 at 64, filter 0, flags 0", "launch 1x1 on 0",
                ])
            #expect(throws: CUDAError.invalidValue) {
                try shim.cuTexRefSetAddress2D_v3(image, &description, memory, 32)
            }
        }
    }

    @Test func tellsWhatWasSaid() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (module, function) = try Self.module(harness)
            var reference: OpaquePointer?
            try shim.cuTexRefCreate(&reference)
            let array = try Self.array(harness)
            var found: OpaquePointer?
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefGetArray(&found, reference) }
            try shim.cuTexRefSetArray(reference, array, 1)
            try shim.cuTexRefGetArray(&found, reference)
            #expect(found == array)
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefSetArray(reference, array, 0) }
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefGetMipmappedArray(&found, reference) }
            var (format, channels) = (CU_AD_FORMAT_FLOAT, Int32(0))
            try shim.cuTexRefGetFormat(&format, &channels, reference)
            #expect(format == CU_AD_FORMAT_HALF && channels == 2)
            try shim.cuTexRefSetAddressMode(reference, 2, CU_TR_ADDRESS_MODE_MIRROR)
            var mode = CU_TR_ADDRESS_MODE_WRAP
            try shim.cuTexRefGetAddressMode(&mode, reference, 2)
            #expect(mode == CU_TR_ADDRESS_MODE_MIRROR)
            #expect(throws: CUDAError.invalidValue) {
                try shim.cuTexRefSetAddressMode(reference, 3, CU_TR_ADDRESS_MODE_WRAP)
            }
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefSetFlags(reference, 0x100) }
            try shim.cuTexRefSetMipmapLevelClamp(reference, 1, 3)
            var (least, most) = (Float(0), Float(0))
            try shim.cuTexRefGetMipmapLevelClamp(&least, &most, reference)
            #expect(least == 1 && most == 3)
            var (color, told) = ([1, 2, 3, 4] as [Float], [0, 0, 0, 0] as [Float])
            try shim.cuTexRefSetBorderColor(reference, &color)
            try shim.cuTexRefGetBorderColor(&told, reference)
            #expect(told == color)
            try shim.cuParamSetTexRef(function, -1, reference)
            #expect(throws: CUDAError.invalidValue) { try shim.cuParamSetTexRef(function, 0, reference) }
            // No kernel can name it: nothing is sent.
            #expect(try Self.launch(harness, function) == ["launch 1x1 on 0"])
            try shim.cuTexRefDestroy(reference)
            #expect(throws: CUDAError.invalidHandle) { try shim.cuTexRefDestroy(reference) }
            try shim.cuModuleGetTexRef(&reference, module, "image")
            #expect(throws: CUDAError.invalidValue) { try shim.cuTexRefDestroy(reference) }
        }
    }

    @Test func surfacesAreOfArraysThatWereMadeForThem() throws {
        try Harness().run { harness in
            let shim = harness.shim
            let (module, _) = try Self.module(harness)
            var canvas: OpaquePointer?
            var found: OpaquePointer?
            try shim.cuModuleGetSurfRef(&canvas, module, "canvas")
            #expect(throws: CUDAError.invalidValue) { try shim.cuSurfRefGetArray(&found, canvas) }
            let (plain, array) = (
                try Self.array(harness), try Self.array(harness, flags: CUDA_ARRAY3D_SURFACE_LDST)
            )
            #expect(throws: CUDAError.invalidValue) { try shim.cuSurfRefSetArray(canvas, plain, 0) }
            #expect(throws: CUDAError.invalidValue) { try shim.cuSurfRefSetArray(canvas, array, 1) }
            try shim.cuSurfRefSetArray(canvas, array, 0)
            #expect(harness.driver.takeCalls() == ["canvas is an array"])
            try shim.cuSurfRefGetArray(&found, canvas)
            #expect(found == array)
            try shim.cuModuleUnload(module)
            #expect(throws: CUDAError.invalidHandle) { try shim.cuSurfRefGetArray(&found, canvas) }
        }
    }
}
