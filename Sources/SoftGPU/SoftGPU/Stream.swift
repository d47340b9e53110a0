// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization
import UsageBoard

/// Work that is done one after the other.
///
/// Whoever enqueues appends to a batch under the stream's lock; a drain thread swaps the full batch for an empty one
/// and works it off without the lock. A stream without work holds no thread: neither when it is idle nor when it waits
/// for another stream. Every work has a sequence number; ``completedSequence`` says how far the stream is.
final class Stream: @unchecked Sendable {
    // SAFETY: `draining`, `next` and `isComputing` belong to whoever has the stream taken (`Queue.isTaken`), one at a
    // time.

    enum Kind: Sendable { case legacyDefault, blocking, nonBlocking }

    /// Work that may be waiting in a stream before whoever enqueues has to wait.
    ///
    /// CUDA drivers have about as many.
    static let pendingMax = 1024
    /// Bytes of kernel parameters that may be waiting, likewise.
    static let pendingParameterBytesMax = 1 << 20

    private struct Queue {
        var batch = WorkBatch()
        var submitted: UInt64 = 0
        /// Whether somebody drains the stream or is about to.
        var isTaken = false
        var threadsWaitingForRoom = 0
        /// Streams that go on when this one has come as far.
        var parked: [(stream: Stream, sequence: UInt64)] = []
    }

    let kind: Kind
    let context: UInt64
    let flags: UInt32
    let bits: UInt64
    /// Whose cores its kernels use; nil for all of the device.
    let greenContext: GreenContext?
    private let environment: KernelEnvironment
    private let scheduler: StreamScheduler
    private let queue = Monitor(Queue())
    private let submittedSequence = Atomic<UInt64>(0)
    private let completed = Atomic<UInt64>(0)
    /// Sleeping threads and parked streams; when 0, completing a work need not take the lock.
    private let watchers = Atomic<Int>(0)
    /// How far the legacy default stream has to come before this one goes on; it need not be told twice.
    let awaitedOfLegacy = Atomic<UInt64>(0)
    /// How far this stream has to come before the legacy default stream goes on.
    let awaitedByLegacy = Atomic<UInt64>(0)

    private var draining = WorkBatch()
    private var next = 0
    /// Whether the device has been told that kernels run.
    private var isComputing = false

    init(
        _ kind: Kind, bits: UInt64, context: UInt64, flags: UInt32, environment: KernelEnvironment,
        scheduler: StreamScheduler, greenContext: GreenContext? = nil
    ) {
        self.greenContext = greenContext
        self.kind = kind
        self.bits = bits
        self.context = context
        self.flags = flags
        self.environment = environment
        self.scheduler = scheduler
    }

    deinit {
        draining.deallocate()
        queue.withLock { $0.batch.deallocate() }
    }

    var completedSequence: UInt64 { completed.load(ordering: .acquiring) }

    /// Everything that has been enqueued so far.
    var position: StreamPosition {
        StreamPosition(stream: self, sequence: submittedSequence.load(ordering: .acquiring))
    }

    var isIdle: Bool { position.isReached }

    // MARK: Enqueueing

    /// Enqueues work, waiting while the stream is full.
    @discardableResult
    func submit(_ work: Work) -> StreamPosition {
        submit { $0.append(work) }
    }

    /// Enqueues a kernel and copies its parameters.
    func submit(_ function: Function, _ geometry: LaunchGeometry, _ parameters: UnsafeRawBufferPointer) {
        submit { $0.append(function, geometry, parameters) }
    }

    @discardableResult
    private func submit(_ append: (inout WorkBatch) -> Void) -> StreamPosition {
        let (sequence, mustSchedule) = queue.wait { queue -> (UInt64, Bool)? in
            guard
                queue.batch.works.count < Self.pendingMax,
                queue.batch.parameterBytesInUse < Self.pendingParameterBytesMax
            else {
                // Told once; the drain thread wakes all and sets the number back.
                queue.threadsWaitingForRoom += 1
                return nil
            }
            append(&queue.batch)
            queue.submitted += 1
            submittedSequence.store(queue.submitted, ordering: .releasing)
            defer { queue.isTaken = true }
            return (queue.submitted, !queue.isTaken)
        }
        if mustSchedule { scheduler.schedule(self) }
        return StreamPosition(stream: self, sequence: sequence)
    }

