// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// What belongs to one thread of the application: its stack of contexts, its default streams, its launch buffer.
///
/// It is made at the thread's first call and freed when the thread ends.
struct ThreadState {
    struct DefaultStream {
        let context: Context
        /// The activation of the context in which the stream was made.
        let activation: ContextHandle
        let stream: Stream
    }

    /// The last is the current one.
    var contexts: [Context] = [] {
        didSet { current = contexts.last.map { Unmanaged.passUnretained($0) } }
    }
    /// The current context, which ``contexts`` keeps alive, without counting references in every call.
    private(set) var current: Unmanaged<Context>?
    var defaultStreams: [DefaultStream] = []
    /// What `cuThreadExchangeStreamCaptureMode` last set.
    var captureMode = CU_STREAM_CAPTURE_MODE_GLOBAL
    /// Whether the thread is calling a host function for a stream.
    var isInHostFunction = false
    /// Whether the thread is telling a callback of the error log.
    var isInLogCallback = false
    private var launchBuffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let code = pthread_key_create(&key) { address in
            guard let state = address?.assumingMemoryBound(to: ThreadState.self) else { return }
            state.pointee.end()
            state.deinitialize(count: 1)
            state.deallocate()
        }
        precondition(code == 0, "the process has no thread-specific key left")
        return key
    }()

    /// The calling thread's state.
    ///
    /// No other thread sees it.
    @inline(__always)
    static var current: UnsafeMutablePointer<ThreadState> {
        pthread_getspecific(key)?.assumingMemoryBound(to: ThreadState.self) ?? make()
    }

    private static func make() -> UnsafeMutablePointer<ThreadState> {
        let state = UnsafeMutablePointer<ThreadState>.allocate(capacity: 1)
        state.initialize(to: ThreadState())
        pthread_setspecific(key, state)
        return state
    }

    /// Memory for a launch's parameter block; the next launch of the thread uses it again.
    @inline(__always)
    mutating func launchBuffer(byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if launchBuffer.count < byteCount { growLaunchBuffer(byteCount) }
        return UnsafeMutableRawBufferPointer(start: launchBuffer.baseAddress, count: byteCount)
    }

    private mutating func growLaunchBuffer(_ byteCount: Int) {
        launchBuffer.deallocate()
        launchBuffer = .allocate(byteCount: max(byteCount, 4096), alignment: 16)
        launchBuffer.initializeMemory(as: UInt8.self, repeating: 0)
    }

    /// Gives up what the thread held.
    private mutating func end() {
        launchBuffer.deallocate()
        guard let shim = Startup.initialised?.takeUnretainedValue() else { return }
        for stream in defaultStreams {
            // A stream of an ended activation went with it; nobody is left to hear of another failure.
            guard let handle = try? stream.context.handle, handle == stream.activation else { continue }
            shim.streamEnds(stream.stream)
            try? shim.driver.cuStreamDestroy_v2(handle, hStream: stream.stream.handle)
        }
    }
}
