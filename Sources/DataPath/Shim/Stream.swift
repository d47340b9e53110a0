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
    let active: ActiveContext
    let stream: StreamHandle

    var context: ContextHandle { active.handle }
}

extension Shim {
    /// CU_STREAM_LEGACY and CU_STREAM_PER_THREAD: handles that mean the default streams in every function.
    static var legacyStreamBits: UInt64 { 1 }
    static var perThreadStreamBits: UInt64 { 2 }

    /// Finds the stream behind a handle.
    @inline(__always)
    func target(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> StreamTarget {
        switch bits(hStream) {
        case 0:
            let active = try activeContext()
            return defaultStream == .legacy
                ? StreamTarget(active: active, stream: .legacyDefault) : try perThreadTarget(active)
        case Self.legacyStreamBits: return StreamTarget(active: try activeContext(), stream: .legacyDefault)
        case Self.perThreadStreamBits: return try perThreadTarget(try activeContext())
        case let bits:
            guard let stream = streams[bits] else { throw .invalidHandle }
            return StreamTarget(active: try ActiveContext(stream.context), stream: stream.handle)
        }
    }

    /// The calling thread's default stream in a context: a stream of its own that waits for the legacy one and makes it
    /// wait, as every stream made without CU_STREAM_NON_BLOCKING.
    private func perThreadTarget(_ active: ActiveContext) throws(CUDAError) -> StreamTarget {
        let thread = ThreadState.current
        for stream in thread.defaultStreams
        where stream.context === active.context && stream.activation == active.handle {
            return StreamTarget(active: active, stream: stream.handle)
        }
        let handle = try driver.cuStreamCreateWithPriority(
            active.handle, flags: CU_STREAM_DEFAULT.rawValue, priority: 0)
        thread.defaultStreams.removeAll { $0.context === active.context }
        thread.defaultStreams.append(
            ThreadState.DefaultStream(context: active.context, activation: active.handle, handle: handle))
        return StreamTarget(active: active, stream: handle)
    }
}
