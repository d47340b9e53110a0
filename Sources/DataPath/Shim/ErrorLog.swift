// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc
import Synchronization

/// The failures that calls have returned, as lines of text: what CUDA calls error log management.
///
/// The latest lines are kept; who registered a callback is told each one, and CUDA_LOG_FILE has them written as they
/// come. Calls that succeed never come here.
final class ErrorLog: Sendable {
    struct Entry: Sendable {
        let level: CUlogLevel
        /// Without time, thread and newline; what callbacks get.
        let message: String
        /// As it is dumped, ended by a newline.
        let line: [UInt8]
    }

    struct Callback: Sendable {
        // SAFETY: the application promises that both stay valid until it unregisters them.
        nonisolated(unsafe) let function: CUlogsCallback
        nonisolated(unsafe) let data: UnsafeMutableRawPointer?
    }

    private struct State {
        /// Oldest first; the number of the first is `first`.
        var entries: [Entry] = []
        var first: UInt32 = 0
        var byteCount = 0
        var callbacks: [(number: UInt, callback: Callback)] = []
        var lastCallback: UInt = 0
        /// Where CUDA_LOG_FILE wants lines to go; -1 without it.
        var descriptor: Int32?
    }

    private let state = Mutex(State())

    static let shared = ErrorLog()

    /// As much as CUDA keeps, by its documentation of cuLogsDumpToMemory.
    static let bytesMax = 25_600
    /// A message is cut to this, as in CUDA's debugger interface.
    static let messageBytesMax = 256
    /// Callbacks of one process; more are a loop that forgets to unregister.
    private static let callbacksMax = 1024

    // MARK: Adding

    /// Adds a message of the calling thread and tells the callbacks.
    func add(_ message: String, level: CUlogLevel = CU_LOG_LEVEL_ERROR) {
        let message = String(decoding: message.utf8.prefix(Self.messageBytesMax), as: UTF8.self)
        let entry = Entry(level: level, message: message, line: Array("\(Self.prefix(level)) \(message)\n".utf8))
        let (callbacks, descriptor) = state.withLock { state in
            state.entries.append(entry)
            state.byteCount += entry.line.count
            while state.byteCount > Self.bytesMax {
                state.byteCount -= state.entries.removeFirst().line.count
                state.first &+= 1
            }
            if state.descriptor == nil { state.descriptor = Self.openFile() }
            return (state.callbacks.map(\.callback), state.descriptor ?? -1)
        }
        if descriptor >= 0 { Self.write(entry.line, to: descriptor) }
        let thread = ThreadState.current
        // What a callback's own calls fail with is kept, but not told, or it would never end.
        guard !callbacks.isEmpty, !thread.pointee.isInLogCallback else { return }
        thread.pointee.isInLogCallback = true
        defer { thread.pointee.isInLogCallback = false }
        for callback in callbacks { tell(callback, entry) }
    }

    private func tell(_ callback: Callback, _ entry: Entry) {
        var text = Array(entry.message.utf8CString)
        text.withUnsafeMutableBufferPointer { buffer in
            callback.function(callback.data, entry.level, buffer.baseAddress, buffer.count - 1)
        }
    }

    /// `[22:21:32.099][25642][CUDA][E]`: local time, thread, source and severity.
    private static func prefix(_ level: CUlogLevel) -> String {
        var now = timespec()
        clock_gettime(CLOCK_REALTIME, &now)
        var parts = tm()
        localtime_r(&now.tv_sec, &parts)
        func digits(_ value: Int, _ count: Int) -> String {
            let text = String(value)
            return String(repeating: "0", count: max(0, count - text.utf8.count)) + text
        }
        let clock = [parts.tm_hour, parts.tm_min, parts.tm_sec].map { digits(Int($0), 2) }.joined(separator: ":")
        let severity = level == CU_LOG_LEVEL_ERROR ? "E" : "W"
        return "[\(clock).\(digits(now.tv_nsec / 1_000_000, 3))][\(csystem_thread_id())][CUDA][\(severity)]"
    }

    private static func openFile() -> Int32 {
        guard let name = getenv("CUDA_LOG_FILE"), name.pointee != 0 else { return -1 }
        switch String(cString: name) {
        case "stdout": return STDOUT_FILENO
        case "stderr": return STDERR_FILENO
        default: return open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o666)
        }
    }

    static func write(_ bytes: [UInt8], to descriptor: Int32) {
        bytes.withUnsafeBytes { bytes in
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = Glibc.write(descriptor, UnsafeRawBufferPointer(rebasing: rest).baseAddress, rest.count)
                if count < 0 && errno == EINTR { continue }
                guard count > 0 else { return }
                rest = rest.dropFirst(count)
            }
        }
    }

    // MARK: Reading

    /// The number of the next message.
    var end: UInt32 { state.withLock { $0.first &+ UInt32($0.entries.count) } }

    /// The lines from a message on, or all; whether older ones are lost; and the number of the next message.
    func lines(from start: UInt32?) -> (lines: [[UInt8]], isTruncated: Bool, end: UInt32) {
        state.withLock { state in
            let end = state.first &+ UInt32(state.entries.count)
            guard let start else { return (state.entries.map(\.line), state.first > 0, end) }
            guard start >= state.first else { return (state.entries.map(\.line), true, end) }
            return (state.entries.dropFirst(Int(start - state.first)).map(\.line), false, end)
        }
    }

    // MARK: Callbacks

    /// Registers a callback and returns its number, which is never 0.
    func register(_ callback: Callback) throws(CUDAError) -> UInt {
        try state.withLock { state throws(CUDAError) in
            guard state.callbacks.count < Self.callbacksMax else { throw .outOfMemory }
            state.lastCallback += 1
            state.callbacks.append((state.lastCallback, callback))
            return state.lastCallback
        }
    }

    func unregister(_ number: UInt) throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            guard let index = state.callbacks.firstIndex(where: { $0.number == number }) else { throw .invalidValue }
            state.callbacks.remove(at: index)
        }
    }
}
