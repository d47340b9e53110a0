// SPDX-License-Identifier: Apache-2.0
import Glibc
import Manager
import Synchronization

/// Workers that have been started ahead, so that an application does not wait for a process and its driver.
///
/// One thread starts them all and lives as long as the daemon: the kernel ends a worker with the thread that started it.
final class WorkerStock: Sendable {
    struct Worker: Sendable {
        let pid: pid_t
        /// The dispatcher's end of the worker's control socket.
        let control: Int32
    }

    private struct State {
        var idle: [Worker] = []
        var starting = 0
        var isStopping = false
        /// Workers that ended before they were given an application, in a row.
        var failures = 0
    }

    /// Started ahead. Two cover a program that starts another one.
    private static let idleWorkers = 2
    /// After a worker that ended at once the next one is not started sooner.
    private static let retryMicroseconds: UInt32 = 500_000

    private let state = Mutex(State())
    private let driver: DriverChoice
    private let workerEnded: @Sendable (pid_t) -> Void

    /// - Parameter workerEnded: Called when a worker's process has ended.
    init(driver: DriverChoice, workerEnded: @escaping @Sendable (pid_t) -> Void) {
        self.driver = driver
        self.workerEnded = workerEnded
    }

    func start() {
        startThread { [self] in
            while !state.withLock({ $0.isStopping }) {
                let (missing, failures) = state.withLock {
                    (WorkerStock.idleWorkers - $0.idle.count, $0.failures)
                }
                if missing > 0 {
                    if failures > 0 { usleep(WorkerStock.retryMicroseconds) }
                    startOne()
                } else {
                    usleep(2_000)
                }
            }
        }
    }

    private func startOne() {
        var ends: [Int32] = [0, 0]
        guard
            socketpair(
                AF_UNIX, Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0, &ends) == 0
        else {
            usleep(WorkerStock.retryMicroseconds)
            return
        }
        defer { close(ends[1]) }
        let pid: pid_t
        do {
            pid = try ChildProcess.start(
                InstalledFiles.thisProgram, ["worker", "--control-fd", "3", "--driver", driver.path],
                environment: driver.environment, descriptors: [(3, ends[1])])
        } catch {
            writeError("bitfusion: \(error)\n")
            close(ends[0])
            state.withLock { $0.failures += 1 }
            return
        }
        let control = ends[0]
        state.withLock { $0.idle.append(Worker(pid: pid, control: control)) }
        startThread { [self] in
            _ = ChildProcess.wait(pid)
            let wasIdle = state.withLock { state in
                guard let index = state.idle.firstIndex(where: { $0.pid == pid }) else { return false }
                state.idle.remove(at: index)
                state.failures += 1
                return true
            }
            if wasIdle { close(control) }
            workerEnded(pid)
        }
    }

    /// Takes a worker, waiting for one at most so long.
    func take(milliseconds: Int) -> Worker? {
        for _ in 0...(milliseconds / 2) {
            let worker = state.withLock { state -> Worker? in
                guard !state.isStopping, !state.idle.isEmpty else { return nil }
                state.failures = 0
                return state.idle.removeFirst()
            }
            if let worker { return worker }
            if state.withLock({ $0.isStopping }) { return nil }
            usleep(2_000)
        }
        return nil
    }

    /// Ends the idle workers, which see their control sockets close.
    func stop() {
        let idle = state.withLock { state in
            state.isStopping = true
            defer { state.idle.removeAll() }
            return state.idle
        }
        for worker in idle {
            kill(worker.pid, SIGKILL)
            close(worker.control)
        }
    }
}
