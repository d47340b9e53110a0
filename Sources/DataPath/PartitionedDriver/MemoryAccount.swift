// SPDX-License-Identifier: Apache-2.0
import AllocationLedger
import CCUDA
import Driver

/// What one process has of its partition, and why: so that exactly as much is given back as was counted.
struct MemoryAccount {
    struct Context {
        let device: Int32
        var retains = 1
        /// What the driver took for the context itself, and for what ends only with it.
        var ownBytes = 0
        /// Counted for the heap of kernels' `malloc`, which the driver takes when a module is loaded that uses it.
        var heapPromise = 0
    }

    struct Allocation {
        let device: Int32
        let context: ContextHandle
        let byteCount: Int
        /// The pool it came from, whose reserved bytes are what is counted; nil for memory of its own.
        var pool: MemoryPoolHandle?
        /// Under what other processes may open it.
        var export: ExportReference?
    }

    /// Memory of another process, which that process has counted.
    struct Import {
        let reference: ExportReference
        /// The pool that it is of, whose process counts it as long as it has the pool; nil for memory of no pool.
        var pool: ExportReference?
        let device: Int32
        let context: ContextHandle
        let byteCount: Int
        var openCount = 1
        /// Whether it is counted here: the process that exported it has freed it, or has ended, but it lives on.
        var isCounted = false
    }

    /// Memory without an address: of this process, or imported.
    struct PhysicalMemory {
        let device: Int32
        let byteCount: Int
        /// Of imported memory, the export it is of.
        var origin: ExportReference?
        var isCounted: Bool
        /// Whether it is a multicast object, which has no memory of its own.
        var isMulticast = false
        var mappingCount = 0
        var isReleased = false
        var export: ExportReference?
    }

    struct Module {
        let context: ContextHandle
        let byteCount: Int
    }

    struct Array {
        let context: ContextHandle
        let device: Int32
        /// Bytes of its elements, counted as those of an allocation.
        let byteCount: Int
        /// What the driver took beyond that, because it keeps elements in blocks.
        let moreBytes: Int
    }

    struct Pool {
        let device: Int32
        /// The reserved bytes that are counted.
        var countedBytes = 0
        /// What the application has of them; the rest is kept, or will be when streams have freed it.
        var liveBytes = 0
        /// Under what other processes may import it.
        var export: ExportReference?

        /// Pools are made of pages at least; where a driver's pieces are larger, what it has reserved shows it.
        static let pageBytes = 4096
    }

    /// A pool of another process, which nothing is allocated from.
    struct ImportedPool {
        let reference: ExportReference
        let device: Int32
    }

    /// Memory whose free waits for a stream; it is in use until the event behind it is done.
    struct PendingFree {
        let allocation: Allocation
        let event: EventHandle
        /// The context of the event.
        let context: ContextHandle
    }

    var contexts: [ContextHandle: Context] = [:]
    var allocations: [CUdeviceptr: Allocation] = [:]
    var modules: [ModuleHandle: Module] = [:]
    var arrays: [ArrayHandle: Array] = [:]
    var mipmappedArrays: [MipmappedArrayHandle: Array] = [:]
    var pools: [MemoryPoolHandle: Pool] = [:]
    var pendingFrees: [PendingFree] = []
    var imports: [CUdeviceptr: Import] = [:]
    var importedPools: [MemoryPoolHandle: ImportedPool] = [:]
    var physicalMemory: [PhysicalMemoryHandle: PhysicalMemory] = [:]
    /// Released memory that is still mapped; the driver may use its handle again.
    var releasedMemory: [UInt64: PhysicalMemory] = [:]
    var mappings: [CUdeviceptr: PhysicalMapping] = [:]
    var lastReleased: UInt64 = 0
    /// Events that other processes may open.
    var eventExports: [EventHandle: (context: ContextHandle, reference: ExportReference)] = [:]
    /// Exports of what has ended, which are to be taken back.
    private var endedExports: [ExportReference] = []
    /// How each device's driver rounds.
    private var rounding: [Int32: Rounding] = [:]

    /// Whether something may have been given back to the driver without a call that says so.
    var isChangingByItself: Bool {
        !pendingFrees.isEmpty || !imports.isEmpty || physicalMemory.values.contains { $0.origin != nil }
            || pools.values.contains { $0.countedBytes > 0 }
    }

    /// The exports of what has ended since the last time.
    mutating func takeEndedExports() -> [ExportReference] {
        defer { endedExports.removeAll() }
        return endedExports
    }

    func device(of context: ContextHandle) -> Int32? { contexts[context]?.device }

    /// Another context on a device, if this process has one.
    func anyContext(on device: Int32) -> ContextHandle? { contexts.first { $0.value.device == device }?.key }

