// SPDX-License-Identifier: Apache-2.0
import Driver

/// An array: rows of elements without gaps, slice after slice, or layer after layer.
final class ArrayMemory: Sendable {
    let bits: UInt64
    let context: UInt64
    let shape: ArrayShape
    /// Bytes of a row, rows of a slice, slices.
    let extent: Extent
    let address: UInt64
    let allocation: Allocation
    /// The mipmapped array whose level it is, with which it ends; 0 for none.
    let parent: UInt64

    init(
        bits: UInt64, context: UInt64, shape: ArrayShape, extent: Extent, address: UInt64, allocation: Allocation,
        parent: UInt64 = 0
    ) {
        self.bits = bits
        self.context = context
        self.shape = shape
        self.extent = extent
        self.address = address
        self.allocation = allocation
        self.parent = parent
    }

    var rowBytes: Int { extent.widthBytes }
    var sliceBytes: Int { extent.widthBytes * extent.height }
}

/// A mipmapped array: its levels one behind the other in one allocation.
final class MipmappedArrayMemory: Sendable {
    let bits: UInt64
    let context: UInt64
    let shape: ArrayShape
    let levels: [ArrayMemory]

    init(bits: UInt64, context: UInt64, shape: ArrayShape, levels: [ArrayMemory]) {
        self.bits = bits
        self.context = context
        self.shape = shape
        self.levels = levels
    }
}
