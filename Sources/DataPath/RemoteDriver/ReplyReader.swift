// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CCallTrace
import CSystem
import Driver
import Glibc
import Synchronization
import Transport
import Wire

/// The answers to one call that a thread waits for, or that land in the application's memory later: one frame, or the
/// frames into which a copy was cut.
///
/// They are made once and used again, so that a call allocates nothing.
///
/// SAFETY: written by the reading thread until nothing is outstanding, read by the waiting thread afterwards; both
/// under the lock.
final class PendingReply: @unchecked Sendable {
    /// The first failure, or success.
    fileprivate(set) var status: UInt32 = 0
    /// The values of the reply.
    fileprivate(set) var values = Reply()
    /// Frames that are not answered yet, and one for whoever still asks.
    fileprivate var outstanding = 0
    /// Whether nobody asks any more, so that the last answer gives the object back.
    fileprivate var isLeft = false
}

/// Delivers replies.
///
/// There is no reading thread: a thread that waits reads the socket itself, one at a time, and delivers the other
/// threads' replies on the way.
///
/// SAFETY: `input` belongs to the thread that holds the reader's role; everything else is touched under `lock`.
final class ReplyReader: @unchecked Sendable {
    private let connection: Connection
    private let lock = Lock()
    private let changed = Condition()
    /// What is done with the answer to a frame.
    private struct Expected {
        let reply: PendingReply
        /// Where the payload goes instead of the reply's values: memory that the caller keeps until then.
        let target: UnsafeMutableRawBufferPointer?
        /// Whether that memory has no pages yet.
        let isUntouched: Bool
    }

    private var pending: [UInt64: Expected] = [:]
    /// Objects for calls to come.
    private var idle: [PendingReply] = []
    /// What lands without anybody waiting for it.
    let landings = PendingReply()
    /// The failure of such a landing; whoever waits next is told.
    private var landingFailure: UInt32 = 0
    private var isReading = false
    private var isBroken = false
    private var waitingThreads = 0

    /// Read at once while a header is expected: many small replies, and little of a block, which is better received
    /// straight into its place.
    private static let readBytes = 4 << 10
    private let input = UnsafeMutableRawBufferPointer.allocate(byteCount: 2 * readBytes, alignment: 64)
    private var inputStart = 0
    private var inputEnd = 0

    /// Numbers of host functions that the server wants called, in order.
    private var dueHostFunctions: [UInt64] = []
    /// Host functions that have been enqueued and have not returned; while there are any, posted calls are counted.
    ///
    /// It changes under `lock`, and is read without.
    let enqueuedHostFunctions = Atomic<Int>(0)
    private let hostFunctionEnqueued = Condition()

    /// What the server sends for the application's own output.
    ///
    /// Set before the first reply.
    var output: (Bool, UnsafeRawBufferPointer) -> Void = { _, _ in }
    /// Called once when the connection is lost, with the reason.
    var onFailure: (String) -> Void = { _ in }

    /// Room for so many answers that nobody has read is there from the beginning.
    private static let usuallyPending = 512

    init(_ connection: Connection) {
        self.connection = connection
        pending.reserveCapacity(ReplyReader.usuallyPending)
        idle.reserveCapacity(ReplyReader.usuallyPending)
    }

    deinit { input.deallocate() }

    /// Begins to ask for something.
    ///
    /// Whoever asks ends it with ``wait(for:)`` or ``leave(_:)``.
    func begin() -> PendingReply {
        lock.lock()
        defer { lock.unlock() }
        let reply = idle.popLast() ?? PendingReply()
        reply.status = 0
        reply.outstanding = 1
        reply.isLeft = false
        return reply
    }

    func register(
        _ sequence: UInt64, _ reply: PendingReply, into target: UnsafeMutableRawBufferPointer? = nil,
        isUntouched: Bool = false
    ) {
        lock.lock()
        pending[sequence] = Expected(reply: reply, target: target, isUntouched: isUntouched)
        reply.outstanding += 1
        lock.unlock()
    }

