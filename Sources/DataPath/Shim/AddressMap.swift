// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Synchronization

/// Memory that the driver or the application has made known.
struct Allocation: BitwiseCopyable {
    enum Kind: UInt8 {
        /// Allocated on a device.
        case device
        /// A variable of a module.
        case global
        /// Host memory that this library allocated.
        case host
        /// Host memory that the application registered.
        case registered

        var isOnDevice: Bool { self == .device || self == .global }
    }

    var base: CUdeviceptr
    var byteCount: Int
    var kind: Kind
    /// Handle of the context it belongs to.
    var contextBits: UInt64
    var device: Int32
    /// Unique in the process: CU_POINTER_ATTRIBUTE_BUFFER_ID.
    var id: UInt64
    /// Handle of the pool it came from, or 0.
    var poolBits: UInt64 = 0
    /// Flags of cuMemHostAlloc or cuMemHostRegister.
    var hostFlags: UInt32 = 0
    /// CU_POINTER_ATTRIBUTE_SYNC_MEMOPS.
    var synchronizesCopies = false

    var end: CUdeviceptr { base + CUdeviceptr(byteCount) }

    /// Whether a range lies in it.
    func contains(_ address: CUdeviceptr, _ count: Int) -> Bool {
        address >= base && address < end && count <= Int(end - address)
    }
}

/// What every known address belongs to, by ascending address.
///
/// Ranges do not overlap.
final class AddressMap: Sendable {
    private let allocations = Mutex<[Allocation]>([])
    private let reservations = AddressReservations()
    /// Whether device addresses must be kept free of host memory.
    let reservesAddresses: Bool

    init(reservesAddresses: Bool) { self.reservesAddresses = reservesAddresses }

    /// Adds a range; ranges that it overlaps are stale and go.
    func insert(_ allocation: Allocation) {
        guard allocation.byteCount > 0 else { return }
        let stale = allocations.withLock { allocations in
            let first = Self.firstIndex(in: allocations) { $0.end > allocation.base }
            var last = first
            while last < allocations.count, allocations[last].base < allocation.end { last += 1 }
            if first == last {
                allocations.insert(allocation, at: first)
                return [Allocation]()
            }
            let stale = Array(allocations[first..<last])
            allocations.replaceSubrange(first..<last, with: CollectionOfOne(allocation))
            return stale
        }
        for allocation in stale where allocation.kind == .device { release(allocation) }
    }

    /// Adds a range unless it overlaps another.
    func insertIfFree(_ allocation: Allocation) -> Bool {
        allocations.withLock { allocations in
            let index = Self.firstIndex(in: allocations) { $0.end > allocation.base }
            if index < allocations.count, allocations[index].base < allocation.end { return false }
            allocations.insert(allocation, at: index)
            return true
        }
    }

    /// The allocation that an address lies in.
    func find(_ address: CUdeviceptr) -> Allocation? {
        allocations.withLock { allocations in
            let index = Self.firstIndex(in: allocations) { $0.end > address }
            guard index < allocations.count, allocations[index].base <= address else { return nil }
            return allocations[index]
        }
    }

    /// Takes out the allocation that begins at an address, if it fulfils a condition.
    @discardableResult
    func remove(_ base: CUdeviceptr, where condition: (Allocation) -> Bool = { _ in true }) -> Allocation? {
        let removed: Allocation? = allocations.withLock { allocations in
            let index = Self.firstIndex(in: allocations) { $0.end > base }
            guard index < allocations.count, allocations[index].base == base, condition(allocations[index]) else {
                return nil
            }
            return allocations.remove(at: index)
        }
        if let removed, removed.kind == .device { release(removed) }
        return removed
    }

    /// Changes the allocation that an address lies in.
    func update(_ address: CUdeviceptr, _ change: (inout Allocation) -> Void) -> Bool {
        allocations.withLock { allocations in
            let index = Self.firstIndex(in: allocations) { $0.end > address }
            guard index < allocations.count, allocations[index].base <= address else { return false }
            change(&allocations[index])
            return true
        }
    }

    /// Forgets the device memory of a context that ended.
    ///
    /// Host memory stays until it is freed or unregistered.
    func removeAll(ofContext bits: UInt64) {
        let removed = allocations.withLock { allocations in
            let isEnded = { (allocation: Allocation) in allocation.contextBits == bits && allocation.kind.isOnDevice }
            let ended = allocations.filter(isEnded)
            allocations.removeAll(where: isEnded)
            return ended
        }
        for allocation in removed where allocation.kind == .device { release(allocation) }
    }

    /// Keeps host memory away from a new range of device memory.
    ///
    /// False if some is already there.
    func reserve(_ base: CUdeviceptr, _ byteCount: Int) -> Bool {
        !reservesAddresses || reservations.reserve(base, byteCount)
    }

    private func release(_ allocation: Allocation) {
        if reservesAddresses { reservations.release(allocation.base, allocation.byteCount) }
    }

    /// The first allocation that fulfils a condition which holds for all after it too.
    private static func firstIndex(in allocations: [Allocation], _ condition: (Allocation) -> Bool) -> Int {
        var low = 0
        var high = allocations.count
        while low < high {
            let middle = (low + high) / 2
            if condition(allocations[middle]) { high = middle } else { low = middle + 1 }
        }
        return low
    }
}
