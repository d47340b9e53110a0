// SPDX-License-Identifier: Apache-2.0
import CCallTrace
import Glibc
import TraceFormat

/// Gathers records in a few buffers and writes each as a block: when it is full, every second, before a fork and at the
/// end of the process.
///
/// A thread always uses the same buffer, and up to 64 threads one of their own, so that they do not wait for each
/// other; memory is bounded however many there are. One recorder serves one library of the process.
///
/// SAFETY: a buffer is touched with its lock only; the locks never move.
final class Recorder: @unchecked Sendable {
    static let shared = Recorder()

    private static let bufferCount = 64
    private static let flushSeconds = 1

    private let buffers = (0..<bufferCount).map { _ in RecordBuffer() }
    private let file = TraceFile()
    private let lock = RecorderLock()
    // Read and written with `lock`.
    private var hasFlusher = false
    /// From here on every record is written at once.
    ///
    /// Only ever set; a record that misses it is written by the flush that follows.
    private var isEnding = false

    private init() {
        _ = pthread_atfork(
            { Recorder.shared.prepareFork() }, { Recorder.shared.unlockAll() },
            { Recorder.shared.beginInForkedChild() })
        atexit { Recorder.shared.end() }
    }

    func append(_ record: CallRecord, of list: CallList) {
        startFlusher()
        let buffer = buffers[Int(record.thread) % Recorder.bufferCount]
        buffer.lock.withLock {
            if !buffer.hasRoom { buffer.flush(to: file) }
            buffer.append(record, of: list)
            if isEnding { buffer.flush(to: file) }
        }
    }

    private func flush() { for buffer in buffers { buffer.lock.withLock { buffer.flush(to: file) } } }

    private func end() {
        isEnding = true
        flush()
    }

    private func startFlusher() {
        if hasFlusher { return }
        lock.withLock {
            guard !hasFlusher else { return }
            hasFlusher = true
            let isStarted = startUnsignalledThread {
                while calltrace_is_on() != 0 {
                    sleep(UInt32(Recorder.flushSeconds))
                    Recorder.shared.flush()
                }
            }
            // Without a thread every record is written at once: slower, but nothing is lost.
            if !isStarted { isEnding = true }
        }
    }

    // A fork: no buffer is in use meanwhile, and the child begins a file of its own with empty ones.

    private func prepareFork() {
        lock.lock()
        for buffer in buffers {
            buffer.lock.lock()
            buffer.flush(to: file)
        }
    }

    private func unlockAll() {
        for buffer in buffers { buffer.lock.unlock() }
        lock.unlock()
    }

    private func beginInForkedChild() {
        calltrace_forget_thread()
        for buffer in buffers {
            buffer.forget()
            buffer.lock.reset()
        }
        file.forgetInForkedChild()
        hasFlusher = false
        lock.reset()
    }
}

/// A mutex at a fixed address that a forked child can make anew.
final class RecorderLock: @unchecked Sendable {
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() { pthread_mutex_init(mutex, nil) }

    deinit { mutex.deallocate() }

    func lock() { pthread_mutex_lock(mutex) }
    func unlock() { pthread_mutex_unlock(mutex) }
    func reset() { pthread_mutex_init(mutex, nil) }

    func withLock(_ body: () -> Void) {
        lock()
        body()
        unlock()
    }
}

/// Starts a detached thread that receives no signals of the application.
///
/// False when the system has none left.
private func startUnsignalledThread(_ body: @convention(c) () -> Void) -> Bool {
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    pthread_sigmask(SIG_SETMASK, &all, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { body in
            // SAFETY: the argument is the function that was passed below.
            unsafeBitCast(body, to: (@convention(c) () -> Void).self)()
            return nil
        }, unsafeBitCast(body, to: UnsafeMutableRawPointer.self))
    if code == 0 { pthread_detach(thread) }
    return code == 0
}
