// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// One side of a copy of two or three dimensions, as CUDA's structures describe it.
struct BoxSide {
    var memoryType: CUmemorytype
    var host: CUdeviceptr
    var device: CUdeviceptr
    var array: OpaquePointer?
    /// Where the box begins: bytes in a row, row in a slice, slice.
    var x: Int, y: Int, z: Int
    /// Bytes from row to row; 0 where the rows are as long as the box.
    var pitch: Int
    /// Rows from slice to slice; 0 where the slices are as high as the box.
    var height: Int
}

extension BoxSide {
    /// Memory of any kind, whose rows follow each other.
    init(address: CUdeviceptr) {
        self.init(
            memoryType: CU_MEMORYTYPE_UNIFIED, host: 0, device: address, array: nil, x: 0, y: 0, z: 0, pitch: 0,
            height: 0)
    }
}

/// Where a box lies in an address space.
struct PlacedBox {
    let side: Shim.Side
    var corner: DeviceBox
    /// From the first byte to the last.
    let byteCount: Int

    /// Whether the rows and slices of a box of this size follow each other without gaps.
    func isContiguous(_ extent: Extent) -> Bool {
        !corner.isInArray && (extent.height * extent.depth == 1 || corner.pitch == extent.widthBytes)
            && (extent.depth == 1 || corner.rows == extent.height)
    }
}

extension Shim {
    /// Checks one side of a copy and finds the address where its box begins.
    func place(_ box: BoxSide, _ extent: Extent) throws(CUDAError) -> PlacedBox {
        let base: CUdeviceptr
        let demand: Demand
        switch box.memoryType {
        case CU_MEMORYTYPE_HOST: (base, demand) = (box.host, .anything)
        case CU_MEMORYTYPE_DEVICE: (base, demand) = (box.device, .known)
        case CU_MEMORYTYPE_UNIFIED: (base, demand) = (box.device, .anything)
        case CU_MEMORYTYPE_ARRAY: return try placeInArray(box, extent)
        default: throw .invalidValue
        }
        let pitch = box.pitch == 0 ? extent.widthBytes : box.pitch
        let rows = box.height == 0 ? extent.height : box.height
        let isRowed = extent.height > 1 || extent.depth > 1
        guard box.x >= 0, box.y >= 0, box.z >= 0, pitch >= 0, rows >= 0, pitch >= extent.widthBytes || !isRowed,
            rows >= extent.height || extent.depth <= 1
        else { throw .invalidValue }
        let first = try offset(x: box.x, y: box.y, z: box.z, pitch: pitch, rows: rows)
        let last = try offset(
            x: extent.widthBytes, y: extent.height - 1, z: extent.depth - 1, pitch: pitch, rows: rows)
        let (address, isOverflow) = base.addingReportingOverflow(CUdeviceptr(first))
        guard !isOverflow else { throw .invalidValue }
        return PlacedBox(
            side: try side(address, last, demand), corner: DeviceBox(address: address, pitch: pitch, rows: rows),
            byteCount: last)
    }

    /// A box in an array: all of it lies inside, and begins and ends with whole elements.
    private func placeInArray(_ box: BoxSide, _ extent: Extent) throws(CUDAError) -> PlacedBox {
        let array = try arrays.object(box.array)
        guard let size = array.shape.extent, let elementBytes = array.shape.elementBytes, box.x >= 0, box.y >= 0,
            box.z >= 0, box.x % elementBytes == 0, extent.widthBytes % elementBytes == 0,
            extent.widthBytes <= size.widthBytes, box.x <= size.widthBytes - extent.widthBytes,
            extent.height <= size.height, box.y <= size.height - extent.height, extent.depth <= size.depth,
            box.z <= size.depth - extent.depth
        else { throw .invalidValue }
        return PlacedBox(
            side: .device, corner: DeviceBox(array: array.handle, x: box.x, y: box.y, z: box.z), byteCount: 0)
    }

    private func offset(x: Int, y: Int, z: Int, pitch: Int, rows: Int) throws(CUDAError) -> Int {
        let (slice, overflow1) = z.multipliedReportingOverflow(by: rows)
        let (row, overflow2) = slice.addingReportingOverflow(y)
        let (start, overflow3) = row.multipliedReportingOverflow(by: pitch)
        let (offset, overflow4) = start.addingReportingOverflow(x)
        guard !overflow1, !overflow2, !overflow3, !overflow4 else { throw .invalidValue }
        return offset
    }
}
