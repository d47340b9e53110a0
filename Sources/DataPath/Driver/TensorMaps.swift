// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// What kernels give the unit of a GPU that moves parts of tensors: 128 bytes that only drivers and GPUs understand.
package struct TensorMap: Hashable, Sendable {
    package static let byteCount = 128

    package var words: SIMD16<UInt64>

    package init(words: SIMD16<UInt64>) { self.words = words }

    /// A copy of an application's 128 bytes.
    package init(bytes: UnsafeRawBufferPointer) {
        precondition(bytes.count == Self.byteCount, "a tensor map has \(Self.byteCount) bytes")
        words = SIMD16()
        for index in 0..<16 { words[index] = bytes.loadUnaligned(fromByteOffset: index * 8, as: UInt64.self) }
    }

    package func write(to bytes: UnsafeMutableRawBufferPointer) {
        precondition(bytes.count == Self.byteCount, "a tensor map has \(Self.byteCount) bytes")
        for index in 0..<16 { bytes.storeBytes(of: words[index], toByteOffset: index * 8, as: UInt64.self) }
    }
}

/// What a tensor map is made of: all arguments of cuTensorMapEncodeTiled, Im2col or Im2colWide.
///
/// Which values go together is the GPU's driver's to say: it differs from one generation of GPUs to the next. Only what
/// lies beyond the rank is always 0, so that equal maps are equal.
package struct TensorMapDescription: Hashable, Sendable {
    package static let rankMax = 5

    /// The parts of the tensor that are moved at a time.
    package enum Part: Hashable, Sendable {
        /// Tiled: a box, in elements of each dimension.
        case box(SIMD8<UInt32>)
        /// Im2col: pixels between two corners, of which there are two dimensions less than the tensor has.
        case pixels(lower: SIMD4<Int32>, upper: SIMD4<Int32>, channelsPerPixel: UInt32, pixelsPerColumn: UInt32)
        /// Im2colWide: pixels of one row; `mode` is a CUtensorMapIm2ColWideMode.
        case row(lower: Int32, upper: Int32, channelsPerPixel: UInt32, pixelsPerColumn: UInt32, mode: UInt32)

        /// A tensor of fewer dimensions has no such parts.
        package var rankMin: Int {
            switch self {
            case .box: 1
            case .pixels, .row: 3
            }
        }
    }

    /// A CUtensorMapDataType.
    package var dataType: UInt32 = 0
    package var rank = 1
    package var address: CUdeviceptr = 0
    /// Elements of each dimension.
    package var sizes = SIMD8<UInt64>()
    /// Bytes from one element to the next, of each dimension but the first.
    package var strides = SIMD4<UInt64>()
    package var elementStrides = SIMD8<UInt32>()
    /// A CUtensorMapInterleave.
    package var interleave: UInt32 = 0
    /// A CUtensorMapSwizzle.
    package var swizzle: UInt32 = 0
    /// A CUtensorMapL2promotion.
    package var l2Promotion: UInt32 = 0
    /// A CUtensorMapFloatOOBfill.
    package var oobFill: UInt32 = 0
    package var part: Part

    package init(part: Part) { self.part = part }
}
