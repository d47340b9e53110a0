// SPDX-License-Identifier: Apache-2.0
import Driver
import Synchronization

/// What keeps the pages of a range in place while work uses them.
protocol MemoryHolder: AnyObject, Sendable {}

extension Allocation: MemoryHolder {}

/// Several pieces of memory that a range lies in.
final class MemoryGroup: MemoryHolder {
    private let parts: [any MemoryHolder]
    init(_ parts: [any MemoryHolder]) { self.parts = parts }
}

/// Which allocation an address belongs to, over all devices.
///
/// Every address range that a call names is looked up here before anything is read or written.
final class MemoryMap: Sendable {
    enum Owner: Sendable {
        case context
        /// Memory that goes back to a pool.
        case pool(MemoryPool)
        /// Another process; the application closes it.
        case imported
        /// Another process, through a pool that was imported; the application frees it.
        case importedPool(MemoryPool)
        /// Memory that was put behind reserved addresses; the application unmaps it.
        case mapping
        /// A variable of the module of this handle; the application cannot free it.
        case module(UInt64)
    }

    /// Memory that the application knows.
    struct Entry: Sendable {
        let address: UInt64
        /// Bytes that were asked for.
        let byteCount: Int
        let owner: Owner
        /// The handle of the context that made it and with which it ends at the latest.
        let context: UInt64
        /// The mapped pages; several variables share one.
        let allocation: any MemoryHolder
        /// A free has been enqueued: it cannot be freed twice.
        var isFreePending = false

        var isFreeable: Bool {
            switch owner {
            case .module, .imported, .mapping: false
            case .context, .pool, .importedPool: !isFreePending
            }
        }
    }

    private let entries = Mutex(EntryList())

    func insert(_ entry: Entry) { entries.withLock { $0.insert(entry) } }

    /// The allocation in which all of the range lies, or the mappings that follow each other in it.
    ///
    /// CUDA_ERROR_INVALID_VALUE without one.
    func allocation(at address: UInt64, byteCount: Int) throws(CUDAError) -> any MemoryHolder {
        let found = entries.withLock { entries -> (any MemoryHolder)? in
            guard let entry = entries.last(upTo: address) else { return nil }
            let offset = address - entry.address
            guard offset <= UInt64(entry.byteCount) else { return nil }
            if byteCount <= entry.byteCount - Int(offset) { return entry.allocation }
            guard case .mapping = entry.owner, offset < UInt64(entry.byteCount) else { return nil }
            var parts = [entry.allocation]
            var end = entry.address + UInt64(entry.byteCount)
            while end - address < UInt64(byteCount) {
                guard let next = entries.last(upTo: end), next.address == end, case .mapping = next.owner else {
                    return nil
                }
                parts.append(next.allocation)
                end += UInt64(next.byteCount)
            }
            return MemoryGroup(parts)
        }
        guard let found else { throw .invalidValue }
        return found
    }

    /// What begins at `address`; nil when nothing does.
    func entry(at address: UInt64) -> Entry? {
        entries.withLock { entries in
            guard let entry = entries.last(upTo: address), entry.address == address else { return nil }
            return entry
        }
    }

    /// Takes out what begins at `address`, whether or not a free has been announced.
    ///
    /// CUDA_ERROR_INVALID_VALUE when nothing does.
    func remove(at address: UInt64) throws(CUDAError) -> Entry {
        guard let removed = entries.withLock({ $0.remove(at: address) }) else { throw .invalidValue }
        return removed
    }

    /// Says that a free of `address` is on its way.
    ///
    /// CUDA_ERROR_INVALID_VALUE when one is already, or nothing is there.
    func beginFree(at address: UInt64) throws(CUDAError) -> Entry {
        guard let marked = entries.withLock({ $0.markFreePending(at: address) }) else { throw .invalidValue }
        return marked
    }

    /// Takes out all memory that matches.
    func removeAll(where matches: (Entry) -> Bool) -> [Entry] { entries.withLock { $0.removeAll(where: matches) } }
}

/// Entries in the order of their addresses, in leaves of bounded size, so that neither finding nor changing one takes
/// long when there are very many.
private struct EntryList {
    typealias Entry = MemoryMap.Entry

    static let leafEntriesMax = 256

    /// None is empty.
    private var leaves: [[Entry]] = []

    /// The last entry that begins at or before `address`.
    func last(upTo address: UInt64) -> Entry? {
        guard let (leaf, index) = position(upTo: address) else { return nil }
        return leaves[leaf][index]
    }

    mutating func insert(_ entry: Entry) {
        guard let (leaf, index) = position(upTo: entry.address) else {
            if leaves.isEmpty { leaves.append([]) }
            leaves[0].insert(entry, at: 0)
            split(0)
            return
        }
        leaves[leaf].insert(entry, at: index + 1)
        split(leaf)
    }

    private mutating func split(_ leaf: Int) {
        guard leaves[leaf].count > Self.leafEntriesMax else { return }
        // Addresses mostly ascend: then nothing is moved, and leaves stay full.
        let isLast = leaf == leaves.count - 1
        let count = isLast ? leaves[leaf].count - 1 : leaves[leaf].count / 2
        let rest = Array(leaves[leaf][count...])
        leaves[leaf].removeSubrange(count...)
        leaves.insert(rest, at: leaf + 1)
    }

    mutating func remove(at address: UInt64) -> Entry? {
        guard let (leaf, index) = position(upTo: address), leaves[leaf][index].address == address else { return nil }
        let removed = leaves[leaf].remove(at: index)
        if leaves[leaf].isEmpty { leaves.remove(at: leaf) }
        return removed
    }

    mutating func markFreePending(at address: UInt64) -> Entry? {
        guard let (leaf, index) = position(upTo: address), leaves[leaf][index].address == address,
            leaves[leaf][index].isFreeable
        else { return nil }
        leaves[leaf][index].isFreePending = true
        return leaves[leaf][index]
    }

    mutating func removeAll(where matches: (Entry) -> Bool) -> [Entry] {
        let removed = leaves.joined().filter(matches)
        guard !removed.isEmpty else { return [] }
        leaves = leaves.map { leaf in leaf.filter { !matches($0) } }.filter { !$0.isEmpty }
        return removed
    }

    private func position(upTo address: UInt64) -> (leaf: Int, index: Int)? {
        let leaf = Self.count(leaves.count) { leaves[$0][0].address <= address } - 1
        guard leaf >= 0 else { return nil }
        return (leaf, Self.count(leaves[leaf].count) { leaves[leaf][$0].address <= address } - 1)
    }

    /// How many of the first elements match, when none matches after one that does not.
    private static func count(_ count: Int, _ matches: (Int) -> Bool) -> Int {
        var low = 0
        var high = count
        while low < high {
            let middle = (low + high) / 2
            if matches(middle) { low = middle + 1 } else { high = middle }
        }
        return low
    }
}