    /// Waits for everything that was asked for: the status and the values.
    ///
    /// Throws when the connection is lost first.
    func wait(for reply: PendingReply) throws(CUDAError) -> (status: CUresult, values: Reply) {
        let begin = calltrace_wait_begin()
        defer { calltrace_wait_end(begin) }
        lock.lock()
        reply.outstanding -= 1
        waitingThreads += 1
        while reply.outstanding > 0 && !isBroken { readOrWait { reply.outstanding == 0 } }
        waitingThreads -= 1
        let isDone = reply.outstanding == 0
        if isDone && reply.status == 0 {
            reply.status = landingFailure
            landingFailure = 0
        }
        let outcome = (CUresult(reply.status), reply.values)
        if isDone { recycle(reply) }
        if waitingThreads > 0 { changed.broadcast() }
        lock.unlock()
        guard isDone else { throw .connectionLost }
        return outcome
    }

    /// Lets the answers come when they come, or never.
    func leave(_ reply: PendingReply) {
        lock.lock()
        reply.isLeft = true
        settle(reply)
        lock.unlock()
    }

    /// One is no longer outstanding.
    ///
    /// Called with the lock.
    private func settle(_ reply: PendingReply) {
        reply.outstanding -= 1
        if reply.outstanding == 0 && reply.isLeft { recycle(reply) }
    }

    private func recycle(_ reply: PendingReply) {
        reply.values = Reply()
        if idle.count < ReplyReader.usuallyPending { idle.append(reply) }
    }

    /// Waits for the next host function that is due; nil when the connection is lost.
    ///
    /// It reads only while one is enqueued: a thread that waits for its own answer would else get it from this one,
    /// which takes a wake-up across cores.
    func nextHostFunction() -> UInt64? {
        lock.lock()
        defer { lock.unlock() }
        while dueHostFunctions.isEmpty && !isBroken {
            guard enqueuedHostFunctions.load(ordering: .relaxed) > 0 else {
                hostFunctionEnqueued.wait(lock)
                continue
            }
            waitingThreads += 1
            readOrWait { !dueHostFunctions.isEmpty }
            waitingThreads -= 1
            if waitingThreads > 0 { changed.broadcast() }
        }
        return dueHostFunctions.isEmpty ? nil : dueHostFunctions.removeFirst()
    }

    /// Has ``nextHostFunction()`` listen.
    ///
    /// Ends with ``hostFunctionReturned()``.
    func hostFunctionWillBeDue() {
        lock.lock()
        if enqueuedHostFunctions.add(1, ordering: .relaxed).oldValue == 0 { hostFunctionEnqueued.signal() }
        lock.unlock()
    }

    func hostFunctionReturned() {
        lock.lock()
        enqueuedHostFunctions.subtract(1, ordering: .relaxed)
        lock.unlock()
    }

    /// Takes the reader's role until `isSatisfied`, or waits for the thread that has it.
    ///
    /// Called with the lock.
    private func readOrWait(_ isSatisfied: () -> Bool) {
        guard !isReading else {
            changed.wait(lock)
            return
        }
        isReading = true
        while !isSatisfied() && !isBroken {
            lock.unlock()
            let problem = readFrame()
            lock.lock()
            if let problem { breakConnection(problem) }
            if waitingThreads > 1 { changed.broadcast() }
        }
        isReading = false
    }

    /// Reads one frame if some have come and nobody else reads; says whether it did.
    ///
    /// For a thread that cannot write because the server waits until its answers are read.
    func deliverWaiting() -> Bool {
        lock.lock()
        defer { lock.unlock() }
        guard !isReading, !isBroken, inputStart < inputEnd || connection.hasInput else { return false }
        isReading = true
        lock.unlock()
        let problem = readFrame()
        lock.lock()
        if let problem { breakConnection(problem) }
        isReading = false
        if waitingThreads > 0 { changed.broadcast() }
        return true
    }

    private func breakConnection(_ problem: String) {
        guard !isBroken else { return }
        isBroken = true
        pending.removeAll()
        changed.broadcast()
        hostFunctionEnqueued.signal()
        lock.unlock()
        onFailure(problem)
        lock.lock()
    }

