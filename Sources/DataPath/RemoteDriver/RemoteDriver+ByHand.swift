// SPDX-License-Identifier: Apache-2.0
package import CCUDA
import CSystem
package import Driver
import ProgramImage
import Synchronization
import Wire

// The calls whose frames are not plain lists of values.

extension RemoteDriver {
    package func cuDevicePrimaryCtxRetain(dev: Int32) throws(CUDAError) -> ContextHandle {
        let known = primaryContexts.withLock { contexts -> ContextHandle? in
            contexts[dev]?.retains += 1
            return contexts[dev]?.context
        }
        if let known { return known }
        let made = ContextHandle(bits: newHandle())
        _ = try call(.cuDevicePrimaryCtxRetain, ContextHandle(bits: 0), byteCount: 12) { frame in
            frame.write(made.bits)
            frame.write(dev)
        }
        primaryContexts.withLock { $0[dev] = (made, 1) }
        return made
    }

    package func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) {
        let isLast = primaryContexts.withLock { contexts in
            contexts[dev]?.retains -= 1
            guard contexts[dev]?.retains ?? 0 == 0 else { return false }
            contexts[dev] = nil
            return true
        }
        guard isLast else { return }
        _ = try call(.cuDevicePrimaryCtxRelease_v2, context, byteCount: 4) { $0.write(dev) }
    }

    package func cuCtxSynchronize(_ context: ContextHandle) throws(CUDAError) {
        _ = try call(.cuCtxSynchronize, context, byteCount: 0) { _ in }
    }

    package func cuStreamSynchronize(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        _ = try call(.cuStreamSynchronize, context, byteCount: 8) { $0.write(hStream.bits) }
    }

    package func cuEventSynchronize(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        _ = try call(.cuEventSynchronize, context, byteCount: 8) { $0.write(hEvent.bits) }
    }

    package func cuModuleGetFunction(
        _ context: ContextHandle, hmod: ModuleHandle, name: String
    ) throws(CUDAError) -> FunctionDescription {
        let made = newHandle()
        let reply = try call(.cuModuleGetFunction, context, byteCount: 16 + textByteCount(name)) { frame in
            frame.write(made)
            frame.write(hmod.bits)
            frame.write(text: name)
        }
        var description = try reply.decode { reader throws(WireError) in try reader.readFunctionDescription() }
        description.function = FunctionHandle(bits: made)
        return description
    }

    package func cuModuleEnumerateFunctions(
        _ context: ContextHandle, hmod: ModuleHandle
    ) throws(CUDAError) -> [String] {
        let reply = try call(.cuModuleEnumerateFunctions, context, byteCount: 8) { $0.write(hmod.bits) }
        return try reply.decode { reader throws(WireError) in
            var names: [String] = []
            for _ in 0..<(try reader.readCount()) { names.append(try reader.readText()) }
            return names
        }
    }

    package func cuLaunchKernel(
        _ context: ContextHandle, f: FunctionHandle, _ shape: LaunchGeometry, stream: StreamHandle,
        parameters: UnsafeRawBufferPointer
    ) throws(CUDAError) {
        guard parameters.count <= Limits.parameterBytesMax else { throw .invalidValue }
        try post(.cuLaunchKernel, context, byteCount: 48 + parameters.count, stream: stream) { frame in
            frame.write(f.bits)
            frame.write(stream.bits)
            frame.write(shape)
            frame.write(bytes: parameters)
        }
    }
}

extension RemoteDriver {
    package func cuStreamBatchMemOp_v2(
        _ context: ContextHandle, stream: StreamHandle, operations: [StreamMemoryOperation]
    ) throws(CUDAError) {
        guard operations.count <= StreamMemoryOperation.countMax else { throw .invalidValue }
        let byteCount = 12 + operations.count * 24
        try post(.cuStreamBatchMemOp_v2, context, byteCount: byteCount, stream: stream) { frame in
            frame.write(stream.bits)
            frame.write(UInt32(operations.count))
            for operation in operations {
                frame.write(operation.kind.rawValue)
                frame.write(operation.flags)
                frame.write(operation.address)
                frame.write(operation.value)
            }
        }
    }
}

