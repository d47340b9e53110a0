// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A mutex at a fixed address, for use with ``Condition``.
final class Lock: @unchecked Sendable {
    let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)

    init() { pthread_mutex_init(mutex, nil) }

    deinit {
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    @inline(__always) func lock() { pthread_mutex_lock(mutex) }
    @inline(__always) func unlock() { pthread_mutex_unlock(mutex) }
}

final class Condition: @unchecked Sendable {
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)

    init() { pthread_cond_init(condition, nil) }

    deinit {
        pthread_cond_destroy(condition)
        condition.deallocate()
    }

    func wait(_ lock: Lock) { pthread_cond_wait(condition, lock.mutex) }
    func signal() { pthread_cond_signal(condition) }
    func broadcast() { pthread_cond_broadcast(condition) }
}

/// Starts a detached thread that receives no signals of the application.
///
/// False when the system has none left.
func startThread(
    _ argument: UnsafeMutableRawPointer, _ body: @convention(c) (UnsafeMutableRawPointer) -> Void
) -> Bool {
    final class Start {
        let argument: UnsafeMutableRawPointer
        let body: @convention(c) (UnsafeMutableRawPointer) -> Void
        init(_ argument: UnsafeMutableRawPointer, _ body: @convention(c) (UnsafeMutableRawPointer) -> Void) {
            self.argument = argument
            self.body = body
        }
    }
    var all = sigset_t()
    var old = sigset_t()
    sigfillset(&all)
    // Those of its own faults: a host function may touch managed memory.
    for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL] { sigdelset(&all, signal) }
    pthread_sigmask(SIG_SETMASK, &all, &old)
    defer { pthread_sigmask(SIG_SETMASK, &old, nil) }
    let start = Unmanaged.passRetained(Start(argument, body))
    var thread = pthread_t()
    let code = pthread_create(
        &thread, nil,
        { pointer in
            guard let pointer else { return nil }
            let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
            start.body(start.argument)
            return nil
        }, start.toOpaque())
    if code == 0 { pthread_detach(thread) } else { start.release() }
    return code == 0
}
