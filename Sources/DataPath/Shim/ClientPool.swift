// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A pool of memory that is not a device's alone: pinned memory of the application's host, or managed memory.
///
/// The library has this memory itself, so it has such pools itself too. They count what is allocated from them and keep
/// nothing: memory that a stream has freed goes at once.
final class ClientPool: Sendable {
    /// What a pool is of; there is one default pool of each.
    struct Place: Hashable {
        let isManaged: Bool
        let location: CUmemLocationType.RawValue
        /// A device or a node of the host; 0 for locations that have no number.
        let id: Int32

        /// The device that managed memory prefers: -1 for the host, -2 for none.
        var preferredLocation: Int32 {
            switch CUmemLocationType(location) {
            case CU_MEM_LOCATION_TYPE_DEVICE: id
            case CU_MEM_LOCATION_TYPE_NONE: MemoryAdvice.nowhere
            default: Shim.hostDevice
            }
        }

        /// The node of the host that the memory is to be on, if one was named.
        var node: Int32? { location == CU_MEM_LOCATION_TYPE_HOST_NUMA.rawValue ? id : nil }
    }

    private struct State {
        var releaseThresholdBytes: UInt64 = 0
        /// CU_MEMPOOL_ATTR_REUSE_*: accepted and told; nothing is used again.
        var reuse: [UInt32: UInt64] = [:]
        var usedBytes = 0
        var usedBytesHigh = 0
        /// The devices that may use it, by the application's ordinals; the others may not, though they can.
        var devices: Set<Int32> = []
    }

    let place: Place
    /// 0: no limit but the host's.
    private let maxBytes: Int
    private let state = Mutex(State())

    init(_ place: Place, maxBytes: Int) {
        self.place = place
        self.maxBytes = maxBytes
    }

    /// Counts an allocation; CUDA_ERROR_OUT_OF_MEMORY beyond the pool's limit.
    func take(_ byteCount: Int) throws(CUDAError) {
        let fits = state.withLock { state in
            let (sum, isTooMuch) = state.usedBytes.addingReportingOverflow(byteCount)
            guard !isTooMuch, maxBytes == 0 || sum <= maxBytes else { return false }
            state.usedBytes = sum
            state.usedBytesHigh = max(state.usedBytesHigh, sum)
            return true
        }
        guard fits else { throw .outOfMemory }
    }

    func giveBack(_ byteCount: Int) { state.withLock { $0.usedBytes -= byteCount } }

    func setAccess(_ device: Int32, _ isAllowed: Bool) {
        state.withLock { state in
            if isAllowed { state.devices.insert(device) } else { state.devices.remove(device) }
        }
    }

    /// Managed memory is every device's; that of the host becomes one's by cuMemPoolSetAccess.
    func isAccessible(to device: Int32) -> Bool { place.isManaged || state.withLock { $0.devices.contains(device) } }

    func setAttribute(_ attribute: CUmemPool_attribute, _ value: UInt64) throws(CUDAError) {
        let isSet = state.withLock { state in
            switch attribute {
            case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC,
                CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
                state.reuse[attribute.rawValue] = value & 0xffff_ffff == 0 ? 0 : 1
            case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: state.releaseThresholdBytes = value
            // The high-water marks can only be set back.
            case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH where value == 0, CU_MEMPOOL_ATTR_USED_MEM_HIGH where value == 0:
                state.usedBytesHigh = state.usedBytes
            default: return false
            }
            return true
        }
        guard isSet else { throw .invalidValue }
    }

    func attribute(_ attribute: CUmemPool_attribute) throws(CUDAError) -> UInt64 {
        let value = state.withLock { state -> UInt64? in
            switch attribute {
            case CU_MEMPOOL_ATTR_REUSE_FOLLOW_EVENT_DEPENDENCIES, CU_MEMPOOL_ATTR_REUSE_ALLOW_OPPORTUNISTIC,
                CU_MEMPOOL_ATTR_REUSE_ALLOW_INTERNAL_DEPENDENCIES:
                state.reuse[attribute.rawValue] ?? 1
            case CU_MEMPOOL_ATTR_RELEASE_THRESHOLD: state.releaseThresholdBytes
            case CU_MEMPOOL_ATTR_RESERVED_MEM_CURRENT, CU_MEMPOOL_ATTR_USED_MEM_CURRENT: UInt64(state.usedBytes)
            case CU_MEMPOOL_ATTR_RESERVED_MEM_HIGH, CU_MEMPOOL_ATTR_USED_MEM_HIGH: UInt64(state.usedBytesHigh)
            case CU_MEMPOOL_ATTR_ALLOCATION_TYPE:
                UInt64((place.isManaged ? CU_MEM_ALLOCATION_TYPE_MANAGED : CU_MEM_ALLOCATION_TYPE_PINNED).rawValue)
            case CU_MEMPOOL_ATTR_EXPORT_HANDLE_TYPES, CU_MEMPOOL_ATTR_HW_DECOMPRESS_ENABLED: 0
            case CU_MEMPOOL_ATTR_LOCATION_ID: UInt64(UInt32(bitPattern: place.id))
            case CU_MEMPOOL_ATTR_LOCATION_TYPE: UInt64(place.location)
            case CU_MEMPOOL_ATTR_MAX_POOL_SIZE: UInt64(maxBytes)
            default: nil
            }
        }
        guard let value else { throw .invalidValue }
        return value
    }
}
