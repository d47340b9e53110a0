// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Copies of bytes in a row from and to arrays.
///
/// The elements of an array are counted through its rows: a piece that begins or ends inside a row is copied as up to
/// three boxes.
extension Shim {
    func cuMemcpyHtoA_v2(
        _ dstArray: OpaquePointer?, _ dstOffset: Int, _ srcHost: UnsafeRawPointer?, _ ByteCount: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .array(dstArray, dstOffset), .host(Self.address(srcHost)), ByteCount, try target(nil, defaultStream),
            isAsync: false)
    }

    func cuMemcpyHtoAAsync_v2(
        _ dstArray: OpaquePointer?, _ dstOffset: Int, _ srcHost: UnsafeRawPointer?, _ ByteCount: Int,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .array(dstArray, dstOffset), .host(Self.address(srcHost)), ByteCount,
            try workTarget(hStream, defaultStream),
            isAsync: true)
    }

    func cuMemcpyAtoH_v2(
        _ dstHost: UnsafeMutableRawPointer?, _ srcArray: OpaquePointer?, _ srcOffset: Int, _ ByteCount: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .host(Self.address(dstHost)), .array(srcArray, srcOffset), ByteCount, try target(nil, defaultStream),
            isAsync: false)
    }

    func cuMemcpyAtoHAsync_v2(
        _ dstHost: UnsafeMutableRawPointer?, _ srcArray: OpaquePointer?, _ srcOffset: Int, _ ByteCount: Int,
        _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .host(Self.address(dstHost)), .array(srcArray, srcOffset), ByteCount,
            try workTarget(hStream, defaultStream),
            isAsync: true)
    }

    func cuMemcpyDtoA_v2(
        _ dstArray: OpaquePointer?, _ dstOffset: Int, _ srcDevice: CUdeviceptr, _ ByteCount: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .array(dstArray, dstOffset), .device(srcDevice), ByteCount, try target(nil, defaultStream),
            isAsync: false)
    }

    func cuMemcpyAtoD_v2(
        _ dstDevice: CUdeviceptr, _ srcArray: OpaquePointer?, _ srcOffset: Int, _ ByteCount: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy(
            .device(dstDevice), .array(srcArray, srcOffset), ByteCount, try target(nil, defaultStream),
            isAsync: false)
    }

    /// Elements of the same size, in pieces that lie inside a row of both.
    func cuMemcpyAtoA_v2(
        _ dstArray: OpaquePointer?, _ dstOffset: Int, _ srcArray: OpaquePointer?, _ srcOffset: Int, _ ByteCount: Int,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let source = try arrays.object(srcArray).shape
        let target = try arrays.object(dstArray).shape
        guard source.elementBytes == target.elementBytes else { throw .invalidValue }
        try copy(
            .array(dstArray, dstOffset), .array(srcArray, srcOffset), ByteCount, try self.target(nil, defaultStream),
            isAsync: false)
    }

    private enum RowSide {
        case host(CUdeviceptr)
        case device(CUdeviceptr)
        /// An array and the offset of a byte in it.
        case array(OpaquePointer?, Int)
    }

    private func copy(
        _ target: RowSide, _ source: RowSide, _ byteCount: Int, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        guard byteCount >= 0 else { throw .invalidValue }
        var done = 0
        let sides = [target, source]
        for side in sides { try check(side, byteCount) }
        while done < byteCount {
            // A whole number of rows at once where both sides are at the beginning of one.
            var extent = Extent(widthBytes: byteCount - done, height: 1, depth: 1)
            for side in sides {
                guard case .array(let array, let offset) = side else { continue }
                let rowBytes = try rowBytes(of: array)
                let rest = rowBytes - (offset + done) % rowBytes
                extent.widthBytes = min(extent.widthBytes, rest)
            }
            if sides.filter(isArray).count == 1, extent.widthBytes < byteCount - done,
                let array = sides.first(where: isArray), case .array(let handle, let offset) = array
            {
                let rowBytes = try rowBytes(of: handle)
                if (offset + done) % rowBytes == 0 { extent.height = (byteCount - done) / rowBytes }
            }
            try copyBox(
                try box(target, done), try box(source, done), extent, stream, isAsync: isAsync)
            done += extent.widthBytes * extent.height
        }
    }

    private func isArray(_ side: RowSide) -> Bool { if case .array = side { true } else { false } }

    private func rowBytes(of array: OpaquePointer?) throws(CUDAError) -> Int {
        guard let extent = try arrays.object(array).shape.extent else { throw .invalidValue }
        return extent.widthBytes
    }

    /// An array of one or two dimensions has all of the bytes.
    private func check(_ side: RowSide, _ byteCount: Int) throws(CUDAError) {
        guard case .array(let handle, let offset) = side else { return }
        let shape = try arrays.object(handle).shape
        guard let extent = shape.extent, let all = extent.byteCount, extent.depth == 1, offset >= 0,
            byteCount <= all, offset <= all - byteCount
        else { throw .invalidValue }
    }

    private func box(_ side: RowSide, _ done: Int) throws(CUDAError) -> BoxSide {
        switch side {
        case .host(let address):
            return BoxSide(address: address + CUdeviceptr(done))
        case .device(let address):
            return BoxSide(
                memoryType: CU_MEMORYTYPE_DEVICE, host: 0, device: address + CUdeviceptr(done), array: nil, x: 0,
                y: 0, z: 0, pitch: 0, height: 0)
        case .array(let handle, let offset):
            let rowBytes = try rowBytes(of: handle)
            return BoxSide(
                memoryType: CU_MEMORYTYPE_ARRAY, host: 0, device: 0, array: handle, x: (offset + done) % rowBytes,
                y: (offset + done) / rowBytes, z: 0, pitch: 0, height: 0)
        }
    }
}
