// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization
import UsageBoard

/// One software GPU.
final class Device: Sendable {
    let ordinal: Int
    let profile: DeviceProfile
    let memory: DeviceMemory
    let defaultPool: MemoryPool
    /// Where it is told what this process does on the device.
    let usage: DeviceUsage?
    let primary = Mutex(PrimaryContext())
    private let pools = Mutex<[MemoryPool]>([])

    /// The primary context and how often it was asked for.
    struct PrimaryContext {
        var context: Context?
        var retainCount = 0
        var flags: UInt32 = 0
    }

    init(
        ordinal: Int, profile: DeviceProfile, memory: DeviceMemory, defaultPool: MemoryPool, usage: DeviceUsage? = nil
    ) {
        self.ordinal = ordinal
        self.profile = profile
        self.memory = memory
        self.defaultPool = defaultPool
        self.usage = usage
    }

    func add(_ pool: MemoryPool) { pools.withLock { $0.append(pool) } }
    func remove(_ pool: MemoryPool) { pools.withLock { pools in pools.removeAll { $0 === pool } } }

    private var allPools: [MemoryPool] { pools.withLock { $0 } + [defaultPool] }

    /// Allocates, if need be from what pools keep.
    func allocate(_ byteCount: Int) throws(CUDAError) -> Allocation {
        do {
            return try memory.allocate(byteCount)
        } catch let error {
            guard error == .outOfMemory, byteCount <= memory.totalBytes else { throw error }
            for pool in allPools { pool.trim(to: 0) }
            return try memory.allocate(byteCount)
        }
    }

    /// The application has waited for work of this device.
    func noteSynchronization() {
        for pool in allPools { pool.synchronize() }
    }
}
