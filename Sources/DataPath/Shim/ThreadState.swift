// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc

/// What belongs to one thread of the application: its stack of contexts, its default streams, its launch buffer.
/// It is made at the thread's first call and freed when the thread ends.
final class ThreadState {
    struct DefaultStream {
        let context: Context
        /// The activation of the context in which the stream was made.
        let activation: ContextHandle
        let handle: StreamHandle
    }

    /// The last is the current one.
    var contexts: [Context] = []
    var defaultStreams: [DefaultStream] = []
    /// What `cuThreadExchangeStreamCaptureMode` last set.
    var captureMode = CU_STREAM_CAPTURE_MODE_GLOBAL
    private var launchBuffer = UnsafeMutableRawBufferPointer(start: nil, count: 0)

    private static let key: pthread_key_t = {
        var key = pthread_key_t()
        let code = pthread_key_create(&key) { state in
            guard let state else { return }
            Unmanaged<ThreadState>.fromOpaque(state).release()
        }
        precondition(code == 0, "the process has no thread-specific key left")
        return key
    }()

    @inline(__always)
    static var current: ThreadState {
        if let state = pthread_getspecific(key) {
            return Unmanaged<ThreadState>.fromOpaque(state).takeUnretainedValue()
        }
        return make()
    }

    private static func make() -> ThreadState {
        let state = ThreadState()
        pthread_setspecific(key, Unmanaged.passRetained(state).toOpaque())
        return state
    }

    /// Memory for a launch's parameter block; the next launch of the thread uses it again.
    @inline(__always)
    func launchBuffer(byteCount: Int) -> UnsafeMutableRawBufferPointer {
        if launchBuffer.count < byteCount { growLaunchBuffer(byteCount) }
        return UnsafeMutableRawBufferPointer(rebasing: launchBuffer[..<byteCount])
    }

    private func growLaunchBuffer(_ byteCount: Int) {
        launchBuffer.deallocate()
        launchBuffer = .allocate(byteCount: max(byteCount, 4096), alignment: 16)
        launchBuffer.initializeMemory(as: UInt8.self, repeating: 0)
    }

    deinit {
        launchBuffer.deallocate()
        guard let shim = Startup.initialised else { return }
        for stream in defaultStreams {
            // A stream of an ended activation went with it; nobody is left to hear of another failure.
            guard let handle = try? stream.context.handle, handle == stream.activation else { continue }
            try? shim.driver.cuStreamDestroy_v2(handle, hStream: stream.handle)
        }
    }
}
