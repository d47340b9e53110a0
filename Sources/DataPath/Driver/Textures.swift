// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// The size and the elements of an array, as CUDA_ARRAY3D_DESCRIPTOR.
package struct ArrayShape: Sendable, Equatable {
    /// In elements; 0 for a dimension that the array does not have.
    ///
    /// The depth of a layered array is its layers.
    package var width: Int, height: Int, depth: Int
    /// A CUarray_format.
    package var format: UInt32
    package var channels: UInt32
    /// CUDA_ARRAY3D flags.
    package var flags: UInt32

    package init(width: Int, height: Int, depth: Int, format: UInt32, channels: UInt32, flags: UInt32) {
        (self.width, self.height, self.depth) = (width, height, depth)
        self.format = format
        self.channels = channels
        self.flags = flags
    }

    package func has(_ flag: Int32) -> Bool { flags & UInt32(flag) != 0 }

    package var isLayered: Bool { has(CUDA_ARRAY3D_LAYERED) }
    package var isCube: Bool { has(CUDA_ARRAY3D_CUBEMAP) }

    /// Bytes of an element, or nil for formats that are not made of equal channels.
    package var elementBytes: Int? { ArrayFormat(format, channels: channels)?.elementBytes }

    /// Bytes of a row, rows of a slice, and slices or layers; nil when they do not fit.
    package var extent: Extent? {
        guard let elementBytes, width >= 0, height >= 0, depth >= 0 else { return nil }
        let (row, overflow) = width.multipliedReportingOverflow(by: elementBytes)
        let extent = Extent(widthBytes: row, height: max(1, height), depth: max(1, depth))
        return overflow || extent.byteCount == nil ? nil : extent
    }

    /// The shape of a level of a mipmapped array of this shape: half as large each time, but as many layers.
    package func level(_ level: Int) -> ArrayShape {
        var shape = self
        func half(_ size: Int) -> Int { size == 0 ? 0 : max(1, size >> level) }
        shape.width = half(width)
        shape.height = half(height)
        if !isLayered && !isCube { shape.depth = half(depth) }
        return shape
    }

    /// Levels until all dimensions are 1.
    package var levelsMax: Int {
        let largest = max(width, height, isLayered || isCube ? 0 : depth)
        return largest == 0 ? 0 : Int.bitWidth - largest.leadingZeroBitCount
    }

    /// Bytes of all levels together; nil when they do not fit.
    package func byteCount(levels: Int) -> Int? {
        var sum = 0
        for number in 0..<levels {
            guard let bytes = level(number).extent?.byteCount else { return nil }
            let (next, overflow) = sum.addingReportingOverflow(bytes)
            guard !overflow else { return nil }
            sum = next
        }
        return sum
    }
}

/// A format whose elements are one, two or four equal channels.
package struct ArrayFormat: Sendable, Equatable {
    package enum Channel: UInt32, Sendable {
        case uint8, uint16, uint32, int8, int16, int32, half, float
    }

    package var channel: Channel
    package var channels: Int
    /// Whether integers are always read as fractions, as with CU_AD_FORMAT_UNORM_INT8X1.
    package var isNormalized = false

    /// Nil for compressed and planar formats, and for wrong numbers of channels.
    package init?(_ format: UInt32, channels: UInt32) {
        guard [1, 2, 4].contains(channels) else { return nil }
        self.channels = Int(channels)
        switch CUarray_format(format) {
        case CU_AD_FORMAT_UNSIGNED_INT8: channel = .uint8
        case CU_AD_FORMAT_UNSIGNED_INT16: channel = .uint16
        case CU_AD_FORMAT_UNSIGNED_INT32: channel = .uint32
        case CU_AD_FORMAT_SIGNED_INT8: channel = .int8
        case CU_AD_FORMAT_SIGNED_INT16: channel = .int16
        case CU_AD_FORMAT_SIGNED_INT32: channel = .int32
        case CU_AD_FORMAT_HALF: channel = .half
        case CU_AD_FORMAT_FLOAT: channel = .float
        default:
            // Four groups of three, of 1, 2 and 4 channels each.
            let first = CU_AD_FORMAT_UNORM_INT8X1.rawValue
            guard format >= first, format <= CU_AD_FORMAT_SNORM_INT16X4.rawValue,
                channels == 1 << ((format - first) % 3)
            else { return nil }
            let groups: [Channel] = [.uint8, .uint16, .int8, .int16]
            channel = groups[Int((format - first) / 3)]
            isNormalized = true
        }
    }

    package var channelBytes: Int {
        switch channel {
        case .uint8, .int8: 1
        case .uint16, .int16, .half: 2
        case .uint32, .int32, .float: 4
        }
    }

    package var elementBytes: Int { channels * channelBytes }
    package var isFloat: Bool { channel == .half || channel == .float }
}

/// What a texture object reads, as CUDA_RESOURCE_DESC.
package enum TextureResource: Sendable, Equatable {
    case array(ArrayHandle)
    case mipmappedArray(MipmappedArrayHandle)
    /// Memory of `byteCount` bytes, read by the number of the element.
    case linear(CUdeviceptr, format: UInt32, channels: UInt32, byteCount: Int)
    /// Rows of `width` elements, `pitch` bytes apart.
    case pitch2D(CUdeviceptr, format: UInt32, channels: UInt32, width: Int, height: Int, pitch: Int)
}

/// How a texture object reads, as CUDA_TEXTURE_DESC.
package struct TextureSampler: Sendable, Equatable {
    /// CUaddress_mode of each dimension.
    package var addressModes: (UInt32, UInt32, UInt32)
    /// CUfilter_mode inside a level.
    package var filterMode: UInt32
    /// CU_TRSF flags.
    package var flags: UInt32
    package var anisotropyMax: UInt32
    /// CUfilter_mode between levels.
    package var mipmapFilterMode: UInt32
    package var levelBias: Float, levelMin: Float, levelMax: Float
    package var borderColor: (Float, Float, Float, Float)

    package init() {
        addressModes = (0, 0, 0)
        filterMode = 0
        flags = 0
        anisotropyMax = 0
        mipmapFilterMode = 0
        (levelBias, levelMin, levelMax) = (0, 0, 0)
        borderColor = (0, 0, 0, 0)
    }

    package static func == (one: TextureSampler, other: TextureSampler) -> Bool {
        one.addressModes == other.addressModes && one.filterMode == other.filterMode && one.flags == other.flags
            && one.anisotropyMax == other.anisotropyMax && one.mipmapFilterMode == other.mipmapFilterMode
            && (one.levelBias, one.levelMin, one.levelMax) == (other.levelBias, other.levelMin, other.levelMax)
            && one.borderColor == other.borderColor
    }
}

/// The part of an array that a texture object reads, and as what, as CUDA_RESOURCE_VIEW_DESC.
package struct ResourceView: Sendable, Equatable {
    /// A CUresourceViewFormat.
    package var format: UInt32
    package var width: Int, height: Int, depth: Int
    package var firstLevel: UInt32, lastLevel: UInt32
    package var firstLayer: UInt32, lastLayer: UInt32

    package init(
        format: UInt32, width: Int, height: Int, depth: Int, levels: (first: UInt32, last: UInt32),
        layers: (first: UInt32, last: UInt32)
    ) {
        self.format = format
        (self.width, self.height, self.depth) = (width, height, depth)
        (firstLevel, lastLevel) = levels
        (firstLayer, lastLayer) = layers
    }
}