// Copies, which travel in frames of `copyFrameBytes`.

extension RemoteDriver {
    package func cuMemcpyHtoDAsync_v2(
        _ context: ContextHandle, dstDevice: CUdeviceptr, srcHost: RawSpan, hStream: StreamHandle
    ) throws(CUDAError) {
        var offset = 0
        while offset < srcHost.byteCount {
            let count = min(copyFrameBytes, srcHost.byteCount - offset)
            try post(
                .cuMemcpyHtoDAsync_v2, context, byteCount: 16, stream: hStream,
                block: srcHost.extracting(offset..<offset + count)
            ) { frame in
                frame.write(dstDevice + CUdeviceptr(offset))
                frame.write(hStream.bits)
            }
            offset += count
        }
    }

    package func cuMemcpyDtoH_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        try copyToHost(.cuMemcpyDtoH_v2, context, dstHost, srcDevice, stream, waits: true)
    }

    package func cuMemcpyDtoHAsync_v2(
        _ context: ContextHandle, dstHost: UnsafeMutableRawBufferPointer, srcDevice: CUdeviceptr, stream: StreamHandle
    ) throws(CUDAError) {
        try copyToHost(.cuMemcpyDtoHAsync_v2, context, dstHost, srcDevice, stream, waits: false)
    }

    /// From this size on it is looked whether the application's memory has pages.
    private static var populatedBytesMin: Int { 256 << 10 }
    /// From this size on memory without pages gets huge ones: clearing them takes a fifth of the time.
    private static var hugeBytesMin: Int { 4 << 20 }

    /// Asks for the parts of a range, and waits for all of them if that is wanted.
    private func copyToHost(
        _ call: Call, _ context: ContextHandle, _ target: UnsafeMutableRawBufferPointer, _ source: CUdeviceptr,
        _ stream: StreamHandle, waits: Bool
    ) throws(CUDAError) {
        let isUntouched =
            target.count >= Self.populatedBytesMin && csystem_is_untouched(target.baseAddress, target.count)
        if isUntouched && target.count >= Self.hugeBytesMin {
            csystem_prefer_huge_pages(target.baseAddress, target.count)
        }
        let pending = waits ? replies.begin() : replies.landings
        do throws(CUDAError) {
            var offset = 0
            while offset < target.count {
                let count = min(copyFrameBytes, target.count - offset)
                let part = UnsafeMutableRawBufferPointer(rebasing: target[offset..<offset + count])
                let isLast = offset + count == target.count
                try land(
                    call, context, byteCount: 24, into: part, isUntouched: isUntouched, pending, waits: waits && isLast
                ) { frame in
                    frame.write(source + CUdeviceptr(offset))
                    frame.write(count)
                    frame.write(stream.bits)
                }
                offset += count
            }
        } catch {
            if waits { replies.leave(pending) }
            throw error
        }
        if waits { try check(replies.wait(for: pending).status) }
    }
}

// The linker.

extension RemoteDriver {
    package func cuLinkComplete(
        _ context: ContextHandle, inputs: [LinkInput], options: [JITOption], log: inout JITLog
    ) throws(CUDAError) -> [UInt8] {
        let isPTX = { (input: LinkInput) in input.type == CU_JIT_INPUT_PTX.rawValue }
        if images.selection.compilation == .never, inputs.contains(where: isPTX) {
            throw CUDAError(CUDA_ERROR_JIT_COMPILATION_DISABLED)
        }
        var payload = PayloadWriter()
        payload.write(options)
        payload.write(inputs)
        let bytes = payload.bytes
        guard bytes.count <= Limits.frameBytesMax else { throw .invalidImage }
        let (status, reply) = try bytes.span.bytes.withUnsafeBytes { block throws(CUDAError) in
            try callWithBlock(.cuLinkComplete, context, byteCount: 0, block: block) { _ in }
        }
        let (found, image) = try reply.decode { reader throws(WireError) in
            (try reader.readJITLog(), try reader.readBlock().withUnsafeBytes { Array($0) })
        }
        log = found
        try check(status)
        return image
    }
}
