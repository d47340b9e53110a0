// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc
import Synchronization

/// Managed memory, and host memory that kernels use, where the device is in another process.
///
/// Host and device have it by turns. Before work that may use it is enqueued, what the host has changed is sent, in the
/// order of the work, and the application's access is taken away. When the application touches it again, the
/// access faults; the fault waits until the work that was enqueued is done, brings the contents, and gives the access
/// back. Memory that stays on one side costs nothing.
///
/// What this does not give: a host and a kernel that use the same memory at the same time, and system calls on memory
/// that the device has (the kernel does not fault for them but says EFAULT).
final class SharedMemory: Sendable {
    private struct State {
        /// By ascending address in the application.
        var ranges: [SharedRange] = []
        /// Those that a launch has to hand over.
        var active: [SharedRange] = []
        /// Contexts whose work may still be changing the memory, and the number of the last piece of work.
        var busy: [UInt64: UInt64] = [:]
        var lastWork: UInt64 = 0
        /// What a fault has learnt of earlier work.
        var failure: CUDAError?
        var lanes: [UInt64: Lane] = [:]
    }

    /// The stream of a context on which memory changes sides, both ways.
    ///
    /// So what is fetched is what was last sent, even while work and host functions of other threads go on. It waits
    /// for no other stream: before the host may change a block, all work that may use it is done.
    private struct Lane {
        let stream: StreamHandle
        /// Where work waits for what has been sent before it.
        let event: EventHandle
    }

    private let driver: any Driver & AnyObject
    /// Held while memory changes sides and the work that uses it is enqueued, so that it has one owner at any time.
    ///
    /// Nobody waits for the device meanwhile, except a fault.
    private let state = Mutex(State())
    private let rangeCount = Atomic(0)

    /// The one whose faults are handled: a process has one driver.
    private static let handling = Atomic<UInt>(0)

    init(_ driver: any Driver & AnyObject) { self.driver = driver }

    /// Whether launches have to go through ``whileOnDevice(_:_:)``.
    @inline(__always)
    var isUsed: Bool { rangeCount.load(ordering: .relaxed) != 0 }

    // MARK: Ranges

    /// Makes a range known from which moment on the host's accesses are watched.
    ///
    /// CUDA_ERROR_OUT_OF_MEMORY when the system cannot watch them.
    func insert(in context: ContextHandle, _ make: () -> SharedRange?) throws(CUDAError) {
        try watchFaults()
        try state.withLock { state throws(CUDAError) in
            if state.lanes[context.bits] == nil {
                let stream = try driver.cuStreamCreateWithPriority(
                    context, flags: CU_STREAM_NON_BLOCKING.rawValue, priority: 0)
                let event = try driver.cuEventCreate(context, flags: UInt32(CU_EVENT_DISABLE_TIMING.rawValue))
                state.lanes[context.bits] = Lane(stream: stream, event: event)
            }
            // Under the lock: who faults meanwhile waits, and finds it.
            guard let range = make() else { throw .outOfMemory }
            let index = state.ranges.firstIndex { $0.hostBase > range.hostBase } ?? state.ranges.count
            state.ranges.insert(range, at: index)
            if !range.isOnDevice { state.active.append(range) }
        }
        rangeCount.add(1, ordering: .relaxed)
    }

    /// Uses the range that an address lies in; nil when there is none.
    func withRange<Result: Sendable>(at address: UInt, _ body: (SharedRange) -> Result) -> Result? {
        state.withLock { state in Self.find(address, in: state).map(body) }
    }

    /// Forgets a range.
    ///
    /// Its memory stays mapped for whoever owns the addresses; `body` is called with it.
    func remove<Result: Sendable>(at hostBase: UInt, _ body: (SharedRange) -> Result) -> Result? {
        state.withLock { state in
            guard let index = state.ranges.firstIndex(where: { $0.hostBase == hostBase }) else { return nil }
            let range = state.ranges.remove(at: index)
            state.active.removeAll { $0 === range }
            rangeCount.subtract(1, ordering: .relaxed)
            return body(range)
        }
    }

