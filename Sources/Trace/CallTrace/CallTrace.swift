// SPDX-License-Identifier: Apache-2.0
package import CCallTrace
import TraceFormat

/// The exported functions of one library, by number: a line each, with the function's name and its parameters'.
package struct CallList: Sendable {
    let library: TraceFormat.Library
    private let text: StaticString

    package init(driver text: StaticString) {
        library = .driver
        self.text = text
    }

    package init(management text: StaticString) {
        library = .management
        self.text = text
    }

    /// The line of a call, without its end.
    func line(_ number: UInt16) -> UnsafeBufferPointer<UInt8> {
        let all = UnsafeBufferPointer(start: text.utf8Start, count: text.utf8CodeUnitCount)
        var start = 0
        var lines = 0
        while start < all.count {
            let end = all[start...].firstIndex(of: 0x0A) ?? all.count
            if lines == number { return UnsafeBufferPointer(rebasing: all[start..<end]) }
            lines += 1
            start = end + 1
        }
        return UnsafeBufferPointer(start: nil, count: 0)
    }
}

/// Records a call that has returned; only calls whose start has a time come here.
///
/// `arguments` runs once, on this thread, and not at all when nothing is recorded any more.
@inline(never)
package func recordCall(
    _ number: UInt16, of list: CallList, since start: calltrace_start_t, result: UInt32,
    arguments: (inout ArgumentWriter) -> Void
) {
    let now = calltrace_now()
    guard calltrace_is_on() != 0 else { return }
    let thread = calltrace_thread().pointee
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: TraceFormat.recordBytesMax) { buffer in
        guard let base = buffer.baseAddress else { return }
        var writer = ArgumentWriter(
            base, capacity: TraceFormat.recordBytesMax - CallRecord.headBytesMax, succeeded: result == 0)
        arguments(&writer)
        let record = CallRecord(
            number: number, result: result, time: start.time, durationNanoseconds: now - start.time,
            waits: thread.waits - start.waits,
            waitedNanoseconds: thread.waited_nanoseconds - start.waited_nanoseconds, thread: thread.number,
            arguments: UnsafeBufferPointer(start: base, count: writer.used), argumentCount: writer.count)
        Recorder.shared.append(record, of: list)
    }
}

/// A call that has returned, with its arguments as they stand in the file.
struct CallRecord {
    let number: UInt16
    let result: UInt32
    let time: UInt64
    let durationNanoseconds: UInt64
    let waits: UInt64
    let waitedNanoseconds: UInt64
    let thread: UInt32
    let arguments: UnsafeBufferPointer<UInt8>
    let argumentCount: UInt8

    /// A change of thread and six numbers before the arguments.
    static let headBytesMax = 90
}
