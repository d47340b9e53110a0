// SPDX-License-Identifier: Apache-2.0
import Glibc
import Manager
import Threads

/// A worker's process, from its start to its end.
///
/// It is signalled only while the number is certainly its own: it is not reaped before the lock is held.
final class WorkerProcess: Sendable {
    let pid: pid_t
    /// The dispatcher's end of the worker's control socket.
    ///
    /// Closed with this object.
    let control: Int32
    private let life = Watched(Life())

    private struct Life {
        var isRunning = true
        var atEnd: (@Sendable () -> Void)?
    }

    init(pid: pid_t, control: Int32) {
        self.pid = pid
        self.control = control
    }

    deinit { close(control) }

    /// Ends it at once; the kernel frees what it held.
    func kill() { life.withLock { if $0.isRunning { _ = Glibc.kill(pid, SIGKILL) } } }

    /// Calls `body` once when it has ended, and what it held is free.
    func whenEnded(_ body: @escaping @Sendable () -> Void) {
        let hasEnded = life.withLock { life in
            if life.isRunning { life.atEnd = body }
            return !life.isRunning
        }
        if hasEnded { body() }
    }

    /// Waits for its end without reaping it before others know.
    ///
    /// Called once, on a thread for it.
    func reap() {
        var information = siginfo_t()
        while waitid(P_PID, id_t(pid), &information, WEXITED | WNOWAIT) < 0 && errno == EINTR {}
        let atEnd = life.withLock { life in
            _ = ChildProcess.wait(pid)
            life.isRunning = false
            return life.atEnd.take()
        }
        atEnd?()
    }

    /// Waits until it says that its driver has started; false when it ends instead.
    func isReady() -> Bool {
        var byte: UInt8 = 0
        while true {
            let count = recv(control, &byte, 1, 0)
            if count >= 0 || errno != EINTR { return count == 1 }
        }
    }

    /// Whether it has ended, now or within a time.
    func hasEnded(within milliseconds: Int64) -> Bool {
        life.wait(milliseconds: milliseconds) { $0.isRunning ? nil : true } ?? false
    }
}

/// Workers that have been started ahead, so that an application does not wait for a process and its driver.
///
/// One thread starts them all and lives as long as the daemon: the kernel ends a worker with the thread that started
/// it.
final class WorkerStock: Sendable {
    private struct State {
        /// Their driver is not ready yet.
        var starting: [WorkerProcess] = []
        var idle: [WorkerProcess] = []
        /// Workers that ended before they were ready, in a row.
        var failures = 0
        var isStopping = false
    }

    /// Started ahead.
    ///
    /// Two cover a program that starts another one.
    private static let idleWorkers = 2
    /// After so many failures in a row there is a driver that does not start, and nobody waits for a worker any longer.
    private static let failuresMax = 3
    /// After a worker that ended at once the next one is started later, up to the longest pause.
    private static let pauseMilliseconds = 250
    private static let pauseMillisecondsMax = 10_000

    private let state = Watched(State())
    private let driver: DriverChoice

    init(driver: DriverChoice) { self.driver = driver }

    func start() {
        startThread { [self] in
            while let failures = waitForPlace() {
                guard failures == 0 || !isStopping(within: pause(after: failures)) else { return }
                startOne()
            }
        }
    }

    /// Waits until a worker is missing; returns the failures before, or nil at the end.
    private func waitForPlace() -> Int? {
        enum Next {
            case start(failures: Int)
            case stop
        }
        let next = state.wait(milliseconds: nil) { state -> Next? in
            if state.isStopping { return .stop }
            return state.idle.count + state.starting.count < WorkerStock.idleWorkers
                ? .start(failures: state.failures) : nil
        }
        guard case .start(let failures)? = next else { return nil }
        return failures
    }

    private func pause(after failures: Int) -> Int64 {
        Int64(min(WorkerStock.pauseMilliseconds << min(failures - 1, 16), WorkerStock.pauseMillisecondsMax))
    }

    private func isStopping(within milliseconds: Int64) -> Bool {
        state.wait(milliseconds: milliseconds) { $0.isStopping ? true : nil } ?? false
    }

    private func startOne() {
        var ends: [Int32] = [0, 0]
        let type = Int32(SOCK_SEQPACKET.rawValue) | Int32(SOCK_CLOEXEC.rawValue)
        guard socketpair(AF_UNIX, type, 0, &ends) == 0 else {
            return failed("cannot make a control socket: \(String(cString: strerror(errno)))")
        }
        defer { close(ends[1]) }
        let worker: WorkerProcess
        do {
            let pid = try ChildProcess.start(
                InstalledFiles.thisProgram, ["worker", "--control-fd", "3", "--driver", driver.path],
                environment: driver.environment, descriptors: [(3, ends[1])])
            worker = WorkerProcess(pid: pid, control: ends[0])
        } catch {
            close(ends[0])
            return failed("\(error)")
        }
        let isStopping = state.withLock { state in
            state.starting.append(worker)
            return state.isStopping
        }
        if isStopping { worker.kill() }
        if !startThread({ [self] in accompany(worker) }) {
            // Without a thread to wait for it, it must not run on.
            worker.kill()
            accompany(worker)
        }
    }

    private func failed(_ reason: String) {
        writeError("bitfusion: no worker: \(reason)\n")
        state.withLock { $0.failures += 1 }
    }

    /// Follows a worker from its start to its end.
    private func accompany(_ worker: WorkerProcess) {
        let isReady = worker.isReady()
        state.withLock { state in
            state.starting.removeAll { $0 === worker }
            if isReady {
                state.idle.append(worker)
                state.failures = 0
            } else {
                state.failures += 1
            }
        }
        worker.reap()
        state.withLock { $0.idle.removeAll { $0 === worker } }
    }

    /// Takes a worker, waiting for one at most so long; nil too when workers do not start at all.
    func take(milliseconds: Int64) -> WorkerProcess? {
        enum Outcome {
            case worker(WorkerProcess)
            case none
        }
        let outcome = state.wait(milliseconds: milliseconds) { state -> Outcome? in
            if state.isStopping { return Outcome.none }
            if !state.idle.isEmpty { return .worker(state.idle.removeFirst()) }
            return state.failures >= WorkerStock.failuresMax ? Outcome.none : nil
        }
        guard case .worker(let worker)? = outcome else { return nil }
        return worker
    }

    /// Ends the idle workers and starts no more.
    func stop() {
        let unused = state.withLock { state in
            state.isStopping = true
            return state.idle + state.starting
        }
        unused.forEach { $0.kill() }
    }
}