    /// Forgets what belonged to a context that ends.
    func removeAll(ofContext bits: UInt64) {
        state.withLock { state in
            let ended = state.ranges.filter { $0.contextBits == bits }
            state.ranges.removeAll { $0.contextBits == bits }
            state.active.removeAll { $0.contextBits == bits }
            rangeCount.subtract(ended.count, ordering: .relaxed)
            for context in Set(ended.map(\.context.bits)) {
                state.lanes[context] = nil
                state.busy[context] = nil
            }
        }
    }

    // MARK: Changing sides

    /// Enqueues work that may use any of the memory.
    func whileOnDevice(
        _ stream: StreamTarget, _ enqueue: () throws(CUDAError) -> Void
    ) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            var sent: Set<ContextHandle> = []
            for range in state.active where try handOver(range, range.hostBase..<range.hostEnd, state) {
                sent.insert(range.context)
            }
            state.active.removeAll(keepingCapacity: true)
            try wait(stream, for: sent, state)
            try enqueue()
            Self.remember(stream, in: &state)
        }
    }

    /// Enqueues work that uses only these parts, given by the application's addresses.
    func whileOnDevice(
        _ parts: [Range<UInt>], _ stream: StreamTarget, _ enqueue: () throws(CUDAError) -> Void
    ) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            var sent: Set<ContextHandle> = []
            for part in parts {
                var next = part.lowerBound
                while next < part.upperBound, let range = Self.find(next, in: state) {
                    let isSent = try handOver(range, next..<min(part.upperBound, range.hostEnd), state)
                    if isSent { sent.insert(range.context) }
                    next = range.hostEnd
                }
            }
            state.active.removeAll { $0.isOnDevice }
            try wait(stream, for: sent, state)
            try enqueue()
            Self.remember(stream, in: &state)
        }
    }

    /// Forgets the contents of a part, given by the application's addresses: neither side has to fetch or send them.
    func discard(_ part: Range<UInt>) {
        state.withLock { state in
            guard let range = Self.find(part.lowerBound, in: state) else { return }
            let wasOnDevice = range.isOnDevice
            range.discard(part)
            if wasOnDevice, !range.isOnDevice { state.active.append(range) }
        }
    }

    /// Sends what the host has changed, outside of all streams, and returns when the device has it.
    ///
    /// A failure is kept for the next call that may return it.
    func handOverAll() {
        let sent = state.withLock { state in
            var sent: [ContextHandle: StreamHandle] = [:]
            for range in state.active {
                do throws(CUDAError) {
                    let isSent = try handOver(range, range.hostBase..<range.hostEnd, state)
                    if isSent { sent[range.context] = state.lanes[range.context.bits]?.stream }
                } catch {
                    if state.failure == nil { state.failure = error }
                }
            }
            state.active.removeAll { $0.isOnDevice }
            return sent
        }
        for (context, stream) in sent {
            do throws(CUDAError) {
                try driver.cuStreamSynchronize(context, hStream: stream)
            } catch {
                state.withLock { if $0.failure == nil { $0.failure = error } }
            }
        }
    }

    /// Whether something had to be sent.
    private func handOver(
        _ range: SharedRange, _ part: Range<UInt>, _ state: State
    ) throws(CUDAError) -> Bool {
        guard let lane = state.lanes[range.context.bits] else { throw .contextIsDestroyed }
        var isSent = false
        try range.handOver(part) { target, bytes throws(CUDAError) in
            isSent = true
            try driver.cuMemcpyHtoDAsync_v2(
                range.context, dstDevice: target, srcHost: bytes.bytes, hStream: lane.stream)
        }
        return isSent
    }

    /// Has work that will be enqueued wait for what has been sent.
    private func wait(
        _ stream: StreamTarget, for contexts: Set<ContextHandle>, _ state: State
    ) throws(CUDAError) {
        for context in contexts {
            guard let lane = state.lanes[context.bits] else { continue }
            try driver.cuEventRecordWithFlags(context, hEvent: lane.event, hStream: lane.stream, flags: 0)
            try driver.cuStreamWaitEvent(stream.context, hStream: stream.stream, hEvent: lane.event, flags: 0)
        }
    }

    private static func remember(_ stream: StreamTarget, in state: inout State) {
        state.lastWork += 1
        state.busy[stream.context.bits] = state.lastWork
    }

    // MARK: Faults

    private func watchFaults() throws(CUDAError) {
        let own = UInt(bitPattern: Unmanaged.passUnretained(self).toOpaque())
        let (isFirst, _) = SharedMemory.handling.compareExchange(
            expected: 0, desired: own, ordering: .acquiringAndReleasing)
        guard isFirst else { return }
        // Lives as long as the process: a fault may come at any time.
        _ = Unmanaged.passRetained(self)
        let result = csystem_catch_faults { address, isWrite in
            guard let pointer = UnsafeRawPointer(bitPattern: SharedMemory.handling.load(ordering: .acquiring)) else {
                return false
            }
            return Unmanaged<SharedMemory>.fromOpaque(pointer)._withUnsafeGuaranteedRef { shared in
                shared.handleFault(at: address, isWrite: isWrite)
            }
        }
        guard result == 0 else { throw .outOfMemory }
    }

    /// Runs in the signal's handler, on the thread that touched the memory, which holds no lock of this library.
    private func handleFault(at address: UInt, isWrite: Bool) -> Bool {
        guard let isOnDevice = withRange(at: address, { $0.isOnDevice(address) }) else { return false }
        if isOnDevice { waitForDevice() }
        return state.withLock { state in
            guard let range = Self.find(address, in: state) else { return false }
            let wasOnDevice = range.isOnDevice
            do throws(CUDAError) {
                try range.touch(address, isWrite: isWrite) { source, target throws(CUDAError) in
                    guard let lane = state.lanes[range.context.bits] else { throw .contextIsDestroyed }
                    try driver.cuMemcpyDtoH_v2(range.context, dstHost: target, srcDevice: source, stream: lane.stream)
                }
            } catch  where error.isSticky {
                // The context is past help, and every call says so; what the host had last is all there is.
                let isTouched = (try? range.touch(address, isWrite: isWrite) { _, _ in }) != nil
                guard isTouched else { return false }
            } catch {
                // As of a page that cannot be read any more: there is nobody to return the error to.
                let name = ErrorText(error.code).map { "\($0.name)" } ?? "error \(error.code.rawValue)"
                reportFailure("the contents of the memory at 0x\(String(address, radix: 16)) are lost: \(name)")
                return false
            }
            if wasOnDevice { state.active.append(range) }
            return true
        }
    }

    /// Waits until the work that was enqueued so far has changed what it changes.
    ///
    /// A host function runs in the middle of its stream, which goes on only when it returns: what came before is done.
    private func waitForDevice() {
        if ThreadState.current.pointee.isInHostFunction { return }
        // Not under the lock: the work may wait for a host function that touches the memory too.
        for (context, work) in state.withLock({ $0.busy }) {
            var failure: CUDAError?
            do throws(CUDAError) { try driver.cuCtxSynchronize(ContextHandle(bits: context)) } catch { failure = error }
            state.withLock { state in
                if state.busy[context] == work { state.busy[context] = nil }
                // It belongs to a call of the application.
                if state.failure == nil { state.failure = failure }
            }
        }
    }

    /// The failure of earlier work that a fault has learnt, for the next call that may return it.
    func takeFailure() -> CUDAError? {
        state.withLock { state in
            defer { state.failure = nil }
            return state.failure
        }
    }

    private static func find(_ address: UInt, in state: State) -> SharedRange? {
        var low = 0
        var high = state.ranges.count
        while low < high {
            let middle = (low + high) / 2
            if state.ranges[middle].hostEnd > address { high = middle } else { low = middle + 1 }
        }
        guard low < state.ranges.count, state.ranges[low].hostBase <= address else { return nil }
        return state.ranges[low]
    }
}