    func contextCount(on device: Int32) -> Int { contexts.values.count { $0.device == device } }

    func knowsRounding(on device: Int32) -> Bool { rounding[device] != nil }

    mutating func learn(_ rounding: Rounding, on device: Int32) { self.rounding[device] = rounding }

    /// What the driver takes from the device for another allocation of so many bytes.
    mutating func grow(by byteCount: Int, on device: Int32) -> Int {
        rounding[device, default: Rounding()].grow(by: byteCount)
    }

    /// What goes back to the device with an allocation of so many bytes.
    mutating func shrink(by byteCount: Int, on device: Int32) -> Int {
        rounding[device, default: Rounding()].shrink(by: byteCount)
    }

    mutating func remember(_ address: CUdeviceptr, _ allocation: Allocation) {
        allocations[address] = allocation
        guard let pool = allocation.pool else { return }
        pools[pool]?.liveBytes += roundedUp(allocation.byteCount, to: Pool.pageBytes)
    }

    /// Forgets an allocation; it has a pool only if that still exists.
    mutating func forget(_ address: CUdeviceptr) -> Allocation? {
        guard let allocation = allocations.removeValue(forKey: address) else { return nil }
        if let export = allocation.export { endedExports.append(export) }
        if let pool = allocation.pool { pools[pool]?.liveBytes -= roundedUp(allocation.byteCount, to: Pool.pageBytes) }
        return allocation
    }

    /// Forgets a context that has ended, and everything in it.
    ///
    /// Returns its device and the bytes that are free again. What its pools hold is not among them.
    mutating func end(_ context: ContextHandle) -> (device: Int32, byteCount: Int)? {
        guard let ended = contexts.removeValue(forKey: context) else { return nil }
        var freed = ended.ownBytes + ended.heapPromise
        for (module, loaded) in modules where loaded.context == context {
            freed += loaded.byteCount
            modules[module] = nil
        }
        for (array, made) in arrays where made.context == context {
            freed += shrink(by: made.byteCount, on: ended.device) + made.moreBytes
            arrays[array] = nil
        }
        for (array, made) in mipmappedArrays where made.context == context {
            freed += shrink(by: made.byteCount, on: ended.device) + made.moreBytes
            mipmappedArrays[array] = nil
        }
        for (address, allocation) in allocations where allocation.context == context {
            _ = forget(address)
            if allocation.pool == nil { freed += shrink(by: allocation.byteCount, on: ended.device) }
        }
        for (address, opened) in imports where opened.context == context {
            imports[address] = nil
            if opened.isCounted { freed += shrink(by: opened.byteCount, on: ended.device) }
        }
        for (event, exported) in eventExports where exported.context == context {
            eventExports[event] = nil
            endedExports.append(exported.reference)
        }
        // Contexts end when their work is done.
        for pending in pendingFrees where pending.context == context && pending.allocation.device == ended.device {
            freed += shrink(by: pending.allocation.byteCount, on: ended.device)
        }
        pendingFrees.removeAll { $0.context == context && $0.allocation.device == ended.device }
        return (ended.device, freed)
    }
}

/// How a driver rounds what it allocates.
///
/// It takes memory from the device in blocks. An allocation has blocks of its own, or, with NVIDIA's drivers, small
/// ones share blocks.
struct Rounding {
    var blockBytes = 1
    var sharesBlocks = false
    /// Bytes of the allocations that share blocks.
    private var sharedBytes = 0

    /// Allocations begin at multiples of this (CUDA promises 256, and drivers keep 512).
    private static let alignment = 512

    init(blockBytes: Int = 1, sharesBlocks: Bool = false) {
        self.blockBytes = blockBytes
        self.sharesBlocks = sharesBlocks
    }

    mutating func grow(by byteCount: Int) -> Int {
        guard sharesBlocks, byteCount < blockBytes else { return roundedUp(byteCount, to: blockBytes) }
        let before = roundedUp(sharedBytes, to: blockBytes)
        sharedBytes += roundedUp(byteCount, to: Rounding.alignment)
        return roundedUp(sharedBytes, to: blockBytes) - before
    }

    mutating func shrink(by byteCount: Int) -> Int {
        guard sharesBlocks, byteCount < blockBytes else { return roundedUp(byteCount, to: blockBytes) }
        let before = roundedUp(sharedBytes, to: blockBytes)
        sharedBytes = max(0, sharedBytes - roundedUp(byteCount, to: Rounding.alignment))
        return before - roundedUp(sharedBytes, to: blockBytes)
    }
}

/// The next multiple; the greatest number where there is none, which no partition has.
func roundedUp(_ byteCount: Int, to unit: Int) -> Int {
    let (padded, overflow) = byteCount.addingReportingOverflow(unit - 1)
    return overflow ? Int.max : padded / unit * unit
}
