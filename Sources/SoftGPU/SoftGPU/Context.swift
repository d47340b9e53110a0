// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A context: streams and memory that live and fail together.
final class Context: Sendable {
    let bits: UInt64
    let device: Device
    let environment: KernelEnvironment
    let legacyStream: Stream
    private let scheduler: StreamScheduler
    private let state = Mutex(State())
    /// How many streams the legacy default stream must look at.
    private let blockingStreamCount = Atomic<Int>(0)

    private struct State {
        /// All streams but the legacy one; ended ones until their work is done.
        var streams: [Stream] = []
        /// What all later work waits for, also that of streams which are yet to be made.
        var awaited: [Work] = []
        var peers: Set<UInt64> = []
        var limits: [UInt32: Int] = [
            CU_LIMIT_STACK_SIZE.rawValue: 1024, CU_LIMIT_DEV_RUNTIME_SYNC_DEPTH.rawValue: 2,
            CU_LIMIT_DEV_RUNTIME_PENDING_LAUNCH_COUNT.rawValue: 2048,
            CU_LIMIT_MAX_L2_FETCH_GRANULARITY.rawValue: 64, CU_LIMIT_PERSISTING_L2_CACHE_SIZE.rawValue: 0,
        ]
    }

    init(bits: UInt64, device: Device, scheduler: StreamScheduler) {
        self.bits = bits
        self.device = device
        self.scheduler = scheduler
        environment = KernelEnvironment(device)
        legacyStream = Stream(
            .legacyDefault, bits: 0, context: bits, flags: 0, environment: environment, scheduler: scheduler)
    }

    /// Throws what a kernel of this context has failed with.
    func checkHealth() throws(CUDAError) {
        if let error = environment.error { throw error }
    }

    // MARK: Streams

    func makeStream(bits: UInt64, flags: UInt32, greenContext: GreenContext? = nil) -> Stream {
        let kind: Stream.Kind = flags & CU_STREAM_NON_BLOCKING.rawValue == 0 ? .blocking : .nonBlocking
        let stream = Stream(
            kind, bits: bits, context: self.bits, flags: flags, environment: environment, scheduler: scheduler,
            greenContext: greenContext)
        let awaited = state.withLock { state in
            state.streams.append(stream)
            return state.awaited + (greenContext?.awaited ?? [])
        }
        for work in awaited { stream.submit(work) }
        if kind == .blocking { blockingStreamCount.add(1, ordering: .relaxed) }
        return stream
    }

    /// Forgets an ended stream once its work is done; until then the context waits for it as for any other.
    func retire(_ stream: Stream) {
        stream.submit(
            .housekeeping { [weak self, weak stream] in
                guard let self, let stream else { return }
                let isKnown = state.withLock { state in
                    let count = state.streams.count
                    state.streams.removeAll { $0 === stream }
                    return state.streams.count < count
                }
                if isKnown, stream.kind == .blocking { blockingStreamCount.subtract(1, ordering: .relaxed) }
            })
    }

    /// Does short work at once if the stream has nothing to do, else enqueues it.
    func perform(_ stream: Stream, _ work: @escaping @Sendable () -> Void) {
        if !keepOrder(stream), stream.performIfIdle(work) { return }
        stream.submit(.task(work))
    }

    /// Enqueues work behind everything that must come before it.
    @discardableResult
    func enqueue(_ stream: Stream, _ work: Work) -> StreamPosition {
        keepOrder(stream)
        return stream.submit(work)
    }

    /// Makes the legacy default stream wait for the blocking streams, and those for it; returns whether it has to.
    @discardableResult
    func keepOrder(_ stream: Stream) -> Bool {
        switch stream.kind {
        case .nonBlocking: return false
        case .blocking:
            let position = legacyStream.position
            guard !position.isReached else { return false }
            let awaited = stream.awaitedOfLegacy.exchange(position.sequence, ordering: .acquiringAndReleasing)
            if awaited != position.sequence { stream.submit(.wait(position)) }
            return true
        case .legacyDefault:
            guard blockingStreamCount.load(ordering: .relaxed) > 0 else { return false }
            var mustWait = false
            for other in state.withLock({ $0.streams }) where other.kind == .blocking && !other.isIdle {
                let position = other.position
                let awaited = other.awaitedByLegacy.exchange(position.sequence, ordering: .acquiringAndReleasing)
                if awaited != position.sequence { stream.submit(.wait(position)) }
                mustWait = true
            }
            return mustWait
        }
    }

