// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

// Launches, host functions, copies to the host and boxes.

extension HostDriver {
    package func cuLaunchKernel(
        _ context: ContextHandle, f: FunctionHandle, _ shape: LaunchGeometry, stream: StreamHandle,
        parameters: UnsafeRawBufferPointer
    ) throws(CUDAError) {
        try makeCurrent(context)
        var byteCount = parameters.count
        let code = withUnsafeMutablePointer(to: &byteCount) { byteCount in
            withUnsafeTemporaryAllocation(of: UnsafeMutableRawPointer?.self, capacity: 5) { extra in
                extra[0] = UnsafeMutableRawPointer(bitPattern: Int(CU_LAUNCH_PARAM_BUFFER_POINTER_AS_INT))
                extra[1] = UnsafeMutableRawPointer(mutating: parameters.baseAddress)
                extra[2] = UnsafeMutableRawPointer(bitPattern: Int(CU_LAUNCH_PARAM_BUFFER_SIZE_AS_INT))
                extra[3] = UnsafeMutableRawPointer(byteCount)
                extra[4] = nil
                return launch(f, shape, stream, extra.baseAddress)
            }
        }
        try check(code)
    }

    private func launch(
        _ f: FunctionHandle, _ shape: LaunchGeometry, _ stream: StreamHandle,
        _ extra: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
    ) -> CUresult {
        if !shape.isCooperative && !shape.hasCluster {
            guard let function = more.cuLaunchKernel else { return CUDA_ERROR_NOT_SUPPORTED }
            return function(
                f.bits, shape.gridX, shape.gridY, shape.gridZ, shape.blockX, shape.blockY, shape.blockZ,
                shape.dynamicSharedBytes, stream.bits, nil, extra)
        }
        guard let function = more.cuLaunchKernelEx else { return CUDA_ERROR_NOT_SUPPORTED }
        return shape.withConfiguration(stream.bits) { function($0, f.bits, nil, extra) }
    }

    package func cuLaunchHostFunc(
        _ context: ContextHandle, stream: StreamHandle, function body: @escaping @Sendable () -> Void
    ) throws(CUDAError) {
        guard let function = more.cuLaunchHostFunc else { throw .notSupported }
        try makeCurrent(context)
        let box = Unmanaged.passRetained(HostFunctionBox(body))
        let code = function(
            stream.bits,
            { pointer in
                guard let pointer else { return }
                // SAFETY: balances the retain below; the driver calls this once.
                Unmanaged<HostFunctionBox>.fromOpaque(pointer).takeRetainedValue().body()
            }, box.toOpaque())
        if code != CUDA_SUCCESS { box.release() }
        try check(code)
    }

    /// Pinned memory: an asynchronous copy to pageable memory waits for the stream.
    package func cuMemAllocHost_v2(
        _ context: ContextHandle, bytesize: Int
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        guard let function = more.cuMemAllocHost else { throw .notSupported }
        try makeCurrent(context)
        var memory: UnsafeMutableRawPointer?
        try check(function(&memory, bytesize))
        return UnsafeMutableRawBufferPointer(start: memory, count: bytesize)
    }

    package func cuMemFreeHost(_ context: ContextHandle, _ memory: UnsafeMutableRawBufferPointer) {
        guard let function = more.cuMemFreeHost, (try? makeCurrent(context)) != nil else { return }
        _ = function(memory.baseAddress)
    }

    package func cuMemcpyDtoH_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        guard stream == .legacyDefault else {
            try cuMemcpyDtoHAsync_v2(context, dstHost: dstHost, srcDevice: srcDevice, stream: stream)
            return try cuStreamSynchronize(context, hStream: stream)
        }
        guard let function = more.cuMemcpyDtoH else { throw .notSupported }
        try makeCurrent(context)
        try check(function(dstHost.baseAddress, srcDevice, dstHost.count))
    }

    package func cuMemcpyDtoHAsync_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        guard let function = more.cuMemcpyDtoHAsync else { throw .notSupported }
        try makeCurrent(context)
        try check(function(dstHost.baseAddress, srcDevice, dstHost.count, stream.bits))
    }

    package func cuMemcpy3DAsync_v2(
        _ context: ContextHandle, target: DeviceBox, source: DeviceBox, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        var copy = CUDA_MEMCPY3D()
        copy.set(target: target)
        copy.set(source: source)
        try enqueue(context, &copy, extent, stream)
    }

    package func cuMemcpy3DHtoDAsync(
        _ context: ContextHandle, target: DeviceBox, packed source: RawSpan, extent: Extent, stream: StreamHandle
    ) throws(CUDAError) {
        guard let bytes = extent.byteCount, source.byteCount >= bytes else { throw .invalidValue }
        var copy = CUDA_MEMCPY3D()
        copy.set(target: target)
        copy.srcMemoryType = CU_MEMORYTYPE_HOST
        copy.srcPitch = extent.widthBytes
        copy.srcHeight = extent.height
        try source.withUnsafeBytes { source throws(CUDAError) in
            copy.srcHost = source.baseAddress
            try enqueue(context, &copy, extent, stream)
            // The source is the caller's; the copy must have read it.
            try cuStreamSynchronize(context, hStream: stream)
        }
    }

    package func cuMemcpy3DDtoH(
        _ context: ContextHandle, packed target: UnsafeMutableRawBufferPointer, source: DeviceBox, extent: Extent,
        stream: StreamHandle
    ) throws(CUDAError) {
        guard let bytes = extent.byteCount, target.count >= bytes else { throw .invalidValue }
        var copy = CUDA_MEMCPY3D()
        copy.set(source: source)
        copy.dstMemoryType = CU_MEMORYTYPE_HOST
        copy.dstHost = target.baseAddress
        copy.dstPitch = extent.widthBytes
        copy.dstHeight = extent.height
        try enqueue(context, &copy, extent, stream)
        try cuStreamSynchronize(context, hStream: stream)
    }

    private func enqueue(
        _ context: ContextHandle, _ copy: inout CUDA_MEMCPY3D, _ extent: Extent, _ stream: StreamHandle
    ) throws(CUDAError) {
        guard let function = more.cuMemcpy3DAsync else { throw .notSupported }
        try makeCurrent(context)
        copy.WidthInBytes = extent.widthBytes
        copy.Height = extent.height
        copy.Depth = extent.depth
        try check(function(&copy, stream.bits))
    }

}

private final class HostFunctionBox: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
}

extension CUDA_MEMCPY3D {
    mutating func set(target: DeviceBox) {
        guard !target.isInArray else {
            dstMemoryType = CU_MEMORYTYPE_ARRAY
            dstArray = OpaquePointer(bitPattern: UInt(target.array.bits))
            (dstXInBytes, dstY, dstZ) = (target.x, target.y, target.z)
            return
        }
        dstMemoryType = CU_MEMORYTYPE_DEVICE
        dstDevice = target.address
        dstPitch = target.pitch
        dstHeight = target.rows
    }

    mutating func set(source: DeviceBox) {
        guard !source.isInArray else {
            srcMemoryType = CU_MEMORYTYPE_ARRAY
            srcArray = OpaquePointer(bitPattern: UInt(source.array.bits))
            (srcXInBytes, srcY, srcZ) = (source.x, source.y, source.z)
            return
        }
        srcMemoryType = CU_MEMORYTYPE_DEVICE
        srcDevice = source.address
        srcPitch = source.pitch
        srcHeight = source.rows
    }
}
