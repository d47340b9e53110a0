// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A value behind a lock whose holder can wait until another thread has changed the value.
///
/// `Mutex` cannot wait; this is the classic pair of a POSIX mutex and a condition variable. It never calls out while
/// it is locked: the bodies given to it are short and touch only the value.
final class Monitor<Value>: @unchecked Sendable {
    // SAFETY: `value` is touched only while `mutex` is held; both C objects keep their address until deinit.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let condition = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value

    init(_ value: Value) {
        self.value = value
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(condition, nil)
    }

    deinit {
        pthread_cond_destroy(condition)
        pthread_mutex_destroy(mutex)
        condition.deallocate()
        mutex.deallocate()
    }

    func withLock<Result>(_ body: (inout Value) -> Result) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return body(&value)
    }

    /// Waits until `body` returns something other than nil.
    ///
    /// It runs once at the start and again whenever the monitor is woken, always with the lock held.
    func wait<Result>(until body: (inout Value) -> Result?) -> Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        while true {
            if let result = body(&value) { return result }
            pthread_cond_wait(condition, mutex)
        }
    }

    func wakeOne() { pthread_cond_signal(condition) }

    func wakeAll() { pthread_cond_broadcast(condition) }
}

/// Polls for at most `nanoseconds`, giving the processor away now and then, and says whether it came true.
///
/// Waking a sleeping thread costs tens of microseconds on a virtual machine, so a short wait is cheaper than a sleep.
func polls(forNanoseconds nanoseconds: UInt64, until isTrue: () -> Bool) -> Bool {
    if isTrue() { return true }
    let end = monotonicNanoseconds() + nanoseconds
    while true {
        for _ in 0..<32 where isTrue() { return true }
        if monotonicNanoseconds() >= end { return false }
        sched_yield()
    }
}

/// Time since an arbitrary start that never goes back.
func monotonicNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
