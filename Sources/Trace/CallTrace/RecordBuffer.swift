// SPDX-License-Identifier: Apache-2.0
import Glibc
import TraceFormat

/// One block that is being filled.
///
/// Everything is called with `lock`, which its owner takes.
final class RecordBuffer: @unchecked Sendable {
    let lock = RecorderLock()

    /// Allocated at the first record: most programs have few threads.
    private var bytes: UnsafeMutablePointer<UInt8>?
    private var used = 0
    private var baseNanoseconds: UInt64 = 0
    private var thread: UInt32 = 0
    private var library = TraceFormat.Library.driver
    /// The calls whose names this buffer has written.
    private var defined = [UInt64](repeating: 0, count: TraceFormat.callsMax / 64)

    /// Whether the longest record fits, with a definition before it.
    var hasRoom: Bool {
        used + TraceFormat.recordBytesMax + TraceFormat.definitionBytesMax <= TraceFormat.blockBytesMax
    }

    func append(_ record: CallRecord, of list: CallList) {
        guard let bytes = bytes ?? allocate() else { return }
        if used == 0 {
            baseNanoseconds = record.time
            library = list.library
            thread = 0
        }
        if !isDefined(record.number) { define(record.number, of: list, in: bytes) }
        if thread != record.thread {
            put(TraceFormat.threadChange, in: bytes)
            put(UInt64(record.thread), in: bytes)
            thread = record.thread
        }
        put(TraceFormat.firstCall + UInt64(record.number), in: bytes)
        put(UInt64(record.result), in: bytes)
        put(zigzag(Int64(bitPattern: record.time &- baseNanoseconds)), in: bytes)
        put(record.durationNanoseconds, in: bytes)
        put(record.waits, in: bytes)
        if record.waits > 0 { put(record.waitedNanoseconds, in: bytes) }
        put(UInt64(record.argumentCount), in: bytes)
        put(record.arguments, in: bytes)
    }

    /// Writes the block out, if there is any.
    func flush(to file: TraceFile) {
        guard used > 0, let bytes else { return }
        let header = TraceBlockHeader(
            payloadByteCount: UInt32(used), baseNanoseconds: baseNanoseconds, processID: UInt32(getpid()),
            library: library)
        file.write(header, UnsafeRawBufferPointer(start: bytes, count: used))
        used = 0
    }

    /// Empties the buffer of a forked child: what was in it is the parent's.
    func forget() {
        used = 0
        for index in defined.indices { defined[index] = 0 }
    }

    private func allocate() -> UnsafeMutablePointer<UInt8>? {
        bytes = UnsafeMutablePointer<UInt8>.allocate(capacity: TraceFormat.blockBytesMax)
        return bytes
    }

    private func isDefined(_ number: UInt16) -> Bool { defined[Int(number) / 64] >> (number % 64) & 1 == 1 }

    private func define(_ number: UInt16, of list: CallList, in bytes: UnsafeMutablePointer<UInt8>) {
        let line = list.line(number)
        put(TraceFormat.definition, in: bytes)
        put(UInt64(number), in: bytes)
        let name = UnsafeBufferPointer(rebasing: line.prefix(TraceFormat.definitionBytesMax - 32))
        put(UInt64(name.count), in: bytes)
        put(name, in: bytes)
        defined[Int(number) / 64] |= 1 << (number % 64)
    }

    private func put(_ value: UInt64, in bytes: UnsafeMutablePointer<UInt8>) {
        used += store(value, at: bytes + used)
    }

    private func put(_ block: UnsafeBufferPointer<UInt8>, in bytes: UnsafeMutablePointer<UInt8>) {
        guard let start = block.baseAddress else { return }
        (bytes + used).update(from: start, count: block.count)
        used += block.count
    }
}
