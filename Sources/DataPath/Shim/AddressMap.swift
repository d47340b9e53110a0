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
        /// Memory that the host uses at the same addresses.
        case managed
        /// Memory that the application has put behind addresses that it has reserved.
        case mapped
        /// Memory of another process.
        case imported
        /// Where a device in another process has host memory of this library.
        case view
        /// Host memory that this library allocated.
        case host
        /// Host memory that the application registered.
        case registered

        var isOnDevice: Bool { self != .host && self != .registered }
        /// Whether its addresses are reserved while it lives.
        var isReserved: Bool { self == .device || self == .managed || self == .view || self == .imported }
        /// Whether the application ends it with cuMemFree.
        var isFreeable: Bool { self == .device || self == .managed }
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
    /// How often memory of another process has been opened; 0 for other memory.
    var openCount = 0
    /// A free has been enqueued: it cannot be freed twice.
    var isFreePending = false
    /// Flags of cuMemHostAlloc or cuMemHostRegister.
    var hostFlags: UInt32 = 0
    /// Where a device in another process has memory that the host uses too; 0 for all other memory.
    var deviceBase: CUdeviceptr = 0
    /// Where the host has what a ``Kind/view`` shows.
    var hostBase: CUdeviceptr = 0
    /// CU_POINTER_ATTRIBUTE_SYNC_MEMOPS.
    var synchronizesCopies = false

    /// What is found at an address of the application, for the device.
    func deviceAddress(_ address: CUdeviceptr) -> CUdeviceptr {
        deviceBase == 0 ? address : deviceBase + (address - base)
    }

    /// What is found at an address of the application, for the host.
    func hostAddress(_ address: CUdeviceptr) -> CUdeviceptr {
        kind == .view ? hostBase + (address - base) : address
    }

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
    /// How much host memory of this library there is, and between which addresses it has ever been.
    private let hostCount = Atomic(0)
    private let hostLow = Atomic(CUdeviceptr(Int64.max))
    private let hostHigh = Atomic<CUdeviceptr>(0)
    /// Whether device addresses must be kept free of host memory.
    let reservesAddresses: Bool

    init(reservesAddresses: Bool) { self.reservesAddresses = reservesAddresses }

    /// Whether there is host memory of this library.
    @inline(__always)
    var hasHostMemory: Bool { hostCount.load(ordering: .relaxed) != 0 }

    /// False for most addresses that are not host memory of this library, without a look at the map.
    @inline(__always)
    func mayBeHostMemory(_ address: CUdeviceptr) -> Bool {
        address >= hostLow.load(ordering: .relaxed) && address < hostHigh.load(ordering: .relaxed)
    }

    /// Adds host memory of this library.
    func insert(host allocation: Allocation) {
        insert(allocation)
        hostCount.add(1, ordering: .relaxed)
        _ = hostLow.min(allocation.base, ordering: .relaxed)
        _ = hostHigh.max(allocation.end, ordering: .relaxed)
    }

    /// Takes out host memory of this library that begins at an address.
    func remove(host base: CUdeviceptr) -> Allocation? {
        guard let removed = remove(base, where: { $0.kind == .host }) else { return nil }
        hostCount.subtract(1, ordering: .relaxed)
        return removed
    }

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
        for allocation in stale where allocation.kind.isReserved { release(allocation) }
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

    /// Whether a range lies in mappings that follow each other without a gap.
    func isMapped(_ address: CUdeviceptr, _ byteCount: Int) -> Bool {
        let (end, isTooLong) = address.addingReportingOverflow(CUdeviceptr(byteCount))
        guard !isTooLong else { return false }
        return allocations.withLock { allocations in
            var index = Self.firstIndex(in: allocations) { $0.end > address }
            var next = address
            while next < end {
                guard index < allocations.count, allocations[index].kind == .mapped, allocations[index].base <= next
                else { return false }
                next = allocations[index].end
                index += 1
            }
            return true
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
        if let removed, removed.kind.isReserved { release(removed) }
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

    /// Forgets the device memory of a context that ended, and returns it.
    ///
    /// Host memory stays until it is freed or unregistered.
    @discardableResult
    func removeAll(ofContext bits: UInt64) -> [Allocation] {
        let removed = allocations.withLock { allocations in
            let isEnded = { (allocation: Allocation) in allocation.contextBits == bits && allocation.kind.isOnDevice }
            let ended = allocations.filter(isEnded)
            allocations.removeAll(where: isEnded)
            return ended
        }
        for allocation in removed where allocation.kind.isReserved { release(allocation) }
        return removed
    }

    /// Keeps host memory away from a new range of device memory.
    ///
    /// False if some is already there.
    func reserve(_ base: CUdeviceptr, _ byteCount: Int) -> Bool {
        !reservesAddresses || reservations.reserve(base, byteCount)
    }

    private func release(_ allocation: Allocation) { release(allocation.base, allocation.byteCount) }

    /// Lets host memory be in a range again.
    func release(_ base: CUdeviceptr, _ byteCount: Int) {
        if reservesAddresses { reservations.release(base, byteCount) }
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
