// SPDX-License-Identifier: Apache-2.0
import Glibc

/// Cores that several launches use together: no more threads than these run their blocks at the same time.
package final class CoreBudget: @unchecked Sendable {
    // SAFETY: `free` is touched only while `mutex` is held; both C objects keep their address until deinit.
    private let mutex = UnsafeMutablePointer<pthread_mutex_t>.allocate(capacity: 1)
    private let returned = UnsafeMutablePointer<pthread_cond_t>.allocate(capacity: 1)
    private var free: Int

    package init(cores: Int) {
        precondition(cores > 0, "a launch without cores never ends")
        free = cores
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(returned, nil)
    }

    deinit {
        pthread_cond_destroy(returned)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        returned.deallocate()
    }

    /// Takes a core, waiting until one is free.
    func take() {
        pthread_mutex_lock(mutex)
        while free == 0 { pthread_cond_wait(returned, mutex) }
        free -= 1
        pthread_mutex_unlock(mutex)
    }

    /// Takes a core if one is free.
    func tryTake() -> Bool {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        guard free > 0 else { return false }
        free -= 1
        return true
    }

    func give() {
        pthread_mutex_lock(mutex)
        free += 1
        pthread_cond_signal(returned)
        pthread_mutex_unlock(mutex)
    }
}
