// SPDX-License-Identifier: Apache-2.0
import CSystem
import Driver
import Glibc

/// Bytes in memory, in rows and slices, wherever the memory is.
struct Box: Sendable {
    let address: UInt64
    let rowBytes: Int
    let sliceBytes: Int

    init(address: UInt64, rowBytes: Int, sliceBytes: Int) {
        self.address = address
        self.rowBytes = rowBytes
        self.sliceBytes = sliceBytes
    }

    /// Bytes in one piece.
    init(_ address: UInt64) {
        self.address = address
        rowBytes = 0
        sliceBytes = 0
    }

    /// A box without gaps.
    init(packed address: UInt64, _ extent: Extent) {
        self.address = address
        rowBytes = extent.widthBytes
        sliceBytes = extent.widthBytes * extent.height
    }

    /// A box in device memory, if its rows do not overlap; and the bytes from its first to its last.
    init?(_ box: DeviceBox, _ extent: Extent, span: inout Int) {
        guard extent.widthBytes > 0, extent.height > 0, extent.depth > 0 else { return nil }
        guard extent.height == 1 && extent.depth == 1 || box.pitch >= extent.widthBytes else { return nil }
        guard extent.depth == 1 || box.rows >= extent.height else { return nil }
        let (slice, overflow) = box.pitch.multipliedReportingOverflow(by: max(0, box.rows))
        let (slices, overflow2) = slice.multipliedReportingOverflow(by: extent.depth - 1)
        let (rows, overflow3) = box.pitch.multipliedReportingOverflow(by: extent.height - 1)
        let (both, overflow4) = slices.addingReportingOverflow(rows)
        let (all, overflow5) = both.addingReportingOverflow(extent.widthBytes)
        let isSingleSlice = extent.depth == 1
        guard isSingleSlice || !overflow && !overflow2, !overflow3, isSingleSlice || !overflow4, !overflow5 else {
            return nil
        }
        span = isSingleSlice ? rows + extent.widthBytes : all
        address = UInt64(box.address)
        rowBytes = box.pitch
        sliceBytes = isSingleSlice ? 0 : slice
    }

    func row(_ row: Int, _ slice: Int) -> UnsafeMutableRawPointer {
        pointer(address) + (slice * sliceBytes + row * rowBytes)
    }
}

/// A copy between two boxes.
///
/// Whoever performs it holds the memory of both.
struct Copy: Sendable {
    let target: Box
    let source: Box
    let extent: Extent
    /// Whether what is copied would only displace other things in the caches.
    let passesCaches: Bool

    init(_ target: Box, _ source: Box, _ extent: Extent, passesCaches: Bool = false) {
        self.target = target
        self.source = source
        self.extent = extent
        self.passesCaches = passesCaches
    }

    init(_ target: UInt64, _ source: UInt64, byteCount: Int) {
        self.init(Box(target), Box(source), Extent(widthBytes: byteCount, height: 1, depth: 1))
    }

    func perform() {
        let isPacked = extent.depth == 1 && target.rowBytes == extent.widthBytes && source.rowBytes == extent.widthBytes
        if isPacked || extent.height == 1 && extent.depth == 1 {
            return move(target.row(0, 0), source.row(0, 0), extent.widthBytes * extent.height)
        }
        for slice in 0..<extent.depth {
            for row in 0..<extent.height {
                move(target.row(row, slice), source.row(row, slice), extent.widthBytes)
            }
        }
    }

    /// Moves a range, which may overlap the other.
    private func move(_ target: UnsafeMutableRawPointer, _ source: UnsafeMutableRawPointer, _ count: Int) {
        if abs(target - source) < count {
            memmove(target, source, count)
        } else if passesCaches {
            csystem_copy_past_caches(target, source, count)
        } else {
            csystem_copy(target, source, count)
        }
    }
}

/// Sets rows of 8-, 16- or 32-bit values.
struct Fill<Element: FixedWidthInteger & Sendable>: Sendable {
    let address: UInt64
    let pitch: Int
    let value: Element
    let width: Int
    let height: Int

    func perform() {
        for row in 0..<height {
            let start = pointer(address + UInt64(row * pitch))
            if Element.bitWidth == 8 {
                memset(start, Int32(truncatingIfNeeded: value), width)
            } else {
                start.withMemoryRebound(to: Element.self, capacity: width) { elements in
                    UnsafeMutableBufferPointer(start: elements, count: width).update(repeating: value)
                }
            }
        }
    }
}
