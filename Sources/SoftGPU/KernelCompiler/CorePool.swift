// SPDX-License-Identifier: Apache-2.0
import CSoftGPU
import Synchronization

/// The memory that running blocks need (shared memory, threads, frames), kept for the next launch.
final class CorePool: Sendable {
    private struct State: @unchecked Sendable {
        // SAFETY: a core is used by whoever took it; the pool itself never looks inside.
        var idle: [OpaquePointer] = []
        var made: UInt32 = 0
    }

    private let state = Mutex(State())

    func take() -> OpaquePointer? {
        state.withLock { state in
            if let core = state.idle.popLast() { return core }
            state.made += 1
            return sg_core_create(state.made - 1)
        }
    }

    func give(_ core: OpaquePointer) {
        state.withLock { $0.idle.append(core) }
    }

    deinit {
        state.withLock { state in
            for core in state.idle { sg_core_destroy(core) }
        }
    }
}
