// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// A capture: what is enqueued on some streams becomes nodes of a graph instead of being done.
final class Capture: Sendable {
    let id: UInt64
    let mode: CUstreamCaptureMode
    /// The thread that began it.
    let thread: pthread_t
    /// The stream on which it was begun and must be ended.
    let origin: Stream
    let graph: Graph
    /// Whether the graph was the application's before, and stays when the capture fails.
    let isIntoKnownGraph: Bool

    init(
        id: UInt64, mode: CUstreamCaptureMode, origin: Stream, graph: Graph, isIntoKnownGraph: Bool
    ) {
        self.id = id
        self.mode = mode
        thread = pthread_self()
        self.origin = origin
        self.graph = graph
        self.isIntoKnownGraph = isIntoKnownGraph
    }

    /// Whether calls that may disturb a capture are forbidden to a thread.
    func prohibits(_ thread: pthread_t, threadMode: CUstreamCaptureMode) -> Bool {
        if mode == CU_STREAM_CAPTURE_MODE_RELAXED || threadMode == CU_STREAM_CAPTURE_MODE_RELAXED { return false }
        if pthread_equal(self.thread, thread) != 0 { return true }
        return mode == CU_STREAM_CAPTURE_MODE_GLOBAL && threadMode == CU_STREAM_CAPTURE_MODE_GLOBAL
    }
}

/// What a captured stream is up to.
struct CapturedStream {
    let stream: Stream
    let capture: Capture
    /// What the stream's next work depends on.
    var frontier: [GraphEdge]
    /// What `cuStreamGetCaptureInfo` has told of it; valid until the frontier changes.
    var told: ToldDependencies?
}

/// Lists of handles and edge data that the application may read for a while.
final class ToldDependencies: @unchecked Sendable {
    // SAFETY: written by `init` only.
    let nodes: UnsafeMutablePointer<OpaquePointer?>
    let data: UnsafeMutablePointer<CUgraphEdgeData>
    let count: Int

    init(_ edges: [(bits: UInt64, data: EdgeData)]) {
        count = edges.count
        nodes = .allocate(capacity: max(count, 1))
        data = .allocate(capacity: max(count, 1))
        for (index, edge) in edges.enumerated() {
            (nodes + index).initialize(to: OpaquePointer(bitPattern: UInt(edge.bits)))
            (data + index).initialize(to: edge.data.asC)
        }
    }

    deinit {
        nodes.deallocate()
        data.deallocate()
    }
}

/// All captures of the process that go on.
struct Captures {
    struct Running {
        let capture: Capture
        /// Once something has happened that cannot be captured: all of it has failed, and ends with an error.
        var isInvalidated = false
    }

    /// By the capture's number.
    var running: [UInt64: Running] = [:]
    /// By the stream's own number.
    var streams: [UInt64: CapturedStream] = [:]

    func isInvalidated(_ capture: Capture) -> Bool { running[capture.id]?.isInvalidated ?? true }
    mutating func invalidate(_ capture: Capture) { running[capture.id]?.isInvalidated = true }

    /// The captures that a call of this thread must not disturb.
    func prohibiting(_ threadMode: CUstreamCaptureMode) -> [Capture] {
        let thread = pthread_self()
        return running.values.map(\.capture).filter { $0.prohibits(thread, threadMode: threadMode) }
    }
}

/// What an event has recorded in a capture.
struct CapturedRecord {
    let capture: Capture
    let frontier: [GraphEdge]
}

extension CUDAError {
    static var captureUnsupported: Self { Self(CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED) }
    static var captureInvalidated: Self { Self(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED) }
    static var captureImplicit: Self { Self(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT) }
    static var capturedEvent: Self { Self(CUDA_ERROR_CAPTURED_EVENT) }
    static var illegalState: Self { Self(CUDA_ERROR_ILLEGAL_STATE) }
}
