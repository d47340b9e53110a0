// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

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

    init(bits: UInt64, id: UInt64, handle: StreamHandle, context: Context, flags: UInt32, priority: Int32) {
        self.bits = bits
        self.id = id
        self.handle = handle
        self.context = context
        self.flags = flags
        self.priority = priority
    }
}

/// An event that the application made.
final class Event: Sendable {
    let bits: UInt64
    let handle: EventHandle
    let context: Context
    let flags: UInt32

    init(bits: UInt64, handle: EventHandle, context: Context, flags: UInt32) {
        self.bits = bits
        self.handle = handle
        self.context = context
        self.flags = flags
    }
}

/// Where a call enqueues its work: a stream, in the context that the stream belongs to.
struct StreamTarget {
    /// The application's handle of the context.
    let contextBits: UInt64
    let context: ContextHandle
    let stream: StreamHandle
}

extension Shim {
    /// CU_STREAM_LEGACY and CU_STREAM_PER_THREAD: handles that mean the default streams in every function.
    static var legacyStreamBits: UInt64 { 1 }
    static var perThreadStreamBits: UInt64 { 2 }

    /// Finds the stream behind a handle.
    @inline(__always)
    func target(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> StreamTarget {
        let bits = bits(hStream)
        if bits > Self.perThreadStreamBits {
            let target = try streams.with(bits) { stream throws(CUDAError) in
                StreamTarget(
                    contextBits: stream.context.bits, context: try stream.context.handle, stream: stream.handle)
            }
            guard let target else { throw .invalidHandle }
            return target
        }
        if bits == Self.perThreadStreamBits || bits == 0 && defaultStream == .perThread {
            return try perThreadTarget()
        }
        let current = try currentHandles()
        return StreamTarget(contextBits: current.bits, context: current.handle, stream: .legacyDefault)
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
    private func perThreadTarget() throws(CUDAError) -> StreamTarget {
        let active = try activeContext()
        let thread = ThreadState.current
        let known = thread.pointee.defaultStreams.first {
            $0.context === active.context && $0.activation == active.handle
        }
        if let known {
            return StreamTarget(contextBits: active.context.bits, context: active.handle, stream: known.handle)
        }
        let handle = try driver.cuStreamCreateWithPriority(
            active.handle, flags: CU_STREAM_DEFAULT.rawValue, priority: 0)
        thread.pointee.defaultStreams.removeAll { $0.context === active.context }
        thread.pointee.defaultStreams.append(
            ThreadState.DefaultStream(context: active.context, activation: active.handle, handle: handle))
        return StreamTarget(contextBits: active.context.bits, context: active.handle, stream: handle)
    }
}
