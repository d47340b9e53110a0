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
        if orphanedWork[frame.context] == nil, try beginsAtOnce(.legacyDefault, frame, context) {
            return try driver.cuCtxSynchronize(context)
        }
        var all = [StreamHandle.legacyDefault]
        for (number, owner) in contextOfStream where owner == frame.context {
            all.append(try streams.driverHandle(number))
        }
        let orphans = try orphanedWork.removeValue(forKey: frame.context)?.filter { try !isDone($0, context) } ?? []
        if try wait(for: all, and: orphans, frame, context) { try driver.cuCtxSynchronize(context) }
    }

    /// A stream ends, but its work goes on, and a synchronisation of its context waits for it.
    func rememberWork(of stream: UInt64, _ frame: FrameHeader) throws {
        // A stream that was detached has no work.
        guard contextOfStream[stream] != nil else { return }
        let context = try contexts.driverHandle(frame.context)
        let handle = try streams.driverHandle(stream)
        if try isIdle(handle, context) { return }
        orphanedWork[frame.context, default: []].append(try record(handle, frame.context, context))
    }

    private func isDone(_ event: EventHandle, _ context: ContextHandle) throws(CUDAError) -> Bool {
        do throws(CUDAError) {
            try driver.cuEventQuery(context, hEvent: event)
            return true
        } catch {
            if error == .notReady { return false }
            throw error
        }
    }

    func perform_cuStreamSynchronize(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let stream = try request.read(UInt64.self)
        try request.finish()
        let context = try contexts.driverHandle(frame.context)
        let waited = try streams.driverHandle(stream)
        if try isIdle(waited, context) || wait(for: [waited], frame, context) {
            try driver.cuStreamSynchronize(context, hStream: waited)
        }
    }

    /// Leaves the answer to a completion while a stream has work.
    ///
    /// True when none has: then the driver's own call returns at once, and does what belongs to a synchronisation, as
    /// writing out what kernels have printed.
    private func wait(
        for streams: [StreamHandle], and events: [EventHandle] = [], _ frame: FrameHeader, _ context: ContextHandle
    ) throws -> Bool {
        var waited = events
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
        try copyToHost(frame, byteCount, streams.driverHandle(stream)) {
            context, stream, target, waits throws(CUDAError) in
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
        if try beginsAtOnce(stream, frame, context) {
            // What has landed before goes first.
            if !completions.isEmpty { try pollCompletions() }
            let place = try placeForAnswer(byteCount: byteCount)
            try copy(context, stream, place, true)
            try answer(frame.sequence, with: place)
        } else {
            let landing = try takeLanding(frame.context, context)
            do throws(CUDAError) {
                try copy(context, stream, UnsafeMutableRawBufferPointer(rebasing: landing[..<byteCount]), false)
                let event = try record(stream, frame.context, context)
                completions.append(
                    Completion(
                        context: frame.context, handle: context, events: [event], sequence: frame.sequence,
                        landing: landing, landingByteCount: byteCount))
            } catch {
                idleLandings[frame.context, default: []].append(landing)
                throw error
            }
        }
        isAnswered = true
    }

    /// Host memory for one frame of a copy that is not done at once.
    private func takeLanding(
        _ number: UInt64, _ context: ContextHandle
    ) throws(CUDAError) -> UnsafeMutableRawBufferPointer {
        if let idle = idleLandings[number]?.popLast() { return idle }
        return try driver.cuMemAllocHost_v2(context, bytesize: Limits.copyFrameBytes)
    }

    func perform_cuMemcpy3DDtoH(
        _ frame: FrameHeader, _ request: inout WireReader, _ reply: inout PayloadWriter
    ) throws {
        let source = try readBox(&request)
        let extent = try request.readExtent()
        let stream = try request.read(UInt64.self)
        try request.finish()
        guard let byteCount = extent.byteCount, byteCount <= Limits.replyBytesMax else { throw CUDAError.invalidValue }
        let context = try contexts.driverHandle(frame.context)
        let handle = try streams.driverHandle(stream)
        let copy = { [self] in
            let target = UnsafeMutableRawBufferPointer.allocate(byteCount: max(1, byteCount), alignment: 64)
            defer { target.deallocate() }
            try driver.cuMemcpy3DDtoH(context, packed: target, source: source, extent: extent, stream: handle)
            try answer(frame.sequence, payload: UnsafeRawBufferPointer(rebasing: target[..<byteCount]))
        }
        if try beginsAtOnce(handle, frame, context) {
            if !completions.isEmpty { try pollCompletions() }
            try copy()
        } else {
            // The driver's call waits; the session must not, so it waits for what is in front of the copy first.
            var waited = [try record(handle, frame.context, context)]
            for (number, owner) in contextOfStream where handle == .legacyDefault && owner == frame.context {
                waited.append(try record(streams.driverHandle(number), frame.context, context))
            }
            completions.append(
                Completion(
                    context: frame.context, handle: context, events: waited, sequence: frame.sequence, landing: nil,
                    last: copy))
        }
        isAnswered = true
    }
}

extension WireReader {
    @_lifetime(self: copy self)
    mutating func readExtent() throws(WireError) -> Extent {
        let extent = Extent(widthBytes: try read(Int.self), height: try read(Int.self), depth: try read(Int.self))
        guard extent.widthBytes >= 0, extent.height >= 0, extent.depth >= 0 else { throw .notThisProtocol }
        return extent
    }
}
