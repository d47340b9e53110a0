// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Memory that a graph allocates: it has one address for all launches.
///
/// The memory is taken when its node is made and given back when no graph, executable graph or application needs it
/// any more. In between the nodes only say whether it is in use, so that a launch waits for nothing and cannot fail for
/// want of memory; drivers with virtual memory take it at the first launch instead, which an application cannot tell
/// but by the amount of free memory.
final class GraphAllocation: @unchecked Sendable {
    // SAFETY: the properties hold no pointer but one that is never used.
    struct State {
        /// Whether it has been allocated by a launch and not been freed.
        var isLive = false
        /// Whether an executable graph with its node exists: there can be only one at a time.
        var isInstantiated = false
    }

    let address: CUdeviceptr
    let byteCount: Int
    let device: Device
    let properties: CUmemPoolProps
    let state = Mutex(State())
    private let giveBack: @Sendable () -> Void

    init(
        address: CUdeviceptr, byteCount: Int, device: Device, properties: CUmemPoolProps,
        giveBack: @escaping @Sendable () -> Void
    ) {
        self.address = address
        self.byteCount = byteCount
        self.device = device
        self.properties = properties
        self.giveBack = giveBack
    }

    deinit { giveBack() }

    var isLive: Bool { state.withLock { $0.isLive } }
}

/// The memory of graphs, by address.
struct GraphMemory {
    struct Entry {
        weak var allocation: GraphAllocation?
        /// Keeps memory that the application has not freed.
        var live: GraphAllocation?
    }

    struct Usage {
        var used: UInt64 = 0
        var usedHigh: UInt64 = 0
        var reserved: UInt64 = 0
        var reservedHigh: UInt64 = 0
    }

    var entries: [CUdeviceptr: Entry] = [:]
    /// By the application's ordinal.
    var usage: [Int32: Usage] = [:]
}

extension Shim {
    /// Takes memory for a node, on a device.
    func makeGraphAllocation(_ byteCount: Int, properties: CUmemPoolProps) throws(CUDAError) -> GraphAllocation {
        guard byteCount != 0, properties.allocType == CU_MEM_ALLOCATION_TYPE_PINNED else { throw .invalidValue }
        guard byteCount > 0 else { throw .outOfMemory }
        guard properties.handleTypes == CU_MEM_HANDLE_TYPE_NONE, properties.location.type == CU_MEM_LOCATION_TYPE_DEVICE
        else { throw .notSupported }
        let device = try device(properties.location.id)
        let context = try graphContext(of: device)
        let handle = try context.handle
        let address = try place(byteCount, in: context, pool: nil) { () throws(CUDAError) in
            try driver.cuMemAlloc_v2(handle, bytesize: byteCount)
        } free: { address throws(CUDAError) in
            try driver.cuMemFree_v2(handle, dptr: address)
        }
        let ordinal = device.ordinal
        let id = memory.find(address)?.id
        let shim = Unmanaged.passUnretained(self)
        let allocation = GraphAllocation(
            address: address, byteCount: byteCount, device: device, properties: properties
        ) {
            // SAFETY: the shim lives as long as the process's graphs.
            shim._withUnsafeGuaranteedRef { $0.giveBack(address, id, byteCount, ordinal, context, handle) }
        }
        graphMemory.withLock { memory in
            memory.entries[address] = GraphMemory.Entry(allocation: allocation)
            memory.usage[ordinal, default: .init()].reserved += UInt64(byteCount)
            memory.usage[ordinal]?.raiseMarks()
        }
        return allocation
    }

    private func giveBack(
        _ address: CUdeviceptr, _ id: UInt64?, _ byteCount: Int, _ ordinal: Int32, _ context: Context,
        _ handle: ContextHandle
    ) {
        graphMemory.withLock { memory in
            memory.entries[address] = nil
            memory.usage[ordinal]?.reserved -= UInt64(byteCount)
        }
        // With the context its memory has gone, and somebody else may have the address.
        guard context.activeBits == handle.bits else { return }
        try? driver.cuMemFree_v2(handle, dptr: address)
        memory.remove(address) { $0.id == id }
    }

