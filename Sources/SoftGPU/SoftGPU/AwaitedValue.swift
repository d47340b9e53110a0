// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A value in memory that a stream waits for, with the memory in which it is.
struct AwaitedValue: Sendable {
    let wait: StreamMemoryOperation
    /// What must live until the wait is over.
    let memory: any Sendable & AnyObject

    /// Whether the memory has the value now, as CUstreamWaitValue_flags say it.
    var isThere: Bool {
        let place = pointer(wait.address)
        // SAFETY: the memory is held, and the address is a multiple of the size.
        switch wait.kind {
        case .wait32:
            let word = place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.load(ordering: .acquiring)
            return isReached(word, UInt32(truncatingIfNeeded: wait.value)) {
                Int32(truncatingIfNeeded: $0 &- $1) >= 0
            }
        case .wait64:
            let word = place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.load(ordering: .acquiring)
            return isReached(word, wait.value) { Int64(truncatingIfNeeded: $0 &- $1) >= 0 }
        case .write32, .write64, .barrier, .flushRemoteWrites: return true
        }
    }

    /// Compares a word; `isAtLeast` is cyclic, so that counters may wrap.
    private func isReached<Word: FixedWidthInteger>(
        _ word: Word, _ value: Word, _ isAtLeast: (Word, Word) -> Bool
    ) -> Bool {
        switch CUstreamWaitValue_flags(wait.flags & CU_STREAM_WAIT_VALUE_NOR.rawValue) {
        case CU_STREAM_WAIT_VALUE_EQ: word == value
        case CU_STREAM_WAIT_VALUE_AND: word & value != 0
        case CU_STREAM_WAIT_VALUE_NOR: ~(word | value) != 0
        default: isAtLeast(word, value)
        }
    }
}

/// Writes a value as one store, after everything that was done before.
func write(_ write: StreamMemoryOperation) {
    let place = pointer(write.address)
    // SAFETY: the caller holds the memory, and the address is a multiple of the size.
    if write.kind == .write32 {
        place.assumingMemoryBound(to: Atomic<UInt32>.self).pointee.store(
            UInt32(truncatingIfNeeded: write.value), ordering: .releasing)
    } else {
        place.assumingMemoryBound(to: Atomic<UInt64>.self).pointee.store(write.value, ordering: .releasing)
    }
}