    /// Reads and delivers one frame.
    ///
    /// Returns what is wrong with the connection, if anything is.
    private func readFrame() -> String? {
        guard fill(atLeast: ReplyHeader.byteCount), let base = input.baseAddress else { return lastProblem }
        let header = ReplyHeader(at: base + inputStart)
        inputStart += ReplyHeader.byteCount
        let count = Int(header.payloadByteCount)
        guard count <= Limits.replyBytesMax, let kind = ReplyHeader.Kind(rawValue: header.kind) else {
            return "the server sent a frame that is not of this protocol"
        }
        switch kind {
        case .reply:
            return deliver(header, count)
        case .output, .errorOutput:
            guard let bytes = takeArray(count) else { return lastProblem }
            bytes.withUnsafeBytes { output(kind == .errorOutput, $0) }
        case .hostFunction:
            guard count == 0 else { return "the server sent a frame that is not of this protocol" }
            lock.lock()
            dueHostFunctions.append(header.sequence)
            lock.unlock()
        }
        return nil
    }

    private func deliver(_ header: ReplyHeader, _ count: Int) -> String? {
        lock.lock()
        let expected = pending.removeValue(forKey: header.sequence)
        lock.unlock()
        guard let expected else { return "the server answered a call that was not made" }
        var values = Reply()
        if let target = expected.target {
            guard count <= target.count else { return "the server sent more bytes than were asked for" }
            let part = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
            guard take(into: part, isUntouched: expected.isUntouched) else { return lastProblem }
        } else if count <= Reply.smallBytesMax {
            guard values.fill(count, from: { take(into: $0) }) else { return lastProblem }
        } else {
            guard let bytes = takeArray(count) else { return lastProblem }
            values = Reply(bytes)
        }
        lock.lock()
        let reply = expected.reply
        if expected.target == nil { reply.values = values }
        if reply === landings {
            if landingFailure == 0 { landingFailure = header.status }
        } else {
            if reply.status == 0 { reply.status = header.status }
        }
        settle(reply)
        lock.unlock()
        return nil
    }

    private var lastProblem: String = "the server closed the connection"

    /// Makes at least so many bytes available in `input`.
    private func fill(atLeast count: Int) -> Bool {
        if inputStart == inputEnd {
            inputStart = 0
            inputEnd = 0
        } else if input.count - inputStart < count, let base = input.baseAddress {
            base.copyMemory(from: base + inputStart, byteCount: inputEnd - inputStart)
            inputEnd -= inputStart
            inputStart = 0
        }
        while inputEnd - inputStart < count {
            let room = UnsafeMutableRawBufferPointer(
                rebasing: input[inputEnd..<min(input.count, inputEnd + ReplyReader.readBytes)])
            guard received(connection.read(into: room, spins: true)) else { return false }
        }
        return true
    }

    private func received(_ count: Int) -> Bool {
        if count > 0 {
            inputEnd += count
            return true
        }
        lastProblem = count == 0 ? "the server closed the connection" : errorText(errno)
        return false
    }

    /// Moves the next bytes to their place: what is in `input` by a copy, the rest straight from the socket.
    private func take(into target: UnsafeMutableRawBufferPointer, isUntouched: Bool = false) -> Bool {
        let buffered = min(target.count, inputEnd - inputStart)
        target.copyMemory(from: UnsafeRawBufferPointer(rebasing: input[inputStart..<inputStart + buffered]))
        inputStart += buffered
        let rest = UnsafeMutableRawBufferPointer(rebasing: target[buffered...])
        guard rest.count > 0 else { return true }
        if isUntouched { csystem_populate(rest.baseAddress, rest.count) }
        if connection.readExactly(rest) { return true }
        lastProblem = errno == 0 ? "the server closed the connection" : errorText(errno)
        return false
    }

    private func takeArray(_ count: Int) -> [UInt8]? {
        var isWhole = false
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            isWhole = take(into: UnsafeMutableRawBufferPointer(start: buffer.baseAddress, count: count))
            initialized = isWhole ? count : 0
        }
        return isWhole ? bytes : nil
    }
}

extension CUDAError {
    /// What every call returns when the worker cannot be reached any more.
    static var connectionLost: Self { Self(CUDA_ERROR_DEVICE_UNAVAILABLE) }
}
