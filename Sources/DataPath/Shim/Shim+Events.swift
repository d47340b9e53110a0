// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Events.
extension Shim {
    func cuEventCreate(_ phEvent: UnsafeMutablePointer<OpaquePointer?>?, _ Flags: UInt32) throws(CUDAError) {
        let known = CU_EVENT_BLOCKING_SYNC.rawValue | CU_EVENT_DISABLE_TIMING.rawValue | CU_EVENT_INTERPROCESS.rawValue
        guard phEvent != nil, Flags & ~known == 0 else { throw .invalidValue }
        if Flags & CU_EVENT_INTERPROCESS.rawValue != 0 {
            guard Flags & CU_EVENT_DISABLE_TIMING.rawValue != 0 else { throw .invalidValue }
        }
        let active = try activeContext()
        let handle = try driver.cuEventCreate(active.handle, flags: Flags)
        let event = try events.insert { bits in
            Event(bits: bits, handle: handle, context: active.context, flags: Flags)
        }
        try write(handle: event.bits, to: phEvent)
    }

    func cuEventDestroy_v2(_ hEvent: OpaquePointer?) throws(CUDAError) {
        guard let event = events.remove(bits(hEvent)) else { throw .invalidHandle }
        try driver.cuEventDestroy_v2(try event.context.handle, hEvent: event.handle)
    }

    func cuEventRecord(
        _ hEvent: OpaquePointer?, _ hStream: OpaquePointer?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuEventRecordWithFlags(hEvent, hStream, 0, defaultStream: defaultStream)
    }

    /// An event and the stream it records belong to the same context.
    ///
    /// For the handle of a default stream that is the event's context.
    func cuEventRecordWithFlags(
        _ hEvent: OpaquePointer?, _ hStream: OpaquePointer?, _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard flags <= CU_EVENT_RECORD_EXTERNAL.rawValue else { throw .invalidValue }
        let event = try events.object(hEvent)
        let target = try workTarget(hStream, defaultStream)
        guard event.context.bits == target.contextBits else { throw .invalidHandle }
        let isExternal = flags == CU_EVENT_RECORD_EXTERNAL.rawValue
        if let stream = target.capturing {
            return try capture(event, recordedOn: stream, isExternal: isExternal)
        }
        // Only a graph can record an event as a node of its own.
        guard !isExternal else { throw .invalidValue }
        event.forgetCapture()
        try driver.cuEventRecordWithFlags(target.context, hEvent: event.handle, hStream: target.stream, flags: 0)
    }

    func cuEventQuery(_ hEvent: OpaquePointer?) throws(CUDAError) {
        try checkIsSafeInCapture()
        let event = try events.object(hEvent)
        try checkIsNotCaptured(event)
        try driver.cuEventQuery(try event.context.handle, hEvent: event.handle)
    }

    func cuEventSynchronize(_ hEvent: OpaquePointer?) throws(CUDAError) {
        let event = try events.object(hEvent)
        try checkIsNotCaptured(event)
        try driver.cuEventSynchronize(try event.context.handle, hEvent: event.handle)
        finishPendingFrees()
        try throwLearntFailure()
    }

    func cuEventElapsedTime(
        _ pMilliseconds: UnsafeMutablePointer<Float>?, _ hStart: OpaquePointer?, _ hEnd: OpaquePointer?
    ) throws(CUDAError) {
        try cuEventElapsedTime_v2(pMilliseconds, hStart, hEnd)
    }

    func cuEventElapsedTime_v2(
        _ pMilliseconds: UnsafeMutablePointer<Float>?, _ hStart: OpaquePointer?, _ hEnd: OpaquePointer?
    ) throws(CUDAError) {
        guard pMilliseconds != nil else { throw .invalidValue }
        let start = try events.object(hStart)
        let end = try events.object(hEnd)
        guard start.context === end.context, (start.flags | end.flags) & CU_EVENT_DISABLE_TIMING.rawValue == 0 else {
            throw .invalidHandle
        }
        try checkIsNotCaptured(start)
        try checkIsNotCaptured(end)
        try write(
            try driver.cuEventElapsedTime_v2(try start.context.handle, hStart: start.handle, hEnd: end.handle),
            to: pMilliseconds)
    }
}
