// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Wire

// Copies of boxes, which travel packed, in frames of at most `Limits.boxFrameBytes`.

extension RemoteDriver {
    package func cuMemcpy3DAsync_v2(
        _ context: ContextHandle, target: DeviceBox, source: DeviceBox, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        try post(.cuMemcpy3DAsync_v2, context, byteCount: 2 * DeviceBox.wireBytes + 32, stream: stream) { frame in
            frame.write(target)
            frame.write(source)
            frame.write(extent)
            frame.write(stream.bits)
        }
    }

    package func cuMemcpy3DHtoDAsync(
        _ context: ContextHandle, target: DeviceBox, packed source: RawSpan, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        guard source.byteCount == extent.byteCount else { throw .invalidValue }
        var offset = 0
        while let part = extent.part(from: offset, byteCountMax: Limits.boxFrameBytes) {
            try post(
                .cuMemcpy3DHtoDAsync, context, byteCount: DeviceBox.wireBytes + 32, stream: stream,
                block: source.extracting(offset..<offset + part.byteCount)
            ) { frame in
                frame.write(target.advanced(to: part))
                frame.write(part.extent)
                frame.write(stream.bits)
            }
            offset += part.byteCount
        }
    }

    package func cuMemcpy3DDtoH(
        _ context: ContextHandle, packed target: UnsafeMutableRawBufferPointer, source: DeviceBox, extent: Extent,
        stream: StreamHandle
    ) throws(CUDAError) {
        guard let byteCount = extent.byteCount, target.count >= byteCount else { throw .invalidValue }
        if byteCount == 0 { return }
        let pending = replies.begin()
        do throws(CUDAError) {
            var offset = 0
            while let part = extent.part(from: offset, byteCountMax: Limits.boxFrameBytes) {
                let place = UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + part.byteCount])
                offset += part.byteCount
                try land(
                    .cuMemcpy3DDtoH, context, byteCount: DeviceBox.wireBytes + 32, into: place, pending,
                    waits: offset == byteCount
                ) { frame in
                    frame.write(source.advanced(to: part))
                    frame.write(part.extent)
                    frame.write(stream.bits)
                }
            }
        } catch {
            replies.leave(pending)
            throw error
        }
        try check(replies.wait(for: pending).status)
    }
}

/// A piece of a packed box that is a box itself.
private struct BoxPart {
    /// Bytes, rows and slices in front of it.
    var x: Int, y: Int, z: Int
    var extent: Extent
    var byteCount: Int
}

extension Extent {
    /// The largest piece of at most so many bytes that begins at an offset of the packed box; nil at its end.
    fileprivate func part(from offset: Int, byteCountMax: Int) -> BoxPart? {
        guard let byteCount, offset < byteCount else { return nil }
        let sliceBytes = widthBytes * height
        let (z, y, x) = (offset / sliceBytes, offset % sliceBytes / widthBytes, offset % widthBytes)
        let extent: Extent
        if x > 0 || widthBytes > byteCountMax {
            extent = Extent(widthBytes: min(byteCountMax, widthBytes - x), height: 1, depth: 1)
        } else if y > 0 || sliceBytes > byteCountMax {
            extent = Extent(widthBytes: widthBytes, height: min(byteCountMax / widthBytes, height - y), depth: 1)
        } else {
            extent = Extent(
                widthBytes: widthBytes, height: height, depth: min(byteCountMax / sliceBytes, depth - z))
        }
        return BoxPart(
            x: x, y: y, z: z, extent: extent, byteCount: extent.widthBytes * extent.height * extent.depth)
    }
}

extension DeviceBox {
    /// Bytes of a box in a frame.
    fileprivate static let wireBytes = 56

    fileprivate func advanced(to part: BoxPart) -> DeviceBox {
        var box = advanced(rows: part.y, slices: part.z)
        if isInArray { box.x += part.x } else { box.address += CUdeviceptr(part.x) }
        return box
    }
}

extension FrameWriter {
    fileprivate mutating func write(_ box: DeviceBox) {
        write(box.address)
        write(box.pitch)
        write(box.rows)
        write(box.array.bits)
        write(box.x)
        write(box.y)
        write(box.z)
    }

    fileprivate mutating func write(_ extent: Extent) {
        write(extent.widthBytes)
        write(extent.height)
        write(extent.depth)
    }
}
