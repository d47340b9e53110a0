// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Wire

/// A call that has been started and is answered when its events are done.
struct Completion {
    /// The client's number of the context of the events.
    let context: UInt64
    let handle: ContextHandle
    var events: [EventHandle]
    /// Whether the events are the client's own, not the session's.
    var isClientEvent = false
    /// The frame that is answered.
    let sequence: UInt64
    /// Memory of the driver whose first bytes are sent with the answer.
    let landing: UnsafeMutableRawBufferPointer?
    var landingByteCount = 0
    /// The payload of a frame that is performed now.
    var postponed: (header: FrameHeader, payload: [UInt8])?
    /// What is left to do before the answer, which it writes itself.
    var last: (() throws -> Void)?
    var status: CUresult = CUDA_SUCCESS
}

extension Session {
    /// Answers every completion whose events are done, keeping the order among those of one stream.
    func pollCompletions() throws {
        var index = 0
        while index < completions.count {
            guard isDone(index) else {
                index += 1
                continue
            }
            // An earlier copy of the same stream is done too, although it was not when it was looked at: it goes first.
            var earlier = 0
            while earlier < index {
                if completions[earlier].landing != nil && isDone(earlier) {
                    try complete(earlier)
                    index -= 1
                } else {
                    earlier += 1
                }
            }
            try complete(index)
        }
    }

    private func isDone(_ index: Int) -> Bool {
        while let event = completions[index].events.last {
            do throws(CUDAError) {
                try driver.cuEventQuery(completions[index].handle, hEvent: event)
                // Returns at once, and is a synchronisation, by which a driver writes out what kernels have printed.
                try driver.cuEventSynchronize(completions[index].handle, hEvent: event)
            } catch {
                if error == .notReady { return false }
                completions[index].status = error.code
            }
            completions[index].events.removeLast()
            if !completions[index].isClientEvent { idleEvents[completions[index].context, default: []].append(event) }
        }
        return true
    }

    private func complete(_ index: Int) throws {
        let completion = completions.remove(at: index)
        defer {
            if let landing = completion.landing { idleLandings[completion.context, default: []].append(landing) }
        }
        if let (header, payload) = completion.postponed {
            // Meanwhile other threads may have enqueued host functions, for which the driver would wait too.
            if mayNeedFrames, isWorking(completion.context, completion.handle) {
                return try payload.withUnsafeBytes { try postpone(header, $0) }
            }
            // Another call's answer may be waiting to be sent.
            var pending = PayloadWriter()
            swap(&pending, &reply)
            let wasAnswered = isAnswered
            defer {
                swap(&pending, &reply)
                isAnswered = wasAnswered
            }
            // Whatever became of the work: a context that has failed says so again.
            try payload.withUnsafeBytes { try perform(header, $0, mayPostpone: false) }
        } else if let last = completion.last, completion.status == CUDA_SUCCESS {
            do { try last() } catch let error as CUDAError { try answer(completion.sequence, status: error.code) }
        } else if let landing = completion.landing, completion.status == CUDA_SUCCESS {
            try answer(
                completion.sequence, payload: UnsafeRawBufferPointer(rebasing: landing[..<completion.landingByteCount]))
        } else {
            try answer(completion.sequence, status: completion.status)
        }
    }

    /// The calls in which drivers wait for work that has been enqueued.
    static let waitsForWork: Set<Call> = [
        .cuMemFree_v2, .cuModuleUnload, .cuCtxDestroy_v2, .cuDevicePrimaryCtxRelease_v2, .cuIpcGetMemHandle,
        .cuIpcCloseMemHandle, .cuArrayDestroy, .cuMipmappedArrayDestroy,
    ]

    /// Whether work may be waiting for what a frame that has yet to come brings.
    var mayNeedFrames: Bool { hostFunctions.isBusy || hasWaitedForValues }

    /// Performs a frame when the work of its context is done, so that the session can meanwhile read that a host
    /// function has returned, for which the work may be waiting.
    func postpone(_ header: FrameHeader, _ payload: UnsafeRawBufferPointer) throws {
        var number = header.context
        if header.call == Call.cuCtxDestroy_v2.rawValue, payload.count == 8 {
            number = payload.loadUnaligned(as: UInt64.self).littleEndian
        }
        // Of a context that is not known, the call itself will tell.
        guard let context = try? contexts.driverHandle(number) else {
            return try perform(header, payload, mayPostpone: false)
        }
        var waited: [EventHandle] = []
        do throws(CUDAError) {
            waited.append(try record(.legacyDefault, number, context))
            for (stream, owner) in contextOfStream where owner == number {
                waited.append(try record(try streams.driverHandle(stream), number, context))
            }
        } catch {
            // It has failed, and waits for nothing any more.
            idleEvents[number, default: []] += waited
            return try perform(header, payload, mayPostpone: false)
        }
        completions.append(
            Completion(
                context: number, handle: context, events: waited, sequence: header.sequence, landing: nil,
                postponed: (header, Array(payload))))
    }

    /// Records an event on a stream, for a completion.
    func record(_ stream: StreamHandle, _ context: UInt64, _ handle: ContextHandle) throws(CUDAError) -> EventHandle {
        let withoutTiming = UInt32(CU_EVENT_DISABLE_TIMING.rawValue)
        let event =
            if let idle = idleEvents[context]?.popLast() { idle } else {
                try driver.cuEventCreate(handle, flags: withoutTiming)
            }
        try driver.cuEventRecordWithFlags(handle, hEvent: event, hStream: stream, flags: 0)
        return event
    }

    /// Whether a stream has no work.
    func isIdle(_ stream: StreamHandle, _ context: ContextHandle) throws(CUDAError) -> Bool {
        do throws(CUDAError) {
            try driver.cuStreamQuery(context, hStream: stream)
            return true
        } catch {
            if error == .notReady { return false }
            throw error
        }
    }

    /// Whether work in a stream would begin at once: the legacy default stream and the other streams of its context
    /// wait for each other.
    func beginsAtOnce(_ stream: StreamHandle, _ frame: FrameHeader, _ context: ContextHandle) throws -> Bool {
        guard try isIdle(.legacyDefault, context) else { return false }
        guard stream == .legacyDefault else { return try isIdle(stream, context) }
        for (number, owner) in contextOfStream where owner == frame.context {
            if !(try isIdle(streams.driverHandle(number), context)) { return false }
        }
        return true
    }
}
