// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Glibc

/// Streams and events.
extension SoftGPU {
    package func cuStreamCreateWithPriority(
        _ context: ContextHandle, flags: UInt32, priority: Int32
    ) throws(CUDAError) -> StreamHandle {
        let context = try self.context(context)
        // The priority is clamped by CUDA's rules and has no effect: all cores work on whatever is ready.
        guard flags & ~CU_STREAM_NON_BLOCKING.rawValue == 0 else { throw .invalidValue }
        let stream = try streams.insert { context.makeStream(bits: $0, flags: flags) }
        return StreamHandle(bits: stream.bits)
    }

    package func cuStreamDestroy_v2(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        let context = try self.context(context)
        guard hStream != .legacyDefault else { throw .invalidHandle }
        // Also one that its green context has left behind.
        guard let stream = streams[hStream.bits], stream.context == context.bits,
            streams.remove(stream.bits) != nil
        else { throw .invalidHandle }
        context.retire(stream)
    }

    package func cuStreamSynchronize(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        context.wait(for: context.everythingBefore(stream))
        try context.checkHealth()
    }

    package func cuStreamQuery(_ context: ContextHandle, hStream: StreamHandle) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        guard context.everythingBefore(stream).isReached else { throw .notReady }
        try context.checkHealth()
    }

    package func cuStreamWaitEvent(
        _ context: ContextHandle, hStream: StreamHandle, hEvent: EventHandle, flags: UInt32
    ) throws(CUDAError) {
        let context = try self.context(context)
        let stream = try self.stream(hStream, in: context)
        // CU_EVENT_WAIT_EXTERNAL, which is 1, is for captured graphs.
        guard flags == 0 else { throw .invalidValue }
        let event = try event(hEvent)
        if let shared = event.shared {
            if !shared.isReached { context.enqueue(stream, .waitForValue(shared.wait)) }
            return
        }
        guard let recording = event.recording, !recording.position.isReached else { return }
        context.enqueue(stream, .wait(recording.position))
    }

    // MARK: Events

    package func cuEventCreate(_ context: ContextHandle, flags: UInt32) throws(CUDAError) -> EventHandle {
        let context = try self.context(context)
        let known = CU_EVENT_BLOCKING_SYNC.rawValue | CU_EVENT_DISABLE_TIMING.rawValue
        guard flags & ~(known | CU_EVENT_INTERPROCESS.rawValue) == 0 else { throw .invalidValue }
        guard flags & CU_EVENT_INTERPROCESS.rawValue != 0 else { return try makeEvent(context, flags) }
        guard flags & CU_EVENT_DISABLE_TIMING.rawValue != 0 else { throw .invalidValue }
        return try makeEvent(context, flags, try SharedEvent())
    }

    func makeEvent(
        _ context: Context, _ flags: UInt32, _ shared: SharedEvent? = nil
    ) throws(CUDAError) -> EventHandle {
        var bits: UInt64 = 0
        _ = try events.insert { handle in
            bits = handle
            return Event(context: context.bits, flags: flags, shared: shared)
        }
        return EventHandle(bits: bits)
    }

    package func cuEventDestroy_v2(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        _ = try self.context(context)
        // Whatever waits for a point that it recorded holds that point itself.
        guard events.remove(hEvent.bits) != nil else { throw .invalidHandle }
    }

    package func cuEventRecordWithFlags(
        _ context: ContextHandle, hEvent: EventHandle, hStream: StreamHandle, flags: UInt32
    ) throws(CUDAError) {
        let context = try self.context(context)
        let event = try self.event(hEvent)
        let stream = try self.stream(hStream, in: context)
        guard event.context == context.bits else { throw .invalidHandle }
        // CU_EVENT_RECORD_EXTERNAL, which is 1, is for captured graphs.
        guard flags == 0 else { throw .invalidValue }
        if let shared = event.shared {
            let number = shared.record()
            context.enqueue(stream, .housekeeping { shared.reach(number) })
            return
        }
        let timestamp = Timestamp()
        let isOrdered = !context.keepOrder(stream)
        if isOrdered, stream.performIfIdle(timestamp.take) {
            event.record(Event.Recording(position: stream.position, timestamp: timestamp))
        } else {
            event.record(Event.Recording(position: stream.submit(.stamp(timestamp)), timestamp: timestamp))
        }
    }

    package func cuEventQuery(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        let context = try self.context(context)
        let event = try event(hEvent)
        if let shared = event.shared, !shared.isReached { throw .notReady }
        guard let recording = event.recording else { return }
        guard recording.position.isReached else { throw .notReady }
        try context.checkHealth()
    }

    package func cuEventSynchronize(_ context: ContextHandle, hEvent: EventHandle) throws(CUDAError) {
        let context = try self.context(context)
        let event = try event(hEvent)
        if let shared = event.shared {
            while !shared.isReached, !context.environment.giveUpWaits { usleep(50) }
            context.noteSynchronization()
            return try context.checkHealth()
        }
        guard let recording = event.recording else { return }
        context.wait(for: recording.position)
        try context.checkHealth()
    }

    package func cuEventElapsedTime_v2(
        _ context: ContextHandle, hStart: EventHandle, hEnd: EventHandle
    ) throws(CUDAError) -> Float {
        _ = try self.context(context)
        let start = try event(hStart)
        let end = try event(hEnd)
        guard start.hasTiming, end.hasTiming, let from = start.recording, let to = end.recording else {
            throw .invalidHandle
        }
        guard from.position.isReached, to.position.isReached else { throw .notReady }
        let nanoseconds = Int64(bitPattern: to.timestamp.value &- from.timestamp.value)
        return Float(Double(nanoseconds) / 1_000_000)
    }
}
