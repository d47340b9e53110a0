// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A pool for stream-ordered allocation: memory that was freed is kept for the next allocation of its size, until the
/// application waits for the device and the pool holds more than its release threshold.
final class MemoryPool: Sendable {
    let bits: UInt64
    let device: Int
    let isDefault: Bool
    /// What other processes know it by, if it was made for them or is one of theirs; nil for a pool of this process.
    let identity: SharedFile?
    /// Whether it is another process's: its memory can be opened, and nothing can be allocated.
    let isImported: Bool
    private let memory: DeviceMemory
    /// 0: no limit but the device's.
    private let maxBytes: Int
    private let state = Mutex(State())

    private struct State {
        var releaseThresholdBytes: UInt64 = 0
        /// CU_MEMPOOL_ATTR_REUSE_*: accepted and reported; what they allow is never needed here.
        var reuse: [UInt32: UInt64] = [1: 1, 2: 1, 3: 1]
        /// Free memory by its mapped bytes.
        var kept: [Int: [Allocation]] = [:]
        var keptBytes = 0
        var usedBytes = 0
        var usedBytesHigh = 0
        var reservedBytesHigh = 0
        var isDestroyed = false

        var reservedBytes: Int { usedBytes + keptBytes }

        mutating func noteHighs() {
            usedBytesHigh = max(usedBytesHigh, usedBytes)
            reservedBytesHigh = max(reservedBytesHigh, reservedBytes)
        }

        /// Takes kept memory out until at most `byteCount` bytes are reserved.
        ///
        /// What other processes may have open stays until the pool ends, as CUDA documents it of pools that are shared.
        mutating func trim(to byteCount: UInt64) -> [Allocation] {
            var dropped: [Allocation] = []
            for size in Array(kept.keys) {
                var staying: [Allocation] = []
                while UInt64(reservedBytes) > byteCount, let allocation = kept[size]?.popLast() {
                    if allocation.hasBeenExported && !isDestroyed {
                        staying.append(allocation)
                    } else {
                        keptBytes -= size
                        dropped.append(allocation)
                    }
                }
                let left = (kept[size] ?? []) + staying
                kept[size] = left.isEmpty ? nil : left
            }
            return dropped
        }
    }

    init(
        bits: UInt64, device: Int, isDefault: Bool, memory: DeviceMemory, maxBytes: Int, identity: SharedFile? = nil,
        isImported: Bool = false
    ) {
        self.bits = bits
        self.device = device
        self.isDefault = isDefault
        self.identity = identity
        self.isImported = isImported
        self.memory = memory
        self.maxBytes = maxBytes
    }

    func allocate(_ byteCount: Int) throws(CUDAError) -> Allocation {
        guard byteCount > 0, !isImported else { throw .invalidValue }
        guard byteCount <= memory.totalBytes else { throw .outOfMemory }
        let size = DeviceMemory.mappedBytes(for: byteCount)
        let reused = state.withLock { state -> Allocation? in
            guard let allocation = state.kept[size]?.popLast() else { return nil }
            state.keptBytes -= size
            state.usedBytes += size
            state.noteHighs()
            return allocation
        }
        if let reused { return reused }
        if maxBytes > 0 {
            let used = state.withLock { $0.usedBytes }
            guard used + size <= maxBytes else { throw .outOfMemory }
        }
        let fresh = try allocateFresh(byteCount)
        state.withLock { state in
            state.usedBytes += size
            state.noteHighs()
        }
        return fresh
    }

    private func allocateFresh(_ byteCount: Int) throws(CUDAError) -> Allocation {
        do {
            return try allocateOnce(byteCount)
        } catch {
            // Kept memory of other sizes may stand in the way.
            trim(to: 0)
            return try allocateOnce(byteCount)
        }
    }

    private func allocateOnce(_ byteCount: Int) throws(CUDAError) -> Allocation {
        guard let identity else { return try memory.allocate(byteCount) }
        return try memory.allocateShared(byteCount, device: device, family: identity.family)
    }

