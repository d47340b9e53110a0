// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

/// Copies and sets. Every device range is looked up before anything is enqueued, and held until the work is done.
extension SoftGPU {
    /// Copies and sets up to this size are done by the calling thread when the stream has nothing to do: that takes
    /// less time than handing them over.
    private static let quickBytesMax = 64 << 10
    /// Parts of this size belong to a copy that is too large for the caches.
    private static let largePartBytes = 128 << 10
    /// Up to this size, bytes of the application are set aside when they cannot be copied at once; beyond it the call
    /// waits for its turn.
    private static let stagedBytesMax = 4 << 20

    // MARK: Copies in one piece

    package func cuMemcpyHtoDAsync_v2(
        _ context: ContextHandle, dstDevice: CUdeviceptr, srcHost: RawSpan, hStream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        guard srcHost.byteCount > 0 else { return }
        let target = try memoryMap.allocation(at: UInt64(dstDevice), byteCount: srcHost.byteCount)
        let extent = Extent(widthBytes: srcHost.byteCount, height: 1, depth: 1)
        srcHost.withUnsafeBytes { send($0, to: Box(UInt64(dstDevice)), extent, holding: target, stream, context) }
    }

    package func cuMemcpyDtoH_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard let host = dstHost.baseAddress, dstHost.count > 0 else { return }
        let source = try memoryMap.allocation(at: UInt64(srcDevice), byteCount: dstHost.count)
        let copy = Copy(UInt64(UInt(bitPattern: host)), UInt64(srcDevice), byteCount: dstHost.count)
        try fetch(copy, holding: source, stream, context)
    }

    package func cuMemcpyDtoHAsync_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard let host = dstHost.baseAddress, dstHost.count > 0 else { return }
        let source = try memoryMap.allocation(at: UInt64(srcDevice), byteCount: dstHost.count)
        let copy = Copy(UInt64(UInt(bitPattern: host)), UInt64(srcDevice), byteCount: dstHost.count)
        enqueue(copy, holding: source, source, byteCount: dstHost.count, stream, context)
    }

    package func cuMemcpyDtoDAsync_v2(
        _ context: ContextHandle, dstDevice: CUdeviceptr, srcDevice: CUdeviceptr, byteCount: Int, hStream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        guard byteCount >= 0 else { throw .invalidValue }
        guard byteCount > 0 else { return }
        let target = try memoryMap.allocation(at: UInt64(dstDevice), byteCount: byteCount)
        let source = try memoryMap.allocation(at: UInt64(srcDevice), byteCount: byteCount)
        let copy = Copy(UInt64(dstDevice), UInt64(srcDevice), byteCount: byteCount)
        enqueue(copy, holding: target, source, byteCount: byteCount, stream, context)
    }

    // MARK: Copies of boxes

    package func cuMemcpy3DAsync_v2(
        _ context: ContextHandle, target: DeviceBox, source: DeviceBox, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard let byteCount = try Self.byteCount(of: extent) else { return }
        let (targetBox, targetMemory) = try box(target, extent)
        let (sourceBox, sourceMemory) = try box(source, extent)
        let copy = Copy(targetBox, sourceBox, extent)
        enqueue(copy, holding: targetMemory, sourceMemory, byteCount: byteCount, stream, context)
    }

    package func cuMemcpy3DHtoDAsync(
        _ context: ContextHandle, target: DeviceBox, packed source: RawSpan, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard let byteCount = try Self.byteCount(of: extent) else { return }
        guard source.byteCount >= byteCount else { throw .invalidValue }
        let (box, memory) = try box(target, extent)
        source.withUnsafeBytes { send($0, to: box, extent, holding: memory, stream, context) }
    }

    package func cuMemcpy3DDtoH(
        _ context: ContextHandle, packed target: UnsafeMutableRawBufferPointer, source: DeviceBox, extent: Extent,
        stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        guard let byteCount = try Self.byteCount(of: extent) else { return }
        guard let host = target.baseAddress, target.count >= byteCount else { throw .invalidValue }
        let (box, memory) = try box(source, extent)
        let copy = Copy(Box(packed: UInt64(UInt(bitPattern: host)), extent), box, extent)
        try fetch(copy, holding: memory, stream, context)
    }

    /// The bytes of a box, or nil when there are none.
    private static func byteCount(of extent: Extent) throws(CUDAError) -> Int? {
        guard extent.widthBytes >= 0, extent.height >= 0, extent.depth >= 0, let byteCount = extent.byteCount else {
            throw .invalidValue
        }
        return byteCount == 0 ? nil : byteCount
    }

    func box(_ box: DeviceBox, _ extent: Extent) throws(CUDAError) -> (Box, any MemoryHolder) {
        if box.isInArray { return try arrayBox(box, extent) }
        var span = 0
        guard let found = Box(box, extent, span: &span) else { throw .invalidValue }
        return (found, try memoryMap.allocation(at: UInt64(box.address), byteCount: span))
    }

    // MARK: How copies are done

    /// Copies the application's bytes, which lie without gaps and are its own again when this returns.
    private func send(
        _ source: UnsafeRawBufferPointer, to target: Box, _ extent: Extent, holding memory: any MemoryHolder,
        _ stream: Stream, _ context: Context
    ) {
        let host = UInt64(UInt(bitPattern: source.baseAddress))
        let direct = Copy(
            target, Box(packed: host, extent), extent, passesCaches: source.count >= Self.largePartBytes)
        if !context.keepOrder(stream), stream.performIfIdle(direct.perform) { return }
        guard source.count <= Self.stagedBytesMax else {
            let position = stream.submit(.task { withExtendedLifetime(memory) { direct.perform() } })
            stream.wait(for: position.sequence)
            return
        }
        let staged = [UInt8](source)
        stream.submit(
            .task {
                staged.withUnsafeBytes { staged in
                    let host = UInt64(UInt(bitPattern: staged.baseAddress))
                    withExtendedLifetime(memory) { Copy(target, Box(packed: host, extent), extent).perform() }
                }
            })
    }

    /// Copies to the application and returns when that is done.
    private func fetch(
        _ copy: Copy, holding memory: any MemoryHolder, _ stream: Stream, _ context: Context
    ) throws(CUDAError) {
        if context.keepOrder(stream) || !stream.performIfIdle(copy.perform) {
            let position = stream.submit(.task { withExtendedLifetime(memory) { copy.perform() } })
            context.wait(for: position)
        } else {
            context.noteSynchronization()
        }
        try context.checkHealth()
    }

    private func enqueue(
        _ copy: Copy, holding target: any MemoryHolder, _ source: any MemoryHolder, byteCount: Int, _ stream: Stream,
        _ context: Context
    ) {
        perform(byteCount: byteCount, stream, context) {
            withExtendedLifetime((target, source)) { copy.perform() }
        }
    }

    /// Does work on `byteCount` bytes at once or enqueues it.
    private func perform(
        byteCount: Int, _ stream: Stream, _ context: Context, _ body: @escaping @Sendable () -> Void
    ) {
        if byteCount <= Self.quickBytesMax {
            context.perform(stream, body)
        } else {
            context.enqueue(stream, .task(body))
        }
    }

    // MARK: Sets

    package func cuMemsetD8Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, uc: UInt8, n: Int, hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: 0, uc, width: n, height: 1, hStream)
    }

    package func cuMemsetD16Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, us: UInt16, n: Int, hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: 0, us, width: n, height: 1, hStream)
    }

    package func cuMemsetD32Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, ui: UInt32, n: Int, hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: 0, ui, width: n, height: 1, hStream)
    }

    package func cuMemsetD2D8Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, uc: UInt8, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: dstPitch, uc, width: width, height: height, hStream)
    }

    package func cuMemsetD2D16Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, us: UInt16, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: dstPitch, us, width: width, height: height, hStream)
    }

    package func cuMemsetD2D32Async(
        _ context: ContextHandle, dstDevice: CUdeviceptr, dstPitch: Int, ui: UInt32, width: Int, height: Int,
        hStream: StreamHandle
    ) throws(CUDAError) {
        try fill(context, dstDevice, pitch: dstPitch, ui, width: width, height: height, hStream)
    }

    /// Sets `height` rows of `width` values.
    private func fill<Element: FixedWidthInteger & Sendable>(
        _ context: ContextHandle, _ address: CUdeviceptr, pitch: Int, _ value: Element, width: Int, height: Int,
        _ stream: StreamHandle
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(stream, in: context)
        let elementBytes = Element.bitWidth / 8
        guard width >= 0, height >= 0 else { throw .invalidValue }
        let (rowBytes, overflow) = width.multipliedReportingOverflow(by: elementBytes)
        guard !overflow, address % UInt64(elementBytes) == 0, height <= 1 || pitch % elementBytes == 0 else {
            throw .invalidValue
        }
        let extent = Extent(widthBytes: rowBytes, height: height, depth: 1)
        guard let byteCount = try Self.byteCount(of: extent) else { return }
        let (_, memory) = try box(DeviceBox(address: address, pitch: pitch, rows: height), extent)
        let fill = Fill(address: UInt64(address), pitch: pitch, value: value, width: width, height: height)
        perform(byteCount: byteCount, stream, context) {
            withExtendedLifetime(memory) { fill.perform() }
        }
    }
}
