// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Copies in batches, and copies that say when their source may be read.
///
/// All copies of a batch are checked before the first is enqueued. Where memory is, they may hint at; that is known
/// here anyway.
extension Shim {
    /// One copy of a batch.
    private struct BatchedCopy {
        let target: BoxSide
        let source: BoxSide
        let extent: Extent
        /// Whether the source must have been read when the call returns.
        let isReadDuringCall: Bool
    }

    // MARK: Ranges

    func cuMemcpyBatchAsync(
        _ dsts: UnsafeMutablePointer<CUdeviceptr>?, _ srcs: UnsafeMutablePointer<CUdeviceptr>?,
        _ sizes: UnsafeMutablePointer<Int>?, _ count: Int, _ attrs: UnsafeMutablePointer<CUmemcpyAttributes>?,
        _ attrsIdxs: UnsafeMutablePointer<Int>?, _ numAttrs: Int, _ failIdx: UnsafeMutablePointer<Int>?,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        var failed = Batch.noIndex
        defer { failIdx?.pointee = failed }
        let stream = try batchTarget(hStream, defaultStream)
        let attributes = try Batch.spread(attrs, attrsIdxs, numAttrs, over: count)
        guard let dsts, let srcs, let sizes else { throw .invalidValue }
        try enqueue(count, stream, &failed) { index throws(CUDAError) in
            try batchedCopy(dsts[index], srcs[index], sizes[index], attributes[index])
        }
    }

    func cuMemcpyBatchAsync_v2(
        _ dsts: UnsafeMutablePointer<CUdeviceptr>?, _ srcs: UnsafeMutablePointer<CUdeviceptr>?,
        _ sizes: UnsafeMutablePointer<Int>?, _ count: Int, _ attrs: UnsafeMutablePointer<CUmemcpyAttributes>?,
        _ attrsIdxs: UnsafeMutablePointer<Int>?, _ numAttrs: Int, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemcpyBatchAsync(
            dsts, srcs, sizes, count, attrs, attrsIdxs, numAttrs, nil, hStream, defaultStream: defaultStream)
    }

    func cuMemcpyWithAttributesAsync(
        _ dst: CUdeviceptr, _ src: CUdeviceptr, _ size: Int, _ attr: UnsafeMutablePointer<CUmemcpyAttributes>?,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let attributes = attr?.pointee else { throw .invalidValue }
        var failed = Batch.noIndex
        try enqueue(1, try workTarget(hStream, defaultStream), &failed) { _ throws(CUDAError) in
            try batchedCopy(dst, src, size, attributes)
        }
    }

    private func batchedCopy(
        _ target: CUdeviceptr, _ source: CUdeviceptr, _ byteCount: Int, _ attributes: CUmemcpyAttributes
    ) throws(CUDAError) -> BatchedCopy {
        BatchedCopy(
            target: BoxSide(address: target), source: BoxSide(address: source),
            extent: Extent(widthBytes: byteCount, height: 1, depth: 1),
            isReadDuringCall: try isReadDuringCall(attributes.srcAccessOrder, attributes.flags))
    }

    // MARK: Boxes

    func cuMemcpy3DBatchAsync(
        _ numOps: Int, _ opList: UnsafeMutablePointer<CUDA_MEMCPY3D_BATCH_OP>?, _ failIdx: UnsafeMutablePointer<Int>?,
        _ flags: UInt64, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        var failed = Batch.noIndex
        defer { failIdx?.pointee = failed }
        let stream = try batchTarget(hStream, defaultStream)
        guard numOps > 0, let opList, flags == 0 else { throw .invalidValue }
        try enqueue(numOps, stream, &failed) { index throws(CUDAError) in try batchedCopy(opList[index]) }
    }

    func cuMemcpy3DBatchAsync_v2(
        _ numOps: Int, _ opList: UnsafeMutablePointer<CUDA_MEMCPY3D_BATCH_OP>?, _ flags: UInt64,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuMemcpy3DBatchAsync(numOps, opList, nil, flags, hStream, defaultStream: defaultStream)
    }

    func cuMemcpy3DWithAttributesAsync(
        _ op: UnsafeMutablePointer<CUDA_MEMCPY3D_BATCH_OP>?, _ flags: UInt64, _ hStream: OpaquePointer?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let operation = op?.pointee, flags == 0 else { throw .invalidValue }
        var failed = Batch.noIndex
        try enqueue(1, try workTarget(hStream, defaultStream), &failed) { _ throws(CUDAError) in
            try batchedCopy(operation)
        }
    }

