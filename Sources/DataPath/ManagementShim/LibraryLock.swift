// SPDX-License-Identifier: Apache-2.0
import Glibc

/// The library's one lock, which a forked child finds free.
///
/// The thread that forks waits until no question is under way, so that the child inherits a state that is whole.
enum LibraryLock {
    // SAFETY: initialised once, before the first use, and never freed.
    nonisolated(unsafe) private static let mutex: UnsafeMutablePointer<pthread_mutex_t> = {
        let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        _ = pthread_atfork({ LibraryLock.lock() }, { LibraryLock.unlock() }, { LibraryLock.reset() })
        return mutex
    }()

    static func withLock<Result>(_ body: () -> Result) -> Result {
        lock()
        defer { unlock() }
        return body()
    }

    private static func lock() { pthread_mutex_lock(mutex) }
    private static func unlock() { pthread_mutex_unlock(mutex) }
    private static func reset() { pthread_mutex_init(mutex, nil) }
}
