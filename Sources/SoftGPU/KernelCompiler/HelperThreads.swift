// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Glibc
import Synchronization

/// Threads that join in on launches worth sharing.
///
/// They sleep when there is none.
final class HelperThreads: @unchecked Sendable {
    // SAFETY: `open`, `stopping` and `running` are only touched with `mutex` held; the mutex and conditions never move.
    private let mutex: UnsafeMutablePointer<pthread_mutex_t>
    private let wake: UnsafeMutablePointer<pthread_cond_t>
    private let left: UnsafeMutablePointer<pthread_cond_t>
    private let cores: CorePool
    let count: Int

    private struct Open {
        var launch: UnsafeMutablePointer<sg_launch>
        var budget: CoreBudget?
        var helpers = 0
        var isClosed = false
    }
    private var open: [Open] = []
    private var stopping = false
    private var running = 0

    init(count: Int, cores: CorePool) {
        self.cores = cores
        self.count = count
        mutex = .allocate(capacity: 1)
        wake = .allocate(capacity: 1)
        left = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        pthread_cond_init(wake, nil)
        pthread_cond_init(left, nil)
        for _ in 0..<count { startThread() }
    }

    deinit {
        pthread_cond_destroy(wake)
        pthread_cond_destroy(left)
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
        wake.deallocate()
        left.deallocate()
    }

    private func startThread() {
        var thread = pthread_t()
        let context = Unmanaged.passRetained(self).toOpaque()
        // Signals of the application are for its own threads; faults are delivered regardless of the mask.
        var all = sigset_t()
        var before = sigset_t()
        sigfillset(&all)
        for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL] { sigdelset(&all, fault) }
        pthread_sigmask(SIG_SETMASK, &all, &before)
        let status = pthread_create(
            &thread, nil,
            { context in
                guard let context else { return nil }
                Unmanaged<HelperThreads>.fromOpaque(context).takeRetainedValue().work()
                return nil
            }, context)
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard status == 0 else {
            Unmanaged<HelperThreads>.fromOpaque(context).release()
            return
        }
        pthread_detach(thread)
        pthread_mutex_lock(mutex)
        running += 1
        pthread_mutex_unlock(mutex)
    }

    /// Ends the threads; returns when they are gone.
    func stop() {
        pthread_mutex_lock(mutex)
        stopping = true
        pthread_cond_broadcast(wake)
        while running > 0 { pthread_cond_wait(left, mutex) }
        pthread_mutex_unlock(mutex)
    }

    /// Offers a launch to the threads.
    func join(_ launch: UnsafeMutablePointer<sg_launch>, _ budget: CoreBudget?) {
        pthread_mutex_lock(mutex)
        open.append(Open(launch: launch, budget: budget))
        pthread_cond_broadcast(wake)
        pthread_mutex_unlock(mutex)
    }

    /// Withdraws a launch; returns when no thread works on it any more.
    func leave(_ launch: UnsafeMutablePointer<sg_launch>) {
        pthread_mutex_lock(mutex)
        if let index = index(of: launch) { open[index].isClosed = true }
        while let index = index(of: launch), open[index].helpers > 0 { pthread_cond_wait(left, mutex) }
        open.removeAll { $0.launch == launch }
        pthread_mutex_unlock(mutex)
    }

    private func index(of launch: UnsafeMutablePointer<sg_launch>) -> Int? { open.firstIndex { $0.launch == launch } }

    /// The launch with the fewest helpers that another may join, with a core of its budget taken.
    private func takeMostNeedy() -> Int? {
        let candidates = open.indices.filter { !open[$0].isClosed }.sorted { open[$0].helpers < open[$1].helpers }
        return candidates.first { open[$0].budget?.tryTake() ?? true }
    }

    private func work() {
        pthread_mutex_lock(mutex)
        while !stopping {
            guard let index = takeMostNeedy() else {
                pthread_cond_wait(wake, mutex)
                continue
            }
            let launch = open[index].launch
            let budget = open[index].budget
            open[index].helpers += 1
            pthread_mutex_unlock(mutex)
            if let core = cores.take() {
                _ = sg_core_run(core, launch, .max)
                cores.give(core)
            }
            budget?.give()
            pthread_mutex_lock(mutex)
            // Nothing is left to start, or the launch has failed: nobody else need look at it.
            if let index = self.index(of: launch) {
                open[index].isClosed = true
                open[index].helpers -= 1
            }
            pthread_cond_broadcast(left)
        }
        running -= 1
        pthread_cond_broadcast(left)
        pthread_mutex_unlock(mutex)
    }
}
