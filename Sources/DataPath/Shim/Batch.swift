// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// What the functions that take a batch of operations have in common.
enum Batch {
    /// What an index of a failure is when no operation of the batch has failed: SIZE_MAX.
    static var noIndex: Int { -1 }

    /// The entry that holds for each operation: entry k from the operation `firsts[k]` on, up to that of the next.
    ///
    /// CUDA_ERROR_INVALID_VALUE where the first one is not 0 or they do not ascend.
    static func spread<Entry>(
        _ entries: UnsafeMutablePointer<Entry>?, _ firsts: UnsafeMutablePointer<Int>?, _ entryCount: Int,
        over count: Int
    ) throws(CUDAError) -> [Entry] {
        guard let entries, let firsts, count > 0, entryCount > 0, entryCount <= count, firsts[0] == 0 else {
            throw .invalidValue
        }
        var spread: [Entry] = []
        spread.reserveCapacity(count)
        for index in 0..<entryCount {
            let end = index + 1 < entryCount ? firsts[index + 1] : count
            guard end > spread.count, end <= count else { throw .invalidValue }
            while spread.count < end { spread.append(entries[index]) }
        }
        return spread
    }
}

extension Shim {
    /// The stream of a batch, which must not be the legacy default stream.
    func batchTarget(_ hStream: OpaquePointer?, _ defaultStream: DefaultStream) throws(CUDAError) -> StreamTarget {
        guard bits(hStream) != Self.legacyStreamBits, hStream != nil || defaultStream == .perThread else {
            throw .invalidValue
        }
        return try workTarget(hStream, defaultStream)
    }
}
