// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// An array in device memory, whose elements only copies, textures and surfaces reach.
final class DeviceArray: Sendable {
    let bits: UInt64
    let handle: ArrayHandle
    let context: Context
    let shape: ArrayShape
    /// Whether it is a level of a mipmapped array, with which it ends.
    let isLevel: Bool

    init(bits: UInt64, handle: ArrayHandle, context: Context, shape: ArrayShape, isLevel: Bool) {
        self.bits = bits
        self.handle = handle
        self.context = context
        self.shape = shape
        self.isLevel = isLevel
    }
}

/// An array with smaller ones of half its size each.
final class MipmappedArray: Sendable {
    let bits: UInt64
    let handle: MipmappedArrayHandle
    let context: Context
    let shape: ArrayShape
    let levelCount: Int
    /// The levels that the application has asked for.
    let levels = Mutex<[Int: DeviceArray]>([:])

    init(bits: UInt64, handle: MipmappedArrayHandle, context: Context, shape: ArrayShape, levelCount: Int) {
        self.bits = bits
        self.handle = handle
        self.context = context
        self.shape = shape
        self.levelCount = levelCount
    }
}

extension ArrayShape {
    init(_ description: CUDA_ARRAY3D_DESCRIPTOR) {
        self.init(
            width: description.Width, height: description.Height, depth: description.Depth,
            format: description.Format.rawValue, channels: description.NumChannels, flags: description.Flags)
    }

    /// What must hold for an array of any device, and what this one can do.
    func check(on device: Device) throws(CUDAError) {
        let known =
            CUDA_ARRAY3D_LAYERED | CUDA_ARRAY3D_SURFACE_LDST | CUDA_ARRAY3D_CUBEMAP | CUDA_ARRAY3D_TEXTURE_GATHER
            | CUDA_ARRAY3D_DEPTH_TEXTURE | CUDA_ARRAY3D_COLOR_ATTACHMENT | CUDA_ARRAY3D_SPARSE
            | CUDA_ARRAY3D_DEFERRED_MAPPING | CUDA_ARRAY3D_VIDEO_ENCODE_DECODE
        guard flags & ~UInt32(known) == 0, width > 0, height >= 0, depth >= 0 else { throw .invalidValue }
        // Depth textures, and textures and surfaces of the graphics system.
        let refused =
            CUDA_ARRAY3D_DEPTH_TEXTURE | CUDA_ARRAY3D_SPARSE | CUDA_ARRAY3D_DEFERRED_MAPPING
            | CUDA_ARRAY3D_VIDEO_ENCODE_DECODE
        guard flags & UInt32(refused) == 0 else { throw .notSupported }
        guard ArrayFormat(format, channels: channels) != nil else {
            throw Self.isKnownFormat(format) ? .notSupported : .invalidValue
        }
        if isCube {
            guard width == height, depth > 0, isLayered ? depth % 6 == 0 : depth == 6 else { throw .invalidValue }
        } else if isLayered {
            guard depth > 0 else { throw .invalidValue }
        } else {
            guard depth == 0 || height > 0 else { throw .invalidValue }
        }
        if has(CUDA_ARRAY3D_TEXTURE_GATHER) {
            guard height > 0, isLayered || isCube || depth == 0 else { throw .invalidValue }
        }
        try checkSize(on: device)
        guard extent != nil else { throw .invalidValue }
    }

    /// Formats that CUDA has and this library does not: compressed and planar ones, each with its own layout.
    private static func isKnownFormat(_ format: UInt32) -> Bool {
        CU_AD_FORMAT_UNORM_INT_101010_2.rawValue...CU_AD_FORMAT_UINT16_PLANAR_444.rawValue ~= format
            || CU_AD_FORMAT_BC1_UNORM.rawValue...CU_AD_FORMAT_YUV444_16bit_SemiPlanar.rawValue ~= format
    }

    private func checkSize(on device: Device) throws(CUDAError) {
        let texture: [CUdevice_attribute]
        let surface: [CUdevice_attribute]
        if isCube {
            texture =
                isLayered
                ? [
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_WIDTH,
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_LAYERED_LAYERS,
                ]
                : [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURECUBEMAP_WIDTH]
            surface =
                isLayered
                ? [
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH,
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_WIDTH,
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_LAYERED_LAYERS,
                ]
                : [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACECUBEMAP_WIDTH]
        } else if isLayered, height > 0 {
            texture = [
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_WIDTH,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_HEIGHT,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LAYERED_LAYERS,
            ]
            surface = [
                CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_WIDTH,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_HEIGHT,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_LAYERED_LAYERS,
            ]
        } else if isLayered {
            return try check(
                (width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_WIDTH),
                (depth, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LAYERED_LAYERS), on: device)
        } else if depth > 0 {
            texture = [
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_HEIGHT,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE3D_DEPTH,
            ]
            surface = [
                CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_HEIGHT,
                CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE3D_DEPTH,
            ]
        } else if height > 0 {
            let isGathered = has(CUDA_ARRAY3D_TEXTURE_GATHER)
            texture =
                isGathered
                ? [
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_WIDTH,
                    CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_GATHER_HEIGHT,
                ] : [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_HEIGHT]
            surface = [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_WIDTH, CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE2D_HEIGHT]
        } else {
            texture = [CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_WIDTH]
            surface = [CU_DEVICE_ATTRIBUTE_MAXIMUM_SURFACE1D_WIDTH]
        }
        for (size, attribute) in zip([width, height, depth], texture) { try check((size, attribute), on: device) }
        guard has(CUDA_ARRAY3D_SURFACE_LDST) else { return }
        for (size, attribute) in zip([width, height, depth], surface) { try check((size, attribute), on: device) }
    }

    /// A limit that the device does not tell is left to its driver.
    private func check(_ sizes: (size: Int, limit: CUdevice_attribute)..., on device: Device) throws(CUDAError) {
        for (size, attribute) in sizes {
            let limit = Int(device.description[attribute])
            guard limit == 0 || size <= limit else { throw .invalidValue }
        }
    }
}