    /// Opens memory of another process's pool.
    func open(_ handle: ShareableHandle) throws(CUDAError) -> (allocation: Allocation, byteCount: Int) {
        guard isImported, let file = try? SharedFile(opening: handle, .poolMemory), file.family == identity?.family
        else { throw .invalidValue }
        let allocation = try memory.map(file)
        state.withLock { state in
            state.usedBytes += allocation.mappedBytes
            state.noteHighs()
        }
        return (allocation, file.byteCount)
    }

    /// Takes memory back, at the point of the stream's work where it was freed.
    func release(_ allocation: Allocation) {
        state.withLock { state in
            state.usedBytes -= allocation.mappedBytes
            guard !state.isDestroyed, !isImported else { return }
            state.keptBytes += allocation.mappedBytes
            state.kept[allocation.mappedBytes, default: []].append(allocation)
        }
    }

    /// Gives kept memory back to the device until at most `byteCount` bytes are reserved.
    func trim(to byteCount: UInt64) {
        // The pages are given back when the array goes, after the lock.
        let dropped = state.withLock { $0.trim(to: byteCount) }
        withExtendedLifetime(dropped) {}
    }

    /// The application has waited for the device: memory beyond the threshold goes.
    func synchronize() {
        let dropped = state.withLock { $0.trim(to: $0.releaseThresholdBytes) }
        withExtendedLifetime(dropped) {}
    }

    /// Memory that is still in use goes when it is freed.
    func destroy() {
        state.withLock { $0.isDestroyed = true }
        trim(to: 0)
    }

    private var handleTypes: UInt64 {
        let isExportable = identity != nil && !isImported
        return UInt64((isExportable ? CU_MEM_HANDLE_TYPE_POSIX_FILE_DESCRIPTOR : CU_MEM_HANDLE_TYPE_NONE).rawValue)
    }

    func setAttribute(_ attribute: UInt32, _ value: UInt64) throws(CUDAError) {
        let isSet = state.withLock { state in
            switch CUmemPool_attribute(attribute) {
            case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC,
                CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
                state.reuse[attribute] = value & 0xffff_ffff == 0 ? 0 : 1
            case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: state.releaseThresholdBytes = value
            // The high-water marks can only be set back.
            case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH where value == 0: state.reservedBytesHigh = state.reservedBytes
            case CU_MEMPOOL_ATTR_USED_MEM_HIGH where value == 0: state.usedBytesHigh = state.usedBytes
            default: return false
            }
            return true
        }
        guard isSet else { throw .invalidValue }
    }

    func attribute(_ attribute: UInt32) throws(CUDAError) -> UInt64 {
        let value = state.withLock { state -> UInt64? in
            switch CUmemPool_attribute(attribute) {
            case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC,
                CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
                state.reuse[attribute]
            case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: state.releaseThresholdBytes
            case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT: UInt64(state.reservedBytes)
            case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH: UInt64(state.reservedBytesHigh)
            case CU_MEMPOOL_ATTR_USED_MEM_CURRENT: UInt64(state.usedBytes)
            case CU_MEMPOOL_ATTR_USED_MEM_HIGH: UInt64(state.usedBytesHigh)
            case CU_MEMPOOL_ATTR_ALLOCATION_TYPE: UInt64(CU_MEM_ALLOCATION_TYPE_PINNED.rawValue)
            case CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES: handleTypes
            case CU_MEMPOOL_ATTR_LOCATION_ID: UInt64(device)
            case CU_MEMPOOL_ATTR_LOCATION_TYPE: UInt64(CU_MEM_LOCATION_TYPE_DEVICE.rawValue)
            case CU_MEMPOOL_ATTR_MAX_POOL_SIZE: UInt64(maxBytes)
            case CU_MEMPOOL_ATTR_HW_DECOMPRESS_ENABLED: 0
            default: nil
            }
        }
        guard let value else { throw .invalidValue }
        return value
    }
}
