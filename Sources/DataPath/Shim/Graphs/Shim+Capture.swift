// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// Capture: beginning, ending and asking.
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

    // MARK: Asking

    func cuStreamIsCapturing(
        _ hStream: OpaquePointer?, _ captureStatus: UnsafeMutablePointer<CUstreamCaptureStatus>?,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        try write(try status(hStream, defaultStream).status, to: captureStatus)
    }

    func cuStreamGetCaptureInfo(
        _ hStream: OpaquePointer?, _ captureStatus_out: UnsafeMutablePointer<CUstreamCaptureStatus>?,
        _ id_out: UnsafeMutablePointer<UInt64>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuStreamGetCaptureInfo_v2(hStream, captureStatus_out, id_out, nil, nil, nil, defaultStream: defaultStream)
    }

    func cuStreamGetCaptureInfo_v2(
        _ hStream: OpaquePointer?, _ captureStatus_out: UnsafeMutablePointer<CUstreamCaptureStatus>?,
        _ id_out: UnsafeMutablePointer<UInt64>?, _ graph_out: UnsafeMutablePointer<OpaquePointer?>?,
        _ dependencies_out: UnsafeMutablePointer<UnsafePointer<OpaquePointer?>?>?,
        _ numDependencies_out: UnsafeMutablePointer<Int>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let told = try tellCapture(hStream, captureStatus_out, id_out, graph_out, defaultStream)
        if let told, dependencies_out != nil {
            for index in 0..<told.count where told.data[index].type != 0 || told.data[index].from_port != 0 {
                throw CUDAError(CUDA_ERROR_LOSSY_QUERY)
            }
        }
        dependencies_out?.pointee = told.map { UnsafePointer($0.nodes) }
        numDependencies_out?.pointee = told?.count ?? 0
    }

    func cuStreamGetCaptureInfo_v3(
        _ hStream: OpaquePointer?, _ captureStatus_out: UnsafeMutablePointer<CUstreamCaptureStatus>?,
        _ id_out: UnsafeMutablePointer<UInt64>?, _ graph_out: UnsafeMutablePointer<OpaquePointer?>?,
        _ dependencies_out: UnsafeMutablePointer<UnsafePointer<OpaquePointer?>?>?,
        _ edgeData_out: UnsafeMutablePointer<UnsafePointer<CUgraphEdgeData>?>?,
        _ numDependencies_out: UnsafeMutablePointer<Int>?, defaultStream: DefaultStream
    ) throws(CUDAError) {
        let told = try tellCapture(hStream, captureStatus_out, id_out, graph_out, defaultStream)
        dependencies_out?.pointee = told.map { UnsafePointer($0.nodes) }
        edgeData_out?.pointee = told.map { UnsafePointer($0.data) }
        numDependencies_out?.pointee = told?.count ?? 0
    }

    /// Writes what every version tells, and returns the dependencies while the capture is good.
    private func tellCapture(
        _ hStream: OpaquePointer?, _ captureStatus_out: UnsafeMutablePointer<CUstreamCaptureStatus>?,
        _ id_out: UnsafeMutablePointer<UInt64>?, _ graph_out: UnsafeMutablePointer<OpaquePointer?>?,
        _ defaultStream: DefaultStream
    ) throws(CUDAError) -> ToldDependencies? {
        let (status, stream) = try status(hStream, defaultStream)
        try write(status, to: captureStatus_out)
        guard status == CU_STREAM_CAPTURE_STATUS_ACTIVE, let stream else {
            id_out?.pointee = 0
            graph_out?.pointee = nil
            return nil
        }
        return captures.withLock { captures in
            guard let captured = captures.streams[stream.id] else { return nil }
            id_out?.pointee = captured.capture.id
            graph_out?.pointee = OpaquePointer(bitPattern: UInt(captured.capture.graph.bits))
            if let told = captured.told { return told }
            let structure = captured.capture.graph.structure.withLock { $0 }
            let told = ToldDependencies(
                captured.frontier.compactMap { edge in
                    structure.nodes[edge.node].map { (bits: $0.bits, data: edge.data) }
                })
            captures.streams[stream.id]?.told = told
            return told
        }
    }

    /// Whether a stream is captured.
    ///
    /// Asking for the legacy stream while a stream that waits for it is captured is an error, but harms no capture.
    private func status(
        _ hStream: OpaquePointer?, _ defaultStream: DefaultStream
    ) throws(CUDAError) -> (status: CUstreamCaptureStatus, stream: Stream?) {
        guard let stream = try knownStream(hStream, defaultStream) else {
            let context = try activeContext().context
            let isImplied = captures.withLock { captures in
                captures.streams.values.contains { $0.stream.isBlocking && $0.stream.context === context }
            }
            if isImplied { throw .captureImplicit }
            return (CU_STREAM_CAPTURE_STATUS_NONE, nil)
        }
        guard stream.isCapturing else { return (CU_STREAM_CAPTURE_STATUS_NONE, stream) }
        let isInvalidated = captures.withLock { captures in
            captures.streams[stream.id].map { captures.isInvalidated($0.capture) }
        }
        switch isInvalidated {
        case nil: return (CU_STREAM_CAPTURE_STATUS_NONE, stream)
        case false?: return (CU_STREAM_CAPTURE_STATUS_ACTIVE, stream)
        case true?: return (CU_STREAM_CAPTURE_STATUS_INVALIDATED, stream)
        }
    }

    // MARK: Changing

    func cuStreamUpdateCaptureDependencies(
        _ hStream: OpaquePointer?, _ dependencies: UnsafeMutablePointer<OpaquePointer?>?, _ numDependencies: Int,
        _ flags: UInt32, defaultStream: DefaultStream
    ) throws(CUDAError) {
        try cuStreamUpdateCaptureDependencies_v2(
            hStream, dependencies, nil, numDependencies, flags, defaultStream: defaultStream)
    }

    func cuStreamUpdateCaptureDependencies_v2(
        _ hStream: OpaquePointer?, _ dependencies: UnsafeMutablePointer<OpaquePointer?>?,
        _ dependencyData: UnsafePointer<CUgraphEdgeData>?, _ numDependencies: Int, _ flags: UInt32,
        defaultStream: DefaultStream
    ) throws(CUDAError) {
        guard flags <= CU_STREAM_SET_CAPTURE_DEPENDENCIES.rawValue else { throw .invalidValue }
        guard let stream = try knownStream(hStream, defaultStream), stream.isCapturing else { throw .illegalState }
        let graph = try captures.withLock { captures throws(CUDAError) in
            guard let captured = captures.streams[stream.id] else { throw .illegalState }
            guard !captures.isInvalidated(captured.capture) else { throw .captureInvalidated }
            return captured.capture.graph
        }
        let edges = try edges(dependencies.map { UnsafePointer($0) }, dependencyData, numDependencies, in: graph)
        captures.withLock { captures in
            captures.streams[stream.id]?.told = nil
            if flags == CU_STREAM_SET_CAPTURE_DEPENDENCIES.rawValue { captures.streams[stream.id]?.frontier = [] }
            captures.streams[stream.id]?.addToFrontier(edges)
        }
    }

    func cuThreadExchangeStreamCaptureMode(_ mode: UnsafeMutablePointer<CUstreamCaptureMode>?) throws(CUDAError) {
        guard let mode, mode.pointee.rawValue <= CU_STREAM_CAPTURE_MODE_RELAXED.rawValue else { throw .invalidValue }
        let thread = ThreadState.current
        (mode.pointee, thread.pointee.captureMode) = (thread.pointee.captureMode, mode.pointee)
    }
}

extension CapturedStream {
    mutating func addToFrontier(_ edges: [GraphEdge]) {
        told = nil
        for edge in edges where !frontier.contains(where: { $0.node == edge.node }) { frontier.append(edge) }
    }
}