    /// Returns when everything that has been enqueued is done.
    ///
    /// The result of it is in ``checkHealth()``.
    func waitForAll() {
        for stream in state.withLock({ $0.streams }) + [legacyStream] { stream.wait(for: stream.position.sequence) }
        noteSynchronization()
    }

    /// What a synchronisation with a stream waits for.
    ///
    /// The legacy default stream includes all blocking streams.
    func everythingBefore(_ stream: Stream) -> StreamPosition {
        if stream.kind == .legacyDefault { keepOrder(stream) }
        return stream.position
    }

    /// The context has ended: its streams go with their handles.
    func clear() { state.withLock { $0.streams.removeAll() } }

    func wait(for position: StreamPosition) {
        position.stream.wait(for: position.sequence)
        noteSynchronization()
    }

    /// The application has waited: what kernels printed is printed, and pools give back what they need not keep.
    func noteSynchronization() {
        environment.output.flush()
        device.noteSynchronization()
    }

    // MARK: All streams at once

    /// The streams of a green context, or all.
    func streams(of greenContext: GreenContext?) -> [Stream] {
        let streams = state.withLock { $0.streams }
        guard let greenContext else { return streams + [legacyStream] }
        return streams.filter { $0.greenContext === greenContext }
    }

    /// A stream that no handle names, for an event that waits for several streams.
    func makeGatherer() -> Stream {
        Stream(.nonBlocking, bits: 0, context: bits, flags: 0, environment: environment, scheduler: scheduler)
    }

    /// Makes all later work wait: of a green context, or of the context with its green contexts.
    func wait(for work: Work, of greenContext: GreenContext?) {
        if let greenContext {
            greenContext.wait(for: work)
        } else {
            state.withLock { state in
                state.awaited.removeAll(where: \.isReachedWait)
                state.awaited.append(work)
            }
        }
        for stream in streams(of: greenContext) { stream.submit(work) }
    }

    // MARK: Limits and peers

    func limit(_ limit: UInt32) throws(CUDAError) -> Int {
        switch CUlimit(limit) {
        case CU_LIMIT_MALLOC_HEAP_SIZE: return environment.heap.limitBytes
        case CU_LIMIT_PRINTF_FIFO_SIZE: return environment.output.limitBytes
        default:
            guard let value = state.withLock({ $0.limits[limit] }) else { throw Self.unknownLimit(limit) }
            return value
        }
    }

    func setLimit(_ limit: UInt32, _ value: Int) throws(CUDAError) {
        guard value >= 0 else { throw .invalidValue }
        switch CUlimit(limit) {
        case CU_LIMIT_MALLOC_HEAP_SIZE: try environment.heap.setLimit(value)
        case CU_LIMIT_PRINTF_FIFO_SIZE: environment.output.limitBytes = min(value, Self.printfBytesMax)
        case CU_LIMIT_STACK_SIZE where value > Self.stackBytesMax: throw .invalidValue
        case CU_LIMIT_PERSISTING_L2_CACHE_SIZE: throw CUDAError(CUDA_ERROR_UNSUPPORTED_LIMIT)
        default:
            let isKnown = state.withLock { state in
                guard state.limits[limit] != nil else { return false }
                state.limits[limit] = value
                return true
            }
            guard isKnown else { throw Self.unknownLimit(limit) }
        }
    }

    /// The stack of a thread on compute capability 7.5, CUDA programming guide, technical specifications.
    private static let stackBytesMax = 512 << 10
    private static let printfBytesMax = 1 << 30

    private static func unknownLimit(_ limit: UInt32) -> CUDAError {
        limit < CU_LIMIT_MAX.rawValue ? CUDAError(CUDA_ERROR_UNSUPPORTED_LIMIT) : .invalidValue
    }

    /// Says whether the access was not enabled before.
    func enablePeer(_ peer: UInt64) -> Bool { state.withLock { $0.peers.insert(peer).inserted } }
    func disablePeer(_ peer: UInt64) -> Bool { state.withLock { $0.peers.remove(peer) != nil } }
}