    /// Does something short at once on the calling thread if the stream has nothing to do; else returns false.
    func performIfIdle(_ body: () -> Void) -> Bool {
        guard isIdle else { return false }
        let isMine = queue.withLock { queue in
            guard !queue.isTaken, queue.batch.works.isEmpty else { return false }
            queue.isTaken = true
            queue.submitted += 1
            submittedSequence.store(queue.submitted, ordering: .releasing)
            return true
        }
        guard isMine else { return false }
        body()
        completeOne()
        let mustSchedule = queue.withLock { queue in
            queue.isTaken = !queue.batch.works.isEmpty
            return queue.isTaken
        }
        if mustSchedule { scheduler.schedule(self) }
        return true
    }

    // MARK: Draining

    /// Works the stream off until it is empty or has to wait for another stream.
    ///
    /// Only by the thread that has it taken.
    func drain() {
        while true {
            if next == draining.works.count, !refill() { return }
            while next < draining.works.count {
                if case .wait(let position) = draining.works[next], !position.isReached {
                    setComputing(false)
                    // From a successful call on the stream may already be drained by another thread.
                    if position.stream.resume(self, at: position.sequence) { return }
                }
                if case .waitForValue(let value) = draining.works[next], !isOver(value) {
                    setComputing(false)
                    return scheduler.resume(self) { [self] in isOver(value) }
                }
                // What the work held is released before anybody can see that it is done.
                perform(draining.takeWork(at: next))
                next += 1
                completeOne()
            }
        }
    }

    /// Gets the works that were enqueued meanwhile; without any, the stream is given up.
    private func refill() -> Bool {
        setComputing(false)
        draining.removeAll()
        next = 0
        let (hasWork, mustWake) = queue.withLock { queue -> (Bool, Bool) in
            guard !queue.batch.works.isEmpty else {
                queue.isTaken = false
                return (false, false)
            }
            swap(&queue.batch, &draining)
            defer { queue.threadsWaitingForRoom = 0 }
            return (true, queue.threadsWaitingForRoom > 0)
        }
        if mustWake { queue.wakeAll() }
        return hasWork
    }

    private func perform(_ work: Work) {
        switch work {
        case .kernel(let function, let geometry, let offset, let byteCount):
            guard environment.error == nil else { return }
            setComputing(true)
            environment.run(
                function, geometry, draining.parameterBlock(at: offset, byteCount: byteCount),
                budget: greenContext?.budget)
        case .task(let body):
            setComputing(false)
            if environment.error == nil { body() }
        case .housekeeping(let body):
            setComputing(false)
            body()
        case .stamp(let timestamp): timestamp.take()
        case .wait, .waitForValue, .done: break
        }
    }

    /// Whether a wait for a value is over: it is there, or its context has failed or ends.
    private func isOver(_ value: AwaitedValue) -> Bool { environment.giveUpWaits || value.isThere }

    /// Tells the device that kernels run, or no longer.
    ///
    /// Kernels that follow each other are told as one, so that few of them cost a look at the clock.
    private func setComputing(_ isComputing: Bool) {
        guard self.isComputing != isComputing else { return }
        self.isComputing = isComputing
        if isComputing { environment.usage?.begin() } else { environment.usage?.end() }
    }

    private func completeOne() {
        completed.add(1, ordering: .sequentiallyConsistent)
        guard watchers.load(ordering: .sequentiallyConsistent) > 0 else { return }
        let now = completed.load(ordering: .sequentiallyConsistent)
        let resumed = queue.withLock { queue -> [Stream] in
            let resumed = queue.parked.filter { $0.sequence <= now }.map(\.stream)
            queue.parked.removeAll { $0.sequence <= now }
            watchers.subtract(resumed.count, ordering: .sequentiallyConsistent)
            return resumed
        }
        queue.wakeAll()
        for stream in resumed { scheduler.schedule(stream) }
    }

    // MARK: Waiting

    /// Has `stream` drained again when this one has come to `sequence`; false when it has already.
    private func resume(_ stream: Stream, at sequence: UInt64) -> Bool {
        queue.withLock { queue in
            watchers.add(1, ordering: .sequentiallyConsistent)
            guard completed.load(ordering: .sequentiallyConsistent) < sequence else {
                watchers.subtract(1, ordering: .sequentiallyConsistent)
                return false
            }
            queue.parked.append((stream, sequence))
            return true
        }
    }

    /// Returns when the stream has come to `sequence`.
    func wait(for sequence: UInt64) {
        if polls(forNanoseconds: StreamScheduler.pollNanoseconds, until: { completedSequence >= sequence }) { return }
        watchers.add(1, ordering: .sequentiallyConsistent)
        queue.wait { _ in completed.load(ordering: .sequentiallyConsistent) >= sequence ? () : nil }
        watchers.subtract(1, ordering: .sequentiallyConsistent)
    }
}
