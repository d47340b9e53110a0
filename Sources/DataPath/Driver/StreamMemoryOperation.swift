// SPDX-License-Identifier: Apache-2.0
package import CCUDA

/// One operation on a value in memory, in the order of a stream.
package struct StreamMemoryOperation: Sendable, Equatable {
    /// The kinds, numbered as CUstreamBatchMemOpType.
    package enum Kind: UInt32, Sendable {
        case wait32 = 1
        case write32 = 2
        case flushRemoteWrites = 3
        case wait64 = 4
        case write64 = 5
        case barrier = 6
    }

    /// How many operations one call may have, as CUDA documents it.
    package static let countMax = 256

    package var kind: Kind
    package var address: CUdeviceptr
    package var value: UInt64
    /// CUstreamWaitValue_flags or CUstreamWriteValue_flags.
    package var flags: UInt32

    package init(_ kind: Kind, address: CUdeviceptr = 0, value: UInt64 = 0, flags: UInt32 = 0) {
        self.kind = kind
        self.address = address
        self.value = value
        self.flags = flags
    }

    /// How many bytes it touches; 0 for operations without an address.
    package var byteCount: Int {
        switch kind {
        case .wait32, .write32: 4
        case .wait64, .write64: 8
        case .flushRemoteWrites, .barrier: 0
        }
    }

    package var isWait: Bool { kind == .wait32 || kind == .wait64 }
    package var isWrite: Bool { kind == .write32 || kind == .write64 }

    /// Throws CUDA_ERROR_INVALID_VALUE for flags that its kind does not have, or an address that its size does not
    /// divide.
    package func check() throws(CUDAError) {
        let known: UInt32
        switch kind {
        case .wait32, .wait64: known = CU_STREAM_WAIT_VALUE_NOR.rawValue | CU_STREAM_WAIT_VALUE_FLUSH.rawValue
        case .write32, .write64: known = CU_STREAM_WRITE_VALUE_NO_MEMORY_BARRIER.rawValue
        // CU_STREAM_MEMORY_BARRIER_TYPE_GPU, which is 1, asks for less than the whole system.
        case .barrier: known = 1
        case .flushRemoteWrites: known = 0
        }
        guard flags & ~known == 0, byteCount == 0 || address != 0 && address % CUdeviceptr(byteCount) == 0 else {
            throw .invalidValue
        }
    }
}
