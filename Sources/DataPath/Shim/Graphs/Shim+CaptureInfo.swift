// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What a capture is up to: told, and changed.
extension Shim {
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
