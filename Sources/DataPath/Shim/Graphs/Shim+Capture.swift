// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// Capture: beginning and ending.
extension Shim {
    // MARK: Beginning

    func cuStreamBeginCapture(_ hStream: OpaquePointer?, defaultStream: DefaultStream) throws(CUDAError) {
        try cuStreamBeginCapture_v2(hStream, CU_STREAM_CAPTURE_MODE_GLOBAL, defaultStream: defaultStream)
    }

    func cuStreamBeginCapture_v2(
        _ hStream: OpaquePointer?, _ mode: CUstreamCaptureMode, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let stream = try capturableStream(hStream, mode, defaultStream)
        try begin(on: stream, mode, try makeGraph(), [], isIntoKnownGraph: false)
    }

    func cuStreamBeginCaptureToGraph(
        _ hStream: OpaquePointer?, _ hGraph: OpaquePointer?, _ dependencies: UnsafePointer<OpaquePointer?>?,
        _ dependencyData: UnsafePointer<CUgraphEdgeData>?, _ numDependencies: Int, _ mode: CUstreamCaptureMode,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        let stream = try capturableStream(hStream, mode, defaultStream)
        let graph = try self.graph(hGraph)
        let edges = try edges(dependencies, dependencyData, numDependencies, in: graph)
        try begin(on: stream, mode, graph, edges, isIntoKnownGraph: true)
    }

    /// A stream on which a capture can begin; the legacy default stream cannot be captured.
    private func capturableStream(
        _ hStream: OpaquePointer?, _ mode: CUstreamCaptureMode, _ defaultStream: DefaultStream
    ) throws(CUDAError) -> Stream {
        guard mode.rawValue <= CU_STREAM_CAPTURE_MODE_RELAXED.rawValue else { throw .invalidValue }
        guard let stream = try knownStream(hStream, defaultStream) else { throw .captureUnsupported }
        guard !stream.isCapturing else { throw .illegalState }
        return stream
    }

    private func begin(
        on stream: Stream, _ mode: CUstreamCaptureMode, _ graph: Graph, _ frontier: [GraphEdge],
        isIntoKnownGraph: Bool
    ) throws(CUDAError) {
        let capture = Capture(
            id: nextID(), mode: mode, origin: stream, graph: graph, isIntoKnownGraph: isIntoKnownGraph)
        try captures.withLock { captures throws(CUDAError) in
            guard captures.streams[stream.id] == nil else { throw .illegalState }
            captures.running[capture.id] = Captures.Running(capture: capture)
            join(stream, capture, frontier, &captures)
        }
        if mode != CU_STREAM_CAPTURE_MODE_RELAXED { prohibitingCaptures.add(1, ordering: .sequentiallyConsistent) }
    }

    func join(_ stream: Stream, _ capture: Capture, _ frontier: [GraphEdge], _ captures: inout Captures) {
        captures.streams[stream.id] = CapturedStream(stream: stream, capture: capture, frontier: frontier)
        stream.setCapturing(true)
        if stream.isBlocking { blockingCaptures.add(1, ordering: .sequentiallyConsistent) }
    }

    // MARK: Ending

    func cuStreamEndCapture(
        _ hStream: OpaquePointer?, _ phGraph: UnsafeMutablePointer<OpaquePointer?>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard let phGraph else { throw .invalidValue }
        phGraph.pointee = nil
        guard let stream = try knownStream(hStream, defaultStream) else { throw .illegalState }
        let capture = try captures.withLock { captures throws(CUDAError) in
            guard let captured = captures.streams[stream.id] else { throw .illegalState }
            guard captured.capture.origin === stream else {
                captures.invalidate(captured.capture)
                throw CUDAError(CUDA_ERROR_STREAM_CAPTURE_UNMATCHED)
            }
            guard
                captured.capture.mode == CU_STREAM_CAPTURE_MODE_RELAXED
                    || pthread_equal(captured.capture.thread, pthread_self()) != 0
            else { throw CUDAError(CUDA_ERROR_STREAM_CAPTURE_WRONG_THREAD) }
            return captured.capture
        }
        do throws(CUDAError) {
            try finish(capture)
        } catch {
            if !capture.isIntoKnownGraph { end(capture.graph) }
            throw error
        }
        try write(handle: capture.graph.bits, to: phGraph)
    }

    /// Lets all streams go; throws what makes the capture worthless.
    private func finish(_ capture: Capture) throws(CUDAError) {
        let (isInvalidated, members) = captures.withLock { captures in
            let isInvalidated = captures.isInvalidated(capture)
            captures.running[capture.id] = nil
            let members = captures.streams.values.filter { $0.capture === capture }
            for member in members { leave(member.stream, &captures) }
            return (isInvalidated, members)
        }
        if capture.mode != CU_STREAM_CAPTURE_MODE_RELAXED {
            prohibitingCaptures.subtract(1, ordering: .sequentiallyConsistent)
        }
        guard !isInvalidated else { throw .captureInvalidated }
        let end = members.first { $0.stream === capture.origin }?.frontier.map(\.node) ?? []
        let joined = capture.graph.structure.withLock { $0.ancestors(of: end) }
        let isJoined = members.allSatisfy { member in member.frontier.allSatisfy { joined.contains($0.node) } }
        guard isJoined else { throw CUDAError(CUDA_ERROR_STREAM_CAPTURE_UNJOINED) }
    }

    private func leave(_ stream: Stream, _ captures: inout Captures) {
        guard captures.streams.removeValue(forKey: stream.id) != nil else { return }
        stream.setCapturing(false)
        if stream.isBlocking { blockingCaptures.subtract(1, ordering: .sequentiallyConsistent) }
    }

    /// A stream that ends takes its capture with it: what it has captured cannot be joined any more.
    func streamEnds(_ stream: Stream) {
        guard stream.isCapturing else { return }
        let ended: Capture? = captures.withLock { captures in
            guard let captured = captures.streams[stream.id] else { return nil }
            captures.invalidate(captured.capture)
            leave(stream, &captures)
            return captured.capture.origin === stream ? captured.capture : nil
        }
        guard let ended else { return }
        // Nobody can end it in order: the graph goes too.
        try? finish(ended)
        if !ended.isIntoKnownGraph { end(ended.graph) }
    }
}
