// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

// The calls that wait for the GPU: answered at once when there is nothing to wait for, else by a completion.

extension Session {
    func perform_cuCtxSynchronize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        var all = [StreamHandle.legacyDefault]
        for (number, owner) in contextOfStream where owner == frame.context {
            all.append(try streams.driverHandle(number))
        }
        if try wait(for: all, frame, context) { try driver.cuCtxSynchronize(context) }
    }

    func perform_cuStreamSynchronize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let stream = try request.read(UInt64.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        let waited = try streams.driverHandle(stream)
        if try wait(for: [waited], frame, context) { try driver.cuStreamSynchronize(context, hStream: waited) }
    }

    /// Leaves the answer to a completion while a stream has work. True when none has: then the driver's own call returns
    /// at once, and does what belongs to a synchronisation, as writing out what kernels have printed.
    private func wait(for streams: [StreamHandle], _ frame: FrameHeader, _ context: ContextHandle) throws -> Bool {
        var waited: [EventHandle] = []
        for stream in streams where !(try isIdle(stream, context)) {
            waited.append(try record(stream, frame.context, context))
        }
        guard !waited.isEmpty else { return true }
        completions.append(
            Completion(
                context: frame.context, handle: context, events: waited, sequence: frame.sequence, landing: nil))
        isAnswered = true
        return false
    }

    func perform_cuEventSynchronize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let event = try request.read(UInt64.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        do throws(CUDAError) {
            try driver.cuEventQuery(context, hEvent: events.driverHandle(event))
        } catch {
            guard error == .notReady else { throw error }
            completions.append(
                Completion(
                    context: frame.context, handle: context, events: [try events.driverHandle(event)],
                    isClientEvent: true, sequence: frame.sequence, landing: nil))
            isAnswered = true
        }
    }
}

// Copies to the host.

extension Session {
    func perform_cuMemcpyDtoH_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let source = try request.read(CUdeviceptr.self)
        let byteCount = try request.read(Int.self)
        let stream = try request.read(UInt64.self)
        try request.finish()
        guard byteCount >= 0, byteCount <= Limits.copyFrameBytes else {
            throw WireError.tooLong(byteCount, limit: Limits.copyFrameBytes)
        }
        try copyToHost(frame, byteCount, streams.driverHandle(stream)) { context, stream, target, waits throws(CUDAError) in
            if waits {
                try driver.cuMemcpyDtoH_v2(context, dstHost: target, srcDevice: source, stream: stream)
            } else {
                try driver.cuMemcpyDtoHAsync_v2(context, dstHost: target, srcDevice: source, stream: stream)
            }
        }
    }

    func perform_cuMemcpyDtoHAsync_v2(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        try perform_cuMemcpyDtoH_v2(frame, &request, &reply)
    }

    /// Copies directly when the stream is idle, else in the stream's order, answered by a completion.
    private func copyToHost(
        _ frame: FrameHeader, _ byteCount: Int, _ stream: StreamHandle,
        _ copy: (ContextHandle, StreamHandle, UnsafeMutableRawBufferPointer, Bool) throws(CUDAError) -> Void
    ) throws {
        let context = try contexts.driverHandle(frame.context)
        if try isIdle(stream, context) {
            let target = UnsafeMutableRawBufferPointer(
                rebasing: staging[ReplyHeader.byteCount..<ReplyHeader.byteCount + byteCount])
            try copy(context, stream, target, true)
            if !completions.isEmpty { try pollCompletions() }
            try answerFromStaging(frame.sequence, byteCount: byteCount)
        } else {
            let landing = UnsafeMutableRawBufferPointer.allocate(byteCount: byteCount, alignment: 64)
            do throws(CUDAError) {
                try copy(context, stream, landing, false)
                let event = try record(stream, frame.context, context)
                completions.append(
                    Completion(
                        context: frame.context, handle: context, events: [event], sequence: frame.sequence,
                        landing: landing))
            } catch {
                landing.deallocate()
                throw error
            }
        }
        isAnswered = true
    }

    func perform_cuMemcpy3DDtoH(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let source = try request.readBox()
        let extent = try request.readExtent()
        let stream = try request.read(UInt64.self)
        try request.finish()
        guard let byteCount = extent.byteCount, byteCount <= Limits.replyBytesMax else { throw CUDAError.invalidValue }
        let target = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, byteCount), alignment: 64)
        defer { target.deallocate() }
        try driver.cuMemcpy3DDtoH(
            contexts.driverHandle(frame.context), packed: target, source: source, extent: extent,
            stream: streams.driverHandle(stream))
        if !completions.isEmpty { try pollCompletions() }
        try answer(frame.sequence, payload: UnsafeRawBufferPointer(rebasing: target[..<byteCount]))
        isAnswered = true
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    mutating func readBox() throws(WireError) -> DeviceBox {
        DeviceBox(address: try read(CUdeviceptr.self), pitch: try read(Int.self), rows: try read(Int.self))
    }

    @_lifetime(self: copy self)
    mutating func readExtent() throws(WireError) -> Extent {
        let extent = Extent(widthBytes: try read(Int.self), height: try read(Int.self), depth: try read(Int.self))
        guard extent.widthBytes >= 0, extent.height >= 0, extent.depth >= 0 else { throw .notThisProtocol }
        return extent
    }
}
