// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Testing

@testable import Shim

/// What the library itself checks of arrays, textures and surfaces, and remembers of them.
@Suite struct TextureTests {
    private static func array(
        _ harness: Harness, _ width: Int, _ height: Int, _ depth: Int = 0,
        format: CUarray_format = CU_AD_FORMAT_FLOAT, channels: UInt32 = 1, flags: Int32 = 0
    ) throws -> OpaquePointer? {
        var description = CUDA_ARRAY3D_DESCRIPTOR(
            Width: width, Height: height, Depth: depth, Format: format, NumChannels: channels, Flags: UInt32(flags))
        var array: OpaquePointer?
        try harness.shim.cuArray3DCreate_v2(&array, &description)
        return array
    }

    @Test func refusesShapesThatCUDADoesNotHave() throws {
        try Harness().run { harness in
            let wrong: [(Int, Int, Int, CUarray_format, UInt32, Int32)] = [
                (0, 0, 0, CU_AD_FORMAT_FLOAT, 1, 0), (4, 0, 4, CU_AD_FORMAT_FLOAT, 1, 0),
                (4, 4, 0, CU_AD_FORMAT_FLOAT, 3, 0), (4, 4, 0, CU_AD_FORMAT_UNORM_INT8X2, 4, 0),
                (4, 4, 0, CUarray_format(0x7), 1, 0), (4, 4, 0, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_LAYERED),
                (4, 8, 6, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP),
                (4, 4, 7, CU_AD_FORMAT_FLOAT, 1, CUDA_ARRAY3D_CUBEMAP),
                (4, 4, 0, CU_AD_FORMAT_FLOAT, 1, 0x1000), (Int.max, 2, 0, CU_AD_FORMAT_FLOAT, 4, 0),
            ]
            for (width, height, depth, format, channels, flags) in wrong {
                #expect(throws: CUDAError.self, "\(width)x\(height)x\(depth) \(format.rawValue) \(flags)") {
                    try Self.array(harness, width, height, depth, format: format, channels: channels, flags: flags)
                }
            }
            #expect(harness.driver.takeCalls() == [])
            for (depth, flags) in [
                (6, CUDA_ARRAY3D_CUBEMAP), (12, CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_LAYERED), (5, CUDA_ARRAY3D_LAYERED),
                (3, 0),
            ] { _ = try Self.array(harness, 4, 4, depth, flags: flags) }
            _ = try Self.array(harness, 4, 0, 9, format: CU_AD_FORMAT_SNORM_INT16X4, channels: 4, flags: 1)
        }
    }

    @Test func tellsWhatAnArrayIs() throws {
        try Harness().run { harness in
            let array = try Self.array(harness, 4, 5, 6, format: CU_AD_FORMAT_HALF, channels: 2)
            var description = CUDA_ARRAY3D_DESCRIPTOR()
            try harness.shim.cuArray3DGetDescriptor_v2(&description, array)
            #expect(
                description.Width == 4 && description.Height == 5 && description.Depth == 6
                    && description.Format == CU_AD_FORMAT_HALF && description.NumChannels == 2)
            #expect(throws: CUDAError.invalidValue) { try harness.shim.cuArrayGetPlane(nil, array, 0) }
            #expect(throws: CUDAError.invalidValue) { try harness.shim.cuArrayGetSparseProperties(nil, array) }
            try harness.shim.cuArrayDestroy(array)
            #expect(throws: CUDAError.invalidHandle) { try harness.shim.cuArrayDestroy(array) }
            #expect(throws: CUDAError.invalidHandle) {
                try harness.shim.cuArray3DGetDescriptor_v2(&description, OpaquePointer(bitPattern: 0x123450))
            }
        }
    }

    @Test func levelsEndWithTheirArray() throws {
        try Harness().run { harness in
            var description = CUDA_ARRAY3D_DESCRIPTOR(
                Width: 16, Height: 4, Depth: 0, Format: CU_AD_FORMAT_FLOAT, NumChannels: 1, Flags: 0)
            var array: OpaquePointer?
            var levels = [OpaquePointer?](repeating: nil, count: 2)
            // More levels than the size has.
            try harness.shim.cuMipmappedArrayCreate(&array, &description, 99)
            for index in levels.indices { try harness.shim.cuMipmappedArrayGetLevel(&levels[index], array, 2) }
            #expect(levels[0] == levels[1])
            #expect(harness.driver.takeCalls() == ["array of 5 levels", "level 2"])
            try harness.shim.cuArray3DGetDescriptor_v2(&description, levels[0])
            #expect(description.Width == 4 && description.Height == 1)
            #expect(throws: CUDAError.invalidValue) {
                try harness.shim.cuMipmappedArrayGetLevel(&levels[1], array, 5)
            }
            #expect(throws: CUDAError.invalidHandle) { try harness.shim.cuArrayDestroy(levels[0]) }
            try harness.shim.cuMipmappedArrayDestroy(array)
            #expect(throws: CUDAError.invalidHandle) {
                try harness.shim.cuArray3DGetDescriptor_v2(&description, levels[0])
            }
        }
    }

    @Test func texturesOfTwoContextsMayHaveTheSameValue() throws {
        try Harness().run { harness in
            var resource = CUDA_RESOURCE_DESC()
            resource.res.array.hArray = try Self.array(harness, 8, 8, flags: CUDA_ARRAY3D_SURFACE_LDST)
            var texture = CUDA_TEXTURE_DESC()
            texture.maxAnisotropy = 7
            var first: CUtexObject = 0
            var second: CUtexObject = 0
            try harness.shim.cuTexObjectCreate(&first, &resource, &texture, nil)
            let one = try harness.enterPrimary(0)
            _ = try harness.enterPrimary(1)
            texture.maxAnisotropy = 9
            try harness.shim.cuTexObjectCreate(&second, &resource, &texture, nil)
            #expect(first == second)
            var found = CUDA_TEXTURE_DESC()
            try harness.shim.cuTexObjectGetTextureDesc(&found, second)
            #expect(found.maxAnisotropy == 9)
            try harness.shim.cuTexObjectDestroy(second)
            #expect(throws: CUDAError.invalidValue) { try harness.shim.cuTexObjectDestroy(second) }
            try harness.shim.cuCtxSetCurrent(one)
            try harness.shim.cuTexObjectGetTextureDesc(&found, first)
            #expect(found.maxAnisotropy == 7)
            #expect(throws: CUDAError.invalidValue) { try harness.shim.cuTexObjectGetResourceViewDesc(nil, first) }
            try harness.shim.cuTexObjectDestroy(first)
        }
    }

    @Test func refusesTexturesOfMemoryThatIsNotThere() throws {
        try Harness().run { harness in
            var resource = CUDA_RESOURCE_DESC()
            resource.resType = CU_RESOURCE_TYPE_LINEAR
            resource.res.linear.devPtr = try harness.allocate(4096)
            resource.res.linear.format = CU_AD_FORMAT_FLOAT
            resource.res.linear.numChannels = 1
            resource.res.linear.sizeInBytes = 4096
            var texture = CUDA_TEXTURE_DESC()
            var object: CUtexObject = 0
            try harness.shim.cuTexObjectCreate(&object, &resource, &texture, nil)
            resource.res.linear.sizeInBytes = 4100
            #expect(throws: CUDAError.invalidValue) {
                try harness.shim.cuTexObjectCreate(&object, &resource, &texture, nil)
            }
            resource.res.linear.sizeInBytes = 4096
            texture.flags = 0x100
            #expect(throws: CUDAError.invalidValue) {
                try harness.shim.cuTexObjectCreate(&object, &resource, &texture, nil)
            }
            // Surfaces are of arrays that were made for them.
            resource.resType = CU_RESOURCE_TYPE_ARRAY
            resource.res.array.hArray = try Self.array(harness, 8, 8)
            #expect(throws: CUDAError.invalidValue) { try harness.shim.cuSurfObjectCreate(&object, &resource) }
        }
    }

    @Test func copiesRowsOfArrays() throws {
        try Harness().run { harness in
            let array = try Self.array(harness, 4, 4, format: CU_AD_FORMAT_UNSIGNED_INT8)
            let bytes = (0..<9).map { UInt8($0) }
            _ = harness.driver.takeCalls()
            // The end of a row, a whole one, and the beginning of a third.
            try harness.shim.cuMemcpyHtoA_v2(array, 2, bytes, 9, defaultStream: .legacy)
            #expect(
                harness.driver.takeCalls() == [
                    "box HtoD [0, 1] at 0 pitch 0", "box HtoD [2, 3, 4, 5] at 0 pitch 0",
                    "box HtoD [6, 7, 8] at 0 pitch 0",
                ])
            #expect(throws: CUDAError.invalidValue) {
                try harness.shim.cuMemcpyHtoA_v2(array, 8, bytes, 9, defaultStream: .legacy)
            }
        }
    }
}
