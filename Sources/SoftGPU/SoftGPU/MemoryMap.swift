// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// Which allocation an address belongs to, over all devices.
///
/// Every address range that a call names is looked up here before anything is read or written.
final class MemoryMap: Sendable {
    enum Owner: Sendable, Equatable {
        /// Freed with the context of this handle at the latest.
        case context(UInt64)
        /// Stream-ordered memory of a pool, which outlives contexts.
        case pool(MemoryPool)
        /// A variable of the module of this handle; the application cannot free it.
        case module(UInt64)

        static func == (one: Owner, other: Owner) -> Bool {
            switch (one, other) {
            case (.context(let one), .context(let other)), (.module(let one), .module(let other)): one == other
            case (.pool(let one), .pool(let other)): one === other
            default: false
            }
        }
    }

    /// Memory that the application knows.
    struct Entry: Sendable {
        let address: UInt64
        /// Bytes that were asked for.
        let byteCount: Int
        let owner: Owner
        /// The mapped pages; several variables share one.
        let allocation: Allocation
        /// A free has been enqueued: it cannot be freed twice.
        var isFreePending = false

        var isFreeable: Bool {
            if case .module = owner { false } else { !isFreePending }
        }
    }

    /// In the order of addresses.
    private let entries = Mutex<[Entry]>([])

    func insert(_ entry: Entry) {
        entries.withLock { entries in
            let index = Self.position(after: entry.address, in: entries)
            entries.insert(entry, at: index)
        }
    }

    /// The allocation in which all of the range lies. CUDA_ERROR_INVALID_VALUE without one.
    func allocation(at address: UInt64, byteCount: Int) throws(CUDAError) -> Allocation {
        let found = entries.withLock { entries -> Allocation? in
            let index = Self.position(after: address, in: entries)
            guard index > 0 else { return nil }
            let entry = entries[index - 1]
            let offset = address - entry.address
            guard offset <= UInt64(entry.byteCount), byteCount <= entry.byteCount - Int(offset) else { return nil }
            return entry.allocation
        }
        guard let found else { throw .invalidValue }
        return found
    }

    /// Takes out what begins at `address`, whether or not a free has been announced. CUDA_ERROR_INVALID_VALUE when
    /// nothing does.
    func remove(at address: UInt64) throws(CUDAError) -> Entry {
        let removed = entries.withLock { entries -> Entry? in
            let index = Self.position(after: address, in: entries)
            guard index > 0, entries[index - 1].address == address else { return nil }
            return entries.remove(at: index - 1)
        }
        guard let removed else { throw .invalidValue }
        return removed
    }

    /// Says that a free of `address` is on its way. CUDA_ERROR_INVALID_VALUE when one is already, or nothing is there.
    func beginFree(at address: UInt64) throws(CUDAError) -> Entry {
        let marked = entries.withLock { entries -> Entry? in
            let index = Self.position(after: address, in: entries)
            guard index > 0, entries[index - 1].address == address, entries[index - 1].isFreeable else { return nil }
            entries[index - 1].isFreePending = true
            return entries[index - 1]
        }
        guard let marked else { throw .invalidValue }
        return marked
    }

    func removeAll(of owner: Owner) {
        // The entries go after the lock, and with them possibly their pages.
        let removed = entries.withLock { entries in
            let removed = entries.filter { $0.owner == owner }
            entries.removeAll { $0.owner == owner }
            return removed
        }
        withExtendedLifetime(removed) {}
    }

    /// The index of the first entry that begins after `address`.
    private static func position(after address: UInt64, in entries: [Entry]) -> Int {
        var low = 0
        var high = entries.count
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].address <= address { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
