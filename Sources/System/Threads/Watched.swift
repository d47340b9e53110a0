// SPDX-License-Identifier: Apache-2.0
import Glibc

/// A value behind a lock, and threads that wait until it is as they need it.
///
/// SAFETY: the value is touched only while the lock is held; the lock and the condition live at a fixed address as long
/// as this object does.
package final class Watched<Value>: @unchecked Sendable {
    private let lock = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let changed = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var value: Value

    package init(_ value: sending Value) {
        self.value = value
        pthread_mutex_init(lock, nil)
        var attributes = pthread_condattr_t()
        pthread_condattr_init(&attributes)
        // Deadlines must not move when somebody sets the clock.
        pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC)
        pthread_cond_init(changed, &attributes)
        pthread_condattr_destroy(&attributes)
    }

    deinit {
        pthread_cond_destroy(changed)
        pthread_mutex_destroy(lock)
        changed.deallocate()
        lock.deallocate()
    }

    /// Reads or changes the value; whoever waits looks at it again.
    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        pthread_mutex_lock(lock)
        defer {
            pthread_cond_broadcast(changed)
            pthread_mutex_unlock(lock)
        }
        return try body(&value)
    }

    /// Waits until `body` returns something, at most so long.
    ///
    /// Returns nil when the time is over; `milliseconds` nil waits for ever.
    package func wait<Result>(milliseconds: Int64?, until body: (inout Value) -> Result?) -> Result? {
        let deadline = milliseconds.map { monotonicMilliseconds() + $0 }
        pthread_mutex_lock(lock)
        defer { pthread_mutex_unlock(lock) }
        while true {
            if let result = body(&value) {
                pthread_cond_broadcast(changed)
                return result
            }
            if let deadline {
                guard monotonicMilliseconds() < deadline else { return nil }
                var time = timespec(tv_sec: Int(deadline / 1000), tv_nsec: Int(deadline % 1000) * 1_000_000)
                pthread_cond_timedwait(changed, lock, &time)
            } else {
                pthread_cond_wait(changed, lock)
            }
        }
    }
}
