// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What happens to work, events and other calls while streams are captured.
extension Shim {
    /// Adds a node after what the stream has captured so far.
    func capture(_ work: NodeWork, on stream: Stream) throws(CUDAError) {
        try captures.withLock { captures throws(CUDAError) in
            guard let captured = captures.streams[stream.id] else { throw .illegalState }
            guard !captures.isInvalidated(captured.capture) else { throw .captureInvalidated }
            let node = try addNode(work, to: captured.capture.graph, after: captured.frontier)
            captures.streams[stream.id]?.frontier = [GraphEdge(node: node.number)]
            captures.streams[stream.id]?.told = nil
        }
    }

    /// Refuses a call on a captured stream that cannot be captured, which ends the capture's use.
    func refuseCapture(of stream: Stream) throws(CUDAError) -> Never {
        let isInvalidated = captures.withLock { captures in
            guard let capture = captures.streams[stream.id]?.capture else { return false }
            defer { captures.invalidate(capture) }
            return captures.isInvalidated(capture)
        }
        throw isInvalidated ? .captureInvalidated : .captureUnsupported
    }

    /// The handle of the graph into which a stream is captured.
    func capturedGraph(of stream: Stream) throws(CUDAError) -> OpaquePointer? {
        let bits = captures.withLock { $0.streams[stream.id]?.capture.graph.bits }
        guard let bits else { throw .captureInvalidated }
        return OpaquePointer(bitPattern: UInt(bits))
    }

    // MARK: Calls that concern other streams too

    /// Refuses a call that may wait for all streams, as an allocation may, while a capture forbids it.
    ///
    /// Without captures this is one load.
    @inline(__always)
    func checkIsSafeInCapture() throws(CUDAError) {
        if prohibitingCaptures.load(ordering: .relaxed) > 0 { try refuseIfProhibited() }
    }

    private func refuseIfProhibited() throws(CUDAError) {
        let mode = ThreadState.current.pointee.captureMode
        let isProhibited = captures.withLock { captures in
            let prohibiting = captures.prohibiting(mode)
            for capture in prohibiting { captures.invalidate(capture) }
            return !prohibiting.isEmpty
        }
        if isProhibited { throw .captureUnsupported }
    }

    /// Refuses work on a context's legacy stream while a stream that waits for it is captured.
    @inline(__always)
    func checkLegacyStreamIsFree(_ contextBits: UInt64) throws(CUDAError) {
        if blockingCaptures.load(ordering: .relaxed) > 0 { try refuseIfImplied(contextBits) }
    }

    private func refuseIfImplied(_ contextBits: UInt64) throws(CUDAError) {
        let isImplied = captures.withLock { captures in
            let implied = captures.streams.values.filter {
                $0.stream.isBlocking && $0.stream.context.bits == contextBits
            }
            for captured in implied { captures.invalidate(captured.capture) }
            return !implied.isEmpty
        }
        if isImplied { throw .captureImplicit }
    }

    /// Refuses waiting for all work of a context of which a stream is captured.
    func checkHasNoCapture(_ context: Context) throws(CUDAError) {
        let isCaptured = captures.withLock { captures in
            let captured = captures.streams.values.filter {
                $0.stream.context === context || $0.stream.context.home === context
            }
            for stream in captured { captures.invalidate(stream.capture) }
            return !captured.isEmpty
        }
        if isCaptured { throw .captureUnsupported }
    }

    // MARK: Events

    /// Lets an event record what a captured stream has so far; with `isExternal` a node records it in each launch.
    func capture(_ event: Event, recordedOn stream: Stream, isExternal: Bool) throws(CUDAError) {
        if isExternal { return try capture(.record(event), on: stream) }
        let record = try captures.withLock { captures throws(CUDAError) in
            guard let captured = captures.streams[stream.id] else { throw .illegalState }
            guard !captures.isInvalidated(captured.capture) else { throw .captureInvalidated }
            return CapturedRecord(capture: captured.capture, frontier: captured.frontier)
        }
        event.remember(record)
    }

    /// Makes the later work of a stream depend on what an event recorded in a capture.
    ///
    /// A stream that is not captured joins the capture. Returns false if neither of both is captured.
    func capture(_ stream: Stream?, waitingFor event: Event) throws(CUDAError) -> Bool {
        let record = event.capturedRecord
        guard record != nil || stream?.isCapturing ?? false else { return false }
        return try captures.withLock { captures throws(CUDAError) in
            let captured = stream.flatMap { captures.streams[$0.id] }
            if let captured, captures.isInvalidated(captured.capture) { throw .captureInvalidated }
            guard let record else {
                // The event is of work outside the capture, which the graph cannot wait for.
                guard let captured else { return false }
                captures.invalidate(captured.capture)
                throw CUDAError(CUDA_ERROR_STREAM_CAPTURE_ISOLATION)
            }
            guard captures.running[record.capture.id] != nil else {
                if let captured { captures.invalidate(captured.capture) }
                throw captured == nil ? .capturedEvent : CUDAError(CUDA_ERROR_STREAM_CAPTURE_ISOLATION)
            }
            guard !captures.isInvalidated(record.capture) else { throw .captureInvalidated }
            guard let stream else {
                captures.invalidate(record.capture)
                throw .captureImplicit
            }
            guard let captured else {
                join(stream, record.capture, record.frontier, &captures)
                return true
            }
            guard captured.capture === record.capture else {
                captures.invalidate(captured.capture)
                captures.invalidate(record.capture)
                throw CUDAError(CUDA_ERROR_STREAM_CAPTURE_MERGE)
            }
            captures.streams[stream.id]?.addToFrontier(record.frontier)
            return true
        }
    }

    /// Refuses to ask for or wait for an event that was last recorded in a capture.
    func checkIsNotCaptured(_ event: Event) throws(CUDAError) {
        guard let record = event.capturedRecord else { return }
        captures.withLock { $0.invalidate(record.capture) }
        throw .capturedEvent
    }
}
