// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Which stream the handle NULL means in an exported function.
enum DefaultStream {
    case legacy, perThread
}

/// A stream that the application made.
final class Stream: Sendable {
    let bits: UInt64
    let id: UInt64
    let handle: StreamHandle
    let context: Context
    let flags: UInt32
    let priority: Int32
    let attributes = StreamAttributes()
    private let capturing = Atomic<Bool>(false)

    init(bits: UInt64, id: UInt64, handle: StreamHandle, context: Context, flags: UInt32, priority: Int32) {
        self.bits = bits
        self.id = id
        self.handle = handle
        self.context = context
        self.flags = flags
        self.priority = priority
    }

    /// Whether the legacy default stream and this one wait for each other.
    var isBlocking: Bool { flags & CU_STREAM_NON_BLOCKING.rawValue == 0 }
    /// Whether work becomes nodes of a graph instead of being done; ``Shim/captures`` knows the rest.
    @inline(__always)
    var isCapturing: Bool { capturing.load(ordering: .relaxed) }

    func setCapturing(_ isCapturing: Bool) { capturing.store(isCapturing, ordering: .relaxed) }
}

/// An event that the application made.
final class Event: Sendable {
    let bits: UInt64
    let handle: EventHandle
    let context: Context
    let flags: UInt32
    private let isCaptured = Atomic<Bool>(false)
    private let record = Mutex<CapturedRecord?>(nil)

    init(bits: UInt64, handle: EventHandle, context: Context, flags: UInt32) {
        self.bits = bits
        self.handle = handle
        self.context = context
        self.flags = flags
    }

    /// What it last recorded, if that was in a capture.
    var capturedRecord: CapturedRecord? {
        isCaptured.load(ordering: .acquiring) ? record.withLock { $0 } : nil
    }

    func remember(_ captured: CapturedRecord) {
        record.withLock { $0 = captured }
        isCaptured.store(true, ordering: .releasing)
    }

    /// The event has recorded something outside a capture.
    func forgetCapture() {
        guard isCaptured.load(ordering: .relaxed) else { return }
        isCaptured.store(false, ordering: .relaxed)
        record.withLock { $0 = nil }
    }
}

/// Where a call enqueues its work: a stream, in the context that the stream belongs to.
struct StreamTarget {
    /// The application's handle of the context.
    let contextBits: UInt64
    let context: ContextHandle
    let stream: StreamHandle
    /// The stream, if it is captured: then the work becomes a node of a graph.
    var capturing: Stream?
}

extension Shim {
    /// CU_STREAM_LEGACY and CU_STREAM_PER_THREAD: handles that mean the default streams in every function.
    static var legacyStreamBits: UInt64 { 1 }
    static var perThreadStreamBits: UInt64 { 2 }

    /// Finds the stream behind a handle, for a call that cannot be captured.
    @inline(__always)
    func target(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> StreamTarget {
        let target = try workTarget(hStream, defaultStream)
        if let stream = target.capturing { try refuseCapture(of: stream) }
        return target
    }

    /// Finds the stream behind a handle, for a call that looks whether it has to capture its work.
    @inline(__always)
    func workTarget(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> StreamTarget {
        let bits = bits(hStream)
        if bits > Self.perThreadStreamBits {
            let target = try streams.with(bits) { stream throws(CUDAError) in
                let active = stream.context.activeBits
                if active == 0 { throw stream.context.streamFailure }
                return StreamTarget(
                    contextBits: stream.context.homeBits, context: ContextHandle(bits: active), stream: stream.handle,
                    capturing: stream.isCapturing ? copy stream : nil)
            }
            guard let target else { throw .invalidHandle }
            return target
        }
        if bits == Self.perThreadStreamBits || bits == 0 && defaultStream == .perThread {
            // CUDA has no such handle in green contexts.
            if bits != 0, currentContext?.green != nil { throw .invalidHandle }
            let stream = try perThreadStream()
            return StreamTarget(
                contextBits: stream.context.homeBits, context: try stream.context.handle, stream: stream.handle,
                capturing: stream.isCapturing ? stream : nil)
        }
        let current = try currentHandles()
        try checkLegacyStreamIsFree(current.bits)
        return StreamTarget(contextBits: current.bits, context: current.handle, stream: current.defaultStream)
    }

    /// Waits for work that has just been enqueued, where CUDA_LAUNCH_BLOCKING asks for it.
    ///
    /// Its failure is then this call's.
    @inline(__always)
    func waitIfBlocking(_ target: StreamTarget) throws(CUDAError) {
        if isLaunchBlocking { try driver.cuStreamSynchronize(target.context, hStream: target.stream) }
    }

    /// The stream behind a handle; nil for the legacy default stream.
    func knownStream(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> Stream? {
        switch bits(hStream) {
        case 0 where defaultStream == .legacy, Self.legacyStreamBits:
            _ = try activeContext()
            return nil
        case 0, Self.perThreadStreamBits: return try perThreadStream()
        case let bits:
            guard let stream = streams[bits] else { throw .invalidHandle }
            return stream
        }
    }

    /// The context of a stream that was found.
    func context(of target: StreamTarget) throws(CUDAError) -> Context {
        guard let context = contexts[target.contextBits] else { throw .contextIsDestroyed }
        return context
    }

    /// The calling thread's default stream in its current context.
    ///
    /// It is a stream of its own that waits for the legacy one and makes it wait, as every stream made without
    /// CU_STREAM_NON_BLOCKING.
    private func perThreadStream() throws(CUDAError) -> Stream {
        guard let context = currentContext else { throw .invalidContext }
        let activation = try context.handle
        let thread = ThreadState.current
        let known = thread.pointee.defaultStreams.first {
            $0.context === context && $0.activation == activation
        }
        if let known { return known.stream }
        let flags = context.green == nil ? CU_STREAM_DEFAULT.rawValue : CU_STREAM_NON_BLOCKING.rawValue
        let handle = try makeStream(in: context, flags: flags, priority: 0)
        thread.pointee.defaultStreams.removeAll { $0.context === context }
        let stream = Stream(
            bits: Self.perThreadStreamBits, id: nextID(), handle: handle, context: context, flags: flags, priority: 0)
        thread.pointee.defaultStreams.append(
            ThreadState.DefaultStream(context: context, activation: activation, stream: stream))
        return stream
    }
}
