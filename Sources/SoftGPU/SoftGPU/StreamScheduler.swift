// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// The threads that drain streams: one per stream that has work, started when needed and kept.
///
/// One idle thread polls for a short time before it sleeps, because a program that launches and waits in turn would
/// otherwise pay for waking a thread each time.
final class StreamScheduler: Sendable {
    /// Streams that run at the same time; further ones wait for a thread.
    ///
    /// GPUs run up to 128 kernels at once.
    static let threadsMax = 64
    /// About the time that waking a thread takes.
    static let pollNanoseconds: UInt64 = 40_000
    static let stackBytes = 1 << 20

    private struct State {
        var ready: [Stream] = []
        var taken = 0
        var threads = 0
        var sleeping = 0
        var isPolling = false
        var isStopped = false

        var waiting: Int { ready.count - taken }

        mutating func pop() -> Stream? {
            guard taken < ready.count else { return nil }
            let stream = ready[taken]
            taken += 1
            if taken == ready.count {
                ready.removeAll(keepingCapacity: true)
                taken = 0
            } else if taken >= 1024 {
                ready.removeFirst(taken)
                taken = 0
            }
            return stream
        }
    }

    private enum Next {
        case drain(Stream)
        case poll
        case stop
    }

    private let state = Monitor(State())
    /// The number of ready streams, for the thread that polls.
    private let readyCount = Atomic<Int>(0)
    /// Who looks at the values that streams wait for, from the first of them on.
    private let watch = Mutex<ValueWatch?>(nil)

    /// Has a stream drained by one of the threads.
    func schedule(_ stream: Stream) {
        let (mustWake, mustStart) = state.withLock { state -> (Bool, Bool) in
            state.ready.append(stream)
            readyCount.store(state.waiting, ordering: .releasing)
            let polling = state.isPolling ? 1 : 0
            let mustWake = state.sleeping > 0 && state.waiting > polling
            let mustStart = state.waiting > polling + state.sleeping && state.threads < Self.threadsMax
            if mustStart { state.threads += 1 }
            return (mustWake, mustStart)
        }
        if mustWake { state.wakeOne() }
        if mustStart, !startThread() {
            // Another thread will come to it, unless there is none at all.
            state.withLock { $0.threads -= 1 }
        }
    }

    /// Has a stream drained again when its wait for a value is over.
    func resume(_ stream: Stream, when isOver: @escaping @Sendable () -> Bool) {
        let watch = watch.withLock { watch in
            if let watch { return watch }
            let made = ValueWatch(self)
            watch = made
            return made
        }
        watch.resume(stream, when: isOver)
    }

    /// Ends the threads once no stream is ready.
    func stop() {
        state.withLock { $0.isStopped = true }
        state.wakeAll()
    }

    private func startThread() -> Bool {
        let scheduler = Unmanaged.passRetained(self)
        let started = startDetachedThread(
            { scheduler in
                guard let scheduler else { return nil }
                Unmanaged<StreamScheduler>.fromOpaque(scheduler).takeRetainedValue().work()
                return nil
            }, scheduler.toOpaque())
        if !started { scheduler.release() }
        return started
    }

    private func work() {
        var hasPolled = false
        while true {
            switch nextStep(hasPolled: hasPolled) {
            case .stop: return
            case .drain(let stream):
                stream.drain()
                hasPolled = false
            case .poll:
                _ = polls(forNanoseconds: Self.pollNanoseconds) { readyCount.load(ordering: .acquiring) > 0 }
                hasPolled = true
            }
        }
    }

    /// What a thread does next.
    ///
    /// It sleeps in here when there is nothing.
    private func nextStep(hasPolled: Bool) -> Next {
        var endsPolling = hasPolled
        var isSleeping = false
        return state.wait { state -> Next? in
            if endsPolling { state.isPolling = false }
            endsPolling = false
            if isSleeping { state.sleeping -= 1 }
            isSleeping = false
            if let stream = state.pop() {
                readyCount.store(state.waiting, ordering: .releasing)
                return .drain(stream)
            }
            if state.isStopped {
                state.threads -= 1
                return .stop
            }
            if !hasPolled, !state.isPolling {
                state.isPolling = true
                return .poll
            }
            state.sleeping += 1
            isSleeping = true
            return nil
        }
    }
}

/// Starts a thread for the work of streams; false when there is none to be had.
func startDetachedThread(
    _ body: @escaping @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer?,
    _ argument: UnsafeMutableRawPointer
) -> Bool {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, StreamScheduler.stackBytes)
    // The application's signals are for its own threads; faults of kernels must arrive.
    var mask = sigset_t()
    var before = sigset_t()
    sigfillset(&mask)
    for fault in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT] { sigdelset(&mask, fault) }
    pthread_sigmask(SIG_SETMASK, &mask, &before)
    defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
    var thread = pthread_t()
    return pthread_create(&thread, &attributes, body, argument) == 0
}
