// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSoftGPU
import Driver

/// What the runtime is told of a texture or surface.
extension sg_image {
    /// The memory of an array or of the levels of one.
    mutating func set(levels memory: [ArrayMemory], _ shape: ArrayShape) throws(CUDAError) {
        guard let format = ArrayFormat(shape.format, channels: shape.channels), memory.count <= Int(SG_LEVELS_MAX)
        else { throw .invalidValue }
        set(format)
        layers = shape.isLayered || shape.isCube ? UInt32(shape.depth) : 0
        for (number, level) in memory.enumerated() {
            set(
                level: number,
                sg_level(
                    data: pointer(level.address).assumingMemoryBound(to: CChar.self),
                    row_bytes: UInt64(level.rowBytes), slice_bytes: UInt64(level.sliceBytes),
                    width: UInt32(level.shape.width), height: UInt32(level.extent.height),
                    depth: layers > 0 ? 1 : UInt32(level.extent.depth), reserved: 0))
        }
        level_count = UInt32(memory.count)
    }

    /// The format of memory without a shape of its own; returns how many elements there are.
    mutating func set(_ format: UInt32, _ channels: UInt32, byteCount: Int) throws(CUDAError) -> Int {
        guard let format = ArrayFormat(format, channels: channels), byteCount >= format.elementBytes else {
            throw .invalidValue
        }
        set(format)
        return byteCount / format.elementBytes
    }

    private mutating func set(_ format: ArrayFormat) {
        channel = format.channel.rawValue
        channels = UInt32(format.channels)
        element_bytes = UInt32(format.elementBytes)
        is_normalized = format.isNormalized ? 1 : 0
    }

    /// Rows in ordinary memory.
    mutating func set(_ address: CUdeviceptr, width: Int, height: Int, pitch: Int) throws(CUDAError) {
        guard let width = UInt32(exactly: width), let height = UInt32(exactly: height), width < 1 << 30,
            height < 1 << 30
        else { throw .invalidValue }
        set(
            level: 0,
            sg_level(
                data: pointer(UInt64(address)).assumingMemoryBound(to: CChar.self), row_bytes: UInt64(pitch),
                slice_bytes: 0, width: width, height: height, depth: 1, reserved: 0))
        level_count = 1
    }

    private mutating func set(level number: Int, _ level: sg_level) {
        withUnsafeMutableBytes(of: &levels) { bytes in
            bytes.storeBytes(of: level, toByteOffset: number * MemoryLayout<sg_level>.stride, as: sg_level.self)
        }
    }

    private func level(_ number: Int) -> sg_level {
        withUnsafeBytes(of: levels) { bytes in
            bytes.load(fromByteOffset: number * MemoryLayout<sg_level>.stride, as: sg_level.self)
        }
    }

    mutating func set(_ sampler: TextureSampler) throws(CUDAError) {
        let known =
            CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB
            | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP
        let modes = [sampler.addressModes.0, sampler.addressModes.1, sampler.addressModes.2]
        guard sampler.flags & ~UInt32(known) == 0, sampler.filterMode <= 1, sampler.mipmapFilterMode <= 1,
            modes.allSatisfy({ $0 <= CU_TR_ADDRESS_MODE_BORDER.rawValue })
        else { throw .invalidValue }
        // Only fractions and floating-point numbers have a mean.
        let isInteger = channel < SG_F16.rawValue && is_normalized == 0
        let isRaw =
            sampler.flags & UInt32(CU_TRSF_READ_AS_INTEGER) != 0
            || [SG_U32.rawValue, SG_S32.rawValue]
                .contains(channel)
        if isInteger, isRaw, sampler.filterMode == 1 || level_count > 1 && sampler.mipmapFilterMode == 1 {
            throw .invalidValue
        }
        flags = sampler.flags
        address = sampler.addressModes
        filter = sampler.filterMode
        level_filter = sampler.mipmapFilterMode
        level_bias = sampler.levelBias
        level_min = sampler.levelMin
        level_max = sampler.levelMax
        border = sampler.borderColor
    }

    /// Reads a part of the levels and layers only, and the elements as others of the same size.
    mutating func narrow(to view: ResourceView) throws(CUDAError) {
        if let format = ArrayFormat(view: view.format) {
            guard format.elementBytes == Int(element_bytes) else { throw .invalidValue }
            set(format)
        } else if view.format != CU_RES_VIEW_FORMAT_NONE.rawValue {
            // Compressed formats.
            throw .notSupported
        }
        guard view.firstLevel <= view.lastLevel, view.lastLevel < level_count,
            view.firstLayer <= view.lastLayer, view.lastLayer < max(1, layers)
        else { throw .invalidValue }
        let count = Int(view.lastLevel - view.firstLevel) + 1
        for number in 0..<count {
            var level = level(Int(view.firstLevel) + number)
            level.data += Int(view.firstLayer) * Int(level.slice_bytes)
            set(level: number, level)
        }
        level_count = UInt32(count)
        if layers > 0 { layers = view.lastLayer - view.firstLayer + 1 }
    }
}

extension ArrayFormat {
    /// The format of a CUresourceViewFormat: groups of three, of 1, 2 and 4 channels each.
    init?(view format: UInt32) {
        guard format >= CU_RES_VIEW_FORMAT_UINT_1X8.rawValue, format <= CU_RES_VIEW_FORMAT_FLOAT_4X32.rawValue else {
            return nil
        }
        let group = Int(format - 1) / 3
        let formats = [
            CU_AD_FORMAT_UNSIGNED_INT8, CU_AD_FORMAT_SIGNED_INT8, CU_AD_FORMAT_UNSIGNED_INT16,
            CU_AD_FORMAT_SIGNED_INT16, CU_AD_FORMAT_UNSIGNED_INT32, CU_AD_FORMAT_SIGNED_INT32, CU_AD_FORMAT_HALF,
            CU_AD_FORMAT_FLOAT,
        ]
        self.init(formats[group].rawValue, channels: 1 << ((format - 1) % 3))
    }
}
