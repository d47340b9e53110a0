// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// The heap from which kernels of one context allocate with `malloc`, CU_LIMIT_MALLOC_HEAP_SIZE bytes of device memory.
///
/// The device memory is taken when a module is loaded that uses it, so that no kernel takes what others count on. What
/// is allocated stays valid for later kernels.
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

    /// Takes the device memory, unless that has been done.
    func reserve() throws(CUDAError) {
        try state.withLock { state throws(CUDAError) in
            if state.allocation == nil { try reserve(&state) }
        }
    }

    private func reserve(_ state: inout State) throws(CUDAError) {
        state.allocation = try memory.allocate(max(state.limitBytes, Self.alignment))
        state.space = AddressSpace(0..<state.limitBytes)
    }

    /// CUDA_ERROR_INVALID_VALUE once kernels have used the heap.
    func setLimit(_ byteCount: Int) throws(CUDAError) {
        guard byteCount >= 0, byteCount <= memory.totalBytes else { throw .invalidValue }
        try state.withLock { state throws(CUDAError) in
            guard byteCount != state.limitBytes else { return }
            guard state.allocation != nil else {
                state.limitBytes = byteCount
                return
            }
            guard state.space.isUnused else { throw .invalidValue }
            let old = state.limitBytes
            state.allocation = nil
            state.limitBytes = byteCount
            do throws(CUDAError) { try reserve(&state) } catch {
                // As much as it had is there.
                state.limitBytes = old
                try reserve(&state)
                throw error
            }
        }
    }

    /// The address of fresh memory, or nil, as `malloc` in a kernel.
    func allocate(_ byteCount: UInt64) -> UInt64? {
        state.withLock { state in
            guard byteCount > 0, byteCount <= UInt64(state.limitBytes) else { return nil }
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
