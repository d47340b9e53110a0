// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// Copies of two and three dimensions. Rows of host memory are packed and scattered here, so that only the box travels.
extension Shim {
    func cuMemcpy2D_v2(_ pCopy: UnsafePointer<CUDA_MEMCPY2D>?, defaultStream: DefaultStream) throws(CUDAError) {
        try copy2D(pCopy, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpy2DUnaligned_v2(_ pCopy: UnsafePointer<CUDA_MEMCPY2D>?, defaultStream: DefaultStream) throws(CUDAError)
    {
        try copy2D(pCopy, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpy2DAsync_v2(
        _ pCopy: UnsafePointer<CUDA_MEMCPY2D>?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy2D(pCopy, try workTarget(hStream, defaultStream), isAsync: true)
    }

    func cuMemcpy3D_v2(_ pCopy: UnsafePointer<CUDA_MEMCPY3D>?, defaultStream: DefaultStream) throws(CUDAError) {
        try copy3D(pCopy, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpy3DAsync_v2(
        _ pCopy: UnsafePointer<CUDA_MEMCPY3D>?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy3D(pCopy, try workTarget(hStream, defaultStream), isAsync: true)
    }

    func cuMemcpy3DPeer(_ pCopy: UnsafePointer<CUDA_MEMCPY3D_PEER>?, defaultStream: DefaultStream) throws(CUDAError) {
        try copy3DPeer(pCopy, try target(nil, defaultStream), isAsync: false)
    }

    func cuMemcpy3DPeerAsync(
        _ pCopy: UnsafePointer<CUDA_MEMCPY3D_PEER>?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try copy3DPeer(pCopy, try workTarget(hStream, defaultStream), isAsync: true)
    }

    private func copy2D(
        _ description: UnsafePointer<CUDA_MEMCPY2D>?, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        guard let copy = description?.pointee else { throw .invalidValue }
        try copyBox(
            BoxSide(
                memoryType: copy.dstMemoryType, host: Self.address(copy.dstHost), device: copy.dstDevice,
                array: copy.dstArray, x: copy.dstXInBytes, y: copy.dstY, z: 0, pitch: copy.dstPitch, height: 0),
            BoxSide(
                memoryType: copy.srcMemoryType, host: Self.address(copy.srcHost), device: copy.srcDevice,
                array: copy.srcArray, x: copy.srcXInBytes, y: copy.srcY, z: 0, pitch: copy.srcPitch, height: 0),
            Extent(widthBytes: copy.WidthInBytes, height: copy.Height, depth: 1), stream, isAsync: isAsync)
    }

    private func copy3D(
        _ description: UnsafePointer<CUDA_MEMCPY3D>?, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        guard let copy = description?.pointee else { throw .invalidValue }
        try copyBox(
            BoxSide(
                memoryType: copy.dstMemoryType, host: Self.address(copy.dstHost), device: copy.dstDevice,
                array: copy.dstArray, x: copy.dstXInBytes, y: copy.dstY, z: copy.dstZ, pitch: copy.dstPitch,
                height: copy.dstHeight),
            BoxSide(
                memoryType: copy.srcMemoryType, host: Self.address(copy.srcHost), device: copy.srcDevice,
                array: copy.srcArray, x: copy.srcXInBytes, y: copy.srcY, z: copy.srcZ, pitch: copy.srcPitch,
                height: copy.srcHeight),
            Extent(widthBytes: copy.WidthInBytes, height: copy.Height, depth: copy.Depth), stream, isAsync: isAsync)
    }

    private func copy3DPeer(
        _ description: UnsafePointer<CUDA_MEMCPY3D_PEER>?, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        guard let copy = description?.pointee else { throw .invalidValue }
        try checkPeers(copy.dstContext, copy.srcContext)
        try copyBox(
            BoxSide(
                memoryType: copy.dstMemoryType, host: Self.address(copy.dstHost), device: copy.dstDevice,
                array: copy.dstArray, x: copy.dstXInBytes, y: copy.dstY, z: copy.dstZ, pitch: copy.dstPitch,
                height: copy.dstHeight),
            BoxSide(
                memoryType: copy.srcMemoryType, host: Self.address(copy.srcHost), device: copy.srcDevice,
                array: copy.srcArray, x: copy.srcXInBytes, y: copy.srcY, z: copy.srcZ, pitch: copy.srcPitch,
                height: copy.srcHeight),
            Extent(widthBytes: copy.WidthInBytes, height: copy.Height, depth: copy.Depth), stream, isAsync: isAsync)
    }

    func copyBox(
        _ targetSide: BoxSide, _ sourceSide: BoxSide, _ extent: Extent, _ stream: StreamTarget, isAsync: Bool
    ) throws(CUDAError) {
        guard extent.widthBytes >= 0, extent.height >= 0, extent.depth >= 0, let byteCount = extent.byteCount else {
            throw .invalidValue
        }
        if byteCount == 0 { return }
        let target = try place(targetSide, extent)
        let source = try place(sourceSide, extent)
        if let captured = stream.capturing {
            var description = CUDA_MEMCPY3D()
            description.set(target: targetSide, source: sourceSide, extent)
            let work = CopyWork(
                description: description, context: try context(of: stream), target: settled(target),
                source: settled(source), extent: extent)
            return try capture(.copy(work), on: captured)
        }
        if target.isContiguous(extent), source.isContiguous(extent) {
            return try copy(
                target.corner.address, .anything, source.corner.address, .anything, byteCount, stream, isAsync: isAsync)
        }
        guard target.side != .shared, source.side != .shared else {
            return try whileOnDevice(
                [
                    (target.corner.address, target.side, target.byteCount),
                    (source.corner.address, source.side, source.byteCount),
                ], stream, isChanged: target.side == .shared
            ) { () throws(CUDAError) in
                try copyBox(onDevice(target), onDevice(source), extent, byteCount, stream)
                try waitIfBlocking(stream)
            }
        }
        try copyBox(target, source, extent, byteCount, stream)
        try waitIfBlocking(stream)
    }

    private func onDevice(_ box: PlacedBox) -> PlacedBox {
        guard !box.corner.isInArray else { return box }
        var box = box
        box.corner.address = deviceAddress(box.corner.address)
        return box
    }

    private func copyBox(
        _ target: PlacedBox, _ source: PlacedBox, _ extent: Extent, _ byteCount: Int, _ stream: StreamTarget
    ) throws(CUDAError) {
        switch (target.side.isHost, source.side.isHost) {
        case (false, false):
            try driver.cuMemcpy3DAsync_v2(
                stream.context, target: target.corner, source: source.corner, extent: extent, stream: stream.stream)
        case (false, true): try copyToDevice(target, source, extent, byteCount, stream)
        case (true, false): try copyToHost(target, source, extent, byteCount, stream)
        case (true, true):
            try driver.cuStreamSynchronize(stream.context, hStream: stream.stream)
            let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
            defer { packed.deallocate() }
            Self.gather(source.corner, extent, into: packed)
            Self.scatter(packed, extent, to: target.corner)
        }
    }

    func copyToDevice(
        _ target: PlacedBox, _ source: PlacedBox, _ extent: Extent, _ byteCount: Int, _ stream: StreamTarget
    ) throws(CUDAError) {
        if source.isContiguous(extent) {
            return try driver.cuMemcpy3DHtoDAsync(
                stream.context, target: target.corner, packed: Self.hostBytes(source.corner.address, byteCount).bytes,
                extent: extent, stream: stream.stream)
        }
        let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
        defer { packed.deallocate() }
        Self.gather(source.corner, extent, into: packed)
        try driver.cuMemcpy3DHtoDAsync(
            stream.context, target: target.corner, packed: UnsafeRawBufferPointer(packed).bytes, extent: extent,
            stream: stream.stream)
    }

    /// Waits even when pinned memory would not demand it: the rows are scattered when they are here.
    func copyToHost(
        _ target: PlacedBox, _ source: PlacedBox, _ extent: Extent, _ byteCount: Int, _ stream: StreamTarget
    ) throws(CUDAError) {
        if target.isContiguous(extent) {
            let bytes = UnsafeMutableRawBufferPointer(mutating: Self.hostBytes(target.corner.address, byteCount))
            return try driver.cuMemcpy3DDtoH(
                stream.context, packed: bytes, source: source.corner, extent: extent, stream: stream.stream)
        }
        let packed = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 16)
        defer { packed.deallocate() }
        try driver.cuMemcpy3DDtoH(
            stream.context, packed: packed, source: source.corner, extent: extent, stream: stream.stream)
        Self.scatter(packed, extent, to: target.corner)
    }

    static func gather(_ box: DeviceBox, _ extent: Extent, into packed: UnsafeMutableRawBufferPointer) {
        var offset = 0
        forEachRow(of: box, extent) { row in
            copyRow(from: row, to: UInt(bitPattern: packed.baseAddress) + UInt(offset), extent.widthBytes)
            offset += extent.widthBytes
        }
    }

    static func scatter(_ packed: UnsafeMutableRawBufferPointer, _ extent: Extent, to box: DeviceBox) {
        var offset = 0
        forEachRow(of: box, extent) { row in
            copyRow(from: UInt(bitPattern: packed.baseAddress) + UInt(offset), to: row, extent.widthBytes)
            offset += extent.widthBytes
        }
    }

    private static func copyRow(from source: UInt, to target: UInt, _ byteCount: Int) {
        move(CUdeviceptr(target), CUdeviceptr(source), byteCount)
    }

    /// Calls with the address of each row of a box, in the order in which rows are packed.
    private static func forEachRow(of box: DeviceBox, _ extent: Extent, _ body: (UInt) -> Void) {
        for slice in 0..<extent.depth {
            for row in 0..<extent.height {
                body(UInt(box.address) + UInt((slice * box.rows + row) * box.pitch))
            }
        }
    }
}
