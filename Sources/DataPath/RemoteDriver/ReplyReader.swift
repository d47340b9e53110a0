// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CCallTrace
import CSystem
import Driver
import Glibc
import Transport
import Wire

/// One reply that a thread waits for, or that lands in the application's memory later.
///
/// SAFETY: written by the reading thread until `isDone`, read by the waiting thread afterwards; both under the lock.
final class PendingReply: @unchecked Sendable {
    var status: UInt32 = 0
    var payload: [UInt8] = []
    /// Where the payload goes instead: memory that the caller keeps until the reply is done.
    var target: UnsafeMutableRawBufferPointer?
    /// Whether that memory has no pages yet.
    var targetIsUntouched = false
    var isDone = false
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
    private var pending: [UInt64: PendingReply] = [:]
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

    /// What the server sends for the application's own output.
    ///
    /// Set before the first reply.
    var output: (Bool, UnsafeRawBufferPointer) -> Void = { _, _ in }
    /// Called once when the connection is lost, with the reason.
    var onFailure: (String) -> Void = { _ in }

    init(_ connection: Connection) { self.connection = connection }

    deinit { input.deallocate() }

    func register(_ sequence: UInt64, _ reply: PendingReply) {
        lock.lock()
        pending[sequence] = reply
        lock.unlock()
    }

    /// Waits for a reply.
    ///
    /// Throws when the connection is lost first.
    func wait(for reply: PendingReply) throws(CUDAError) {
        let begin = calltrace_wait_begin()
        defer { calltrace_wait_end(begin) }
        lock.lock()
        waitingThreads += 1
        while !reply.isDone && !isBroken { readOrWait { reply.isDone } }
        waitingThreads -= 1
        let isDone = reply.isDone
        if waitingThreads > 0 { changed.broadcast() }
        lock.unlock()
        guard isDone else { throw .connectionLost }
    }

    /// Waits for the next host function that is due; nil when the connection is lost.
    func nextHostFunction() -> UInt64? {
        lock.lock()
        defer { lock.unlock() }
        waitingThreads += 1
        while dueHostFunctions.isEmpty && !isBroken { readOrWait { !dueHostFunctions.isEmpty } }
        waitingThreads -= 1
        if waitingThreads > 0 { changed.broadcast() }
        return dueHostFunctions.isEmpty ? nil : dueHostFunctions.removeFirst()
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

    private func breakConnection(_ problem: String) {
        guard !isBroken else { return }
        isBroken = true
        pending.removeAll()
        changed.broadcast()
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
            lock.lock()
            let reply = pending.removeValue(forKey: header.sequence)
            lock.unlock()
            guard let reply else { return "the server answered a call that was not made" }
            if let target = reply.target, count > 0 {
                guard count <= target.count else { return "the server sent more bytes than were asked for" }
                let part = UnsafeMutableRawBufferPointer(rebasing: target[..<count])
                guard take(into: part, isUntouched: reply.targetIsUntouched) else { return lastProblem }
            } else if count > 0 {
                guard let bytes = takeArray(count) else { return lastProblem }
                reply.payload = bytes
            }
            lock.lock()
            reply.status = header.status
            reply.isDone = true
            lock.unlock()
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