    /// Extents and offsets are in elements: those of the array, or bytes between two addresses.
    private func batchedCopy(_ operation: CUDA_MEMCPY3D_BATCH_OP) throws(CUDAError) -> BatchedCopy {
        let size = operation.extent
        let sizes = [try elementBytes(operation.src), try elementBytes(operation.dst)].compactMap { $0 }
        let elementBytes = sizes.first ?? 1
        let (widthBytes, isTooWide) = size.width.multipliedReportingOverflow(by: elementBytes)
        guard size.width > 0, size.height > 0, size.depth > 0, !isTooWide, sizes.allSatisfy({ $0 == elementBytes })
        else { throw .invalidValue }
        return BatchedCopy(
            target: try boxSide(operation.dst, size, elementBytes),
            source: try boxSide(operation.src, size, elementBytes),
            extent: Extent(widthBytes: widthBytes, height: size.height, depth: size.depth),
            isReadDuringCall: try isReadDuringCall(operation.srcAccessOrder, operation.flags))
    }

    /// Bytes of an element of an array; nil for an address.
    private func elementBytes(_ operand: CUmemcpy3DOperand) throws(CUDAError) -> Int? {
        guard operand.type == CU_MEMCPY_OPERAND_TYPE_ARRAY else { return nil }
        return try arrays.object(operand.op.array.array).shape.elementBytes
    }

    private func boxSide(
        _ operand: CUmemcpy3DOperand, _ size: CUextent3D, _ elementBytes: Int
    ) throws(CUDAError) -> BoxSide {
        switch operand.type {
        case CU_MEMCPY_OPERAND_TYPE_POINTER:
            let pointer = operand.op.ptr
            let (pitch, isTooLong) = pointer.rowLength.multipliedReportingOverflow(by: elementBytes)
            guard pointer.rowLength == 0 || pointer.rowLength >= size.width, !isTooLong,
                pointer.layerHeight == 0 || pointer.layerHeight >= size.height
            else { throw .invalidValue }
            var side = BoxSide(address: pointer.ptr)
            (side.pitch, side.height) = (pitch, pointer.layerHeight)
            return side
        case CU_MEMCPY_OPERAND_TYPE_ARRAY:
            let (array, offset) = (operand.op.array.array, operand.op.array.offset)
            let (x, isTooFar) = offset.x.multipliedReportingOverflow(by: elementBytes)
            guard !isTooFar else { throw .invalidValue }
            return BoxSide(
                memoryType: CU_MEMORYTYPE_ARRAY, host: 0, device: 0, array: array, x: x, y: offset.y, z: offset.z,
                pitch: 0, height: 0)
        default: throw .invalidValue
        }
    }

    // MARK: All

    private func isReadDuringCall(_ order: CUmemcpySrcAccessOrder, _ flags: UInt32) throws(CUDAError) -> Bool {
        guard flags & ~CU_MEMCPY_FLAG_PREFER_OVERLAP_WITH_COMPUTE.rawValue == 0 else { throw .invalidValue }
        switch order {
        case CU_MEMCPY_SRC_ACCESS_ORDER_DURING_API_CALL: return true
        // What may be read at any time is read in the order of the stream, which is one of them.
        case CU_MEMCPY_SRC_ACCESS_ORDER_STREAM, CU_MEMCPY_SRC_ACCESS_ORDER_ANY: return false
        default: throw .invalidValue
        }
    }

    /// Checks all copies and enqueues them; `failed` is the one that an error belongs to.
    ///
    /// A source that a captured copy would have to read during this call cannot be read at the launch.
    private func enqueue(
        _ count: Int, _ stream: StreamTarget, _ failed: inout Int,
        _ copy: (Int) throws(CUDAError) -> BatchedCopy
    ) throws(CUDAError) {
        var copies: [BatchedCopy] = []
        // Of a source on the device only the stream knows when it has been read.
        var mustWait = false
        for index in 0..<count {
            failed = index
            let copy = try copy(index)
            guard copy.extent.widthBytes >= 0, let byteCount = copy.extent.byteCount else { throw .invalidValue }
            if byteCount > 0 {
                _ = try place(copy.target, copy.extent)
                let source = try place(copy.source, copy.extent)
                mustWait = mustWait || copy.isReadDuringCall && !source.side.isHost
            }
            if copy.isReadDuringCall, let captured = stream.capturing { try refuseCapture(of: captured) }
            copies.append(copy)
        }
        for (index, copy) in copies.enumerated() {
            failed = index
            try copyBox(copy.target, copy.source, copy.extent, stream, isAsync: !copy.isReadDuringCall)
        }
        failed = Batch.noIndex
        if mustWait { try driver.cuStreamSynchronize(stream.context, hStream: stream.stream) }
    }
}
