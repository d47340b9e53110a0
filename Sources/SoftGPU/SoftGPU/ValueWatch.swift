// SPDX-License-Identifier: Apache-2.0
import Glibc
import Synchronization

/// Looks at the values that streams wait for.
///
/// Anybody may write them: kernels, copies, other processes. So a thread looks again and again while a stream waits;
/// such a stream holds no thread of its own.
final class ValueWatch: Sendable {
    private struct Waiting {
        let stream: Stream
        let isOver: @Sendable () -> Bool
    }

    private struct State {
        var waiting: [Waiting] = []
        var hasThread = false
    }

    private let state = Mutex(State())
    private let scheduler: Unowned

    /// The scheduler has the watch, and lives longer.
    private struct Unowned: @unchecked Sendable { unowned let scheduler: StreamScheduler }

    /// Between two looks: at first little, then an eighth of the time waited so far, at most ``pauseMicrosecondsMax``.
    private static let pauseMicrosecondsMin: UInt64 = 10
    private static let pauseMicrosecondsMax: UInt64 = 1_000

    init(_ scheduler: StreamScheduler) { self.scheduler = Unowned(scheduler: scheduler) }

    /// Has a stream drained again when its wait is over.
    func resume(_ stream: Stream, when isOver: @escaping @Sendable () -> Bool) {
        let mustStart = state.withLock { state in
            state.waiting.append(Waiting(stream: stream, isOver: isOver))
            defer { state.hasThread = true }
            return !state.hasThread
        }
        guard mustStart else { return }
        let watch = Unmanaged.passRetained(self)
        let started = startDetachedThread(
            { watch in
                guard let watch else { return nil }
                Unmanaged<ValueWatch>.fromOpaque(watch).takeRetainedValue().work()
                return nil
            }, watch.toOpaque())
        guard !started else { return }
        // Without a thread nobody would look: the streams' own threads have to.
        watch.release()
        work()
    }

    /// Looks until nobody waits.
    private func work() {
        var lastChange = monotonicNanoseconds()
        while true {
            let (over, isLast) = state.withLock { state -> ([Stream], Bool) in
                let over = state.waiting.filter { $0.isOver() }.map(\.stream)
                if !over.isEmpty { state.waiting.removeAll { waiting in over.contains { $0 === waiting.stream } } }
                if state.waiting.isEmpty { state.hasThread = false }
                return (over, state.waiting.isEmpty)
            }
            for stream in over { scheduler.scheduler.schedule(stream) }
            if isLast { return }
            let now = monotonicNanoseconds()
            if !over.isEmpty { lastChange = now }
            let pause = (now - lastChange) / 8_000
            usleep(UInt32(min(max(pause, Self.pauseMicrosecondsMin), Self.pauseMicrosecondsMax)))
        }
    }
}
