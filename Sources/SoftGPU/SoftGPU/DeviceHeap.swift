// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// The heap from which kernels of one context allocate with `malloc`, CU_LIMIT_MALLOC_HEAP_SIZE bytes of device memory.
///
/// The device memory is taken when a kernel first asks for some. What is allocated stays valid for later kernels.
final class DeviceHeap: Sendable {
    static let defaultBytes = 8 << 20
    static let alignment = 16

    private struct State {
        var limitBytes = DeviceHeap.defaultBytes
        var allocation: Allocation?
        var space = AddressSpace(0..<0)
    }

    private let memory: DeviceMemory
    private let state = Mutex(State())

    init(memory: DeviceMemory) { self.memory = memory }

    var limitBytes: Int { state.withLock { $0.limitBytes } }

    /// CUDA_ERROR_INVALID_VALUE once kernels have used the heap.
    func setLimit(_ byteCount: Int) throws(CUDAError) {
        guard byteCount >= 0, byteCount <= memory.totalBytes else { throw .invalidValue }
        let isSet = state.withLock { state in
            guard state.allocation == nil || byteCount == state.limitBytes else { return false }
            state.limitBytes = byteCount
            return true
        }
        guard isSet else { throw .invalidValue }
    }

    /// The address of fresh memory, or nil, as `malloc` in a kernel.
    func allocate(_ byteCount: UInt64) -> UInt64? {
        state.withLock { state in
            guard byteCount > 0, byteCount <= UInt64(state.limitBytes) else { return nil }
            if state.allocation == nil {
                guard let allocation = try? memory.allocate(max(state.limitBytes, Self.alignment)) else { return nil }
                state.allocation = allocation
                state.space = AddressSpace(0..<state.limitBytes)
            }
            let rounded = (Int(byteCount) + Self.alignment - 1) / Self.alignment * Self.alignment
            guard let base = state.allocation?.address,
                let offset = state.space.take(rounded, alignment: Self.alignment)
            else { return nil }
            return base + UInt64(offset)
        }
    }

    /// Takes memory back.
    ///
    /// An address that the heap did not give is ignored.
    func release(_ address: UInt64) {
        state.withLock { state in
            guard let base = state.allocation?.address, address >= base, address - base < UInt64(state.limitBytes)
            else { return }
            _ = state.space.giveBack(Int(address - base))
        }
    }
}