    /// A context of the device: the current one if it is there, else the primary one if it is active.
    private func graphContext(of device: Device) throws(CUDAError) -> Context {
        if let current = currentContext, current.device === device { return current }
        let primary = primaries[Int(device.ordinal)]
        _ = try primary.handle
        return primary
    }

    /// The memory of a graph at an address, in use or not; nil where there is none.
    func graphAllocation(at address: CUdeviceptr) -> GraphAllocation? {
        graphMemory.withLock { $0.entries[address]?.allocation }
    }

    /// Marks memory as allocated by a launch.
    ///
    /// CUDA_ERROR_INVALID_VALUE if it still is from an earlier one.
    func use(_ allocation: GraphAllocation, freeingAutomatically isFreed: Bool) throws(CUDAError) {
        let isNew: Bool = try allocation.state.withLock { state throws(CUDAError) in
            guard !state.isLive || isFreed else { throw .invalidValue }
            defer { state.isLive = true }
            return !state.isLive
        }
        guard isNew else { return }
        graphMemory.withLock { memory in
            memory.entries[allocation.address]?.live = allocation
            memory.usage[allocation.device.ordinal]?.used += UInt64(allocation.byteCount)
            memory.usage[allocation.device.ordinal]?.raiseMarks()
        }
    }

    /// Marks memory as freed, by a launch or by the application.
    func free(_ allocation: GraphAllocation) throws(CUDAError) {
        try allocation.state.withLock { state throws(CUDAError) in
            guard state.isLive else { throw .invalidValue }
            state.isLive = false
        }
        let kept = graphMemory.withLock { memory in
            memory.usage[allocation.device.ordinal]?.used -= UInt64(allocation.byteCount)
            defer { memory.entries[allocation.address]?.live = nil }
            return memory.entries[allocation.address]?.live
        }
        // Whatever this was the last reference to is given back outside the lock.
        withExtendedLifetime(kept) {}
    }

    func cuDeviceGetGraphMemAttribute(
        _ device: CUdevice, _ attr: CUgraphMem_attribute, _ value: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let ordinal = try self.device(device).ordinal
        guard let value else { throw .invalidValue }
        let usage = graphMemory.withLock { $0.usage[ordinal] ?? .init() }
        let number =
            switch attr {
            case CU_GRAPH_MEM_ATTR_USED_MEM_CURRENT: usage.used
            case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: usage.usedHigh
            case CU_GRAPH_MEM_ATTR_RESERVED_MEM_CURRENT: usage.reserved
            case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: usage.reservedHigh
            default: throw CUDAError.invalidValue
            }
        value.storeBytes(of: number, as: UInt64.self)
    }

    /// The high marks can be set back, to 0 only.
    func cuDeviceSetGraphMemAttribute(
        _ device: CUdevice, _ attr: CUgraphMem_attribute, _ value: UnsafeMutableRawPointer?
    ) throws(CUDAError) {
        let ordinal = try self.device(device).ordinal
        guard let value, value.loadUnaligned(as: UInt64.self) == 0 else { throw .invalidValue }
        try graphMemory.withLock { memory throws(CUDAError) in
            var usage = memory.usage[ordinal] ?? .init()
            switch attr {
            case CU_GRAPH_MEM_ATTR_USED_MEM_HIGH: usage.usedHigh = usage.used
            case CU_GRAPH_MEM_ATTR_RESERVED_MEM_HIGH: usage.reservedHigh = usage.reserved
            default: throw .invalidValue
            }
            memory.usage[ordinal] = usage
        }
    }

    /// Memory that no graph needs is given back at once: nothing is left to trim.
    func cuDeviceGraphMemTrim(_ device: CUdevice) throws(CUDAError) { _ = try self.device(device) }
}

extension GraphMemory.Usage {
    fileprivate mutating func raiseMarks() {
        usedHigh = max(usedHigh, used)
        reservedHigh = max(reservedHigh, reserved)
    }
}
