// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc

/// Memory that the host and a device in another process use by turns: who has the newest contents of each of its
/// blocks, and a copy of them here.
///
/// The application's addresses allow only what the state of a block allows; this library uses a second mapping of the
/// same pages.
///
/// SAFETY: touched only under the lock of ``SharedMemory``.
final class SharedRange: @unchecked Sendable {
    enum BlockState: UInt8 {
        /// Nobody has written it.
        case untouched
        /// The device may have newer contents: the application must not look.
        case device
        /// Both have the same.
        case clean
        /// The host may have newer contents.
        case dirty

        var protection: Int32 {
            switch self {
            case .untouched, .device: PROT_NONE
            case .clean: PROT_READ
            case .dirty: PROT_READ | PROT_WRITE
            }
        }
    }

    static let pageBytes = 4096
    /// A range has at most so many blocks: each may need a mapping of its own, and a process has 65,530.
    private static let blocksMax = 4096
    /// The most that is fetched at once.
    private static let windowBytesMax = 4 << 20

    /// The application's addresses: whole pages.
    let hostBase: UInt
    let byteCount: Int
    /// Where the device has the first page.
    let deviceBase: CUdeviceptr
    /// The context that the device's memory belongs to.
    let context: ContextHandle
    let contextBits: UInt64
    /// What the driver allocated; 0 where it is a module's.
    let driverBase: CUdeviceptr
    /// The parts that are ours, as offsets: pages may hold other variables of a module.
    private(set) var parts: [Range<Int>]

    private let view: UnsafeMutableRawPointer
    private let blockBytes: Int
    private var states: [BlockState]
    /// Whether a launch has anything to hand over.
    var isOnDevice: Bool { blocksElsewhere == 0 }
    private var blocksElsewhere: Int
    /// The block behind the last one that was touched, and how many are fetched if it is the next.
    private var expectedBlock = -1
    private var window = 1

    /// Maps pages at `hostBase`, which must be reserved or the caller's; nil when the system has no memory.
    ///
    /// `initial` is the state of every block.
    init?(
        hostBase: UInt, byteCount: Int, deviceBase: CUdeviceptr, driverBase: CUdeviceptr, context: ContextHandle,
        contextBits: UInt64, parts: [Range<Int>], initial: BlockState, contents: UnsafeRawBufferPointer? = nil
    ) {
        let descriptor = csystem_sealed_memory_file("bitfusion managed memory", byteCount)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        guard let view = csystem_map_file(descriptor, nil, byteCount) else { return nil }
        if let contents {
            view.copyMemory(from: contents.baseAddress ?? UnsafeRawPointer(view), byteCount: contents.count)
        }
        guard csystem_map_file(descriptor, UnsafeMutableRawPointer(bitPattern: hostBase), byteCount) != nil else {
            munmap(view, byteCount)
            return nil
        }
        self.view = view
        self.hostBase = hostBase
        self.byteCount = byteCount
        self.deviceBase = deviceBase
        self.driverBase = driverBase
        self.context = context
        self.contextBits = contextBits
        self.parts = parts
        var blockBytes = SharedRange.pageBytes
        while byteCount / blockBytes > SharedRange.blocksMax { blockBytes *= 2 }
        self.blockBytes = blockBytes
        let count = (byteCount + blockBytes - 1) / blockBytes
        states = [BlockState](repeating: initial, count: count)
        blocksElsewhere = initial == .device ? 0 : count
        _ = protect(0..<count, initial)
    }

    deinit { munmap(view, byteCount) }

    var hostEnd: UInt { hostBase + UInt(byteCount) }

    /// Leaves nothing at the application's addresses, which stay reserved.
    func giveUpAddresses() {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        mmap(UnsafeMutableRawPointer(bitPattern: hostBase), byteCount, PROT_NONE, flags, -1, 0)
    }

    /// Whether a touch of an address needs what the device has.
    func isOnDevice(_ address: UInt) -> Bool { state(at: address) == .device }

    /// Another variable, given by its addresses: what of it lies in the range is a part of it.
    ///
    /// Returns the range's end.
    func add(_ variable: Range<UInt>) -> UInt {
        let inside = variable.clamped(to: hostBase..<hostEnd)
        let part = Int(inside.lowerBound - hostBase)..<Int(inside.upperBound - hostBase)
        if !part.isEmpty && !parts.contains(part) { parts.append(part) }
        return hostEnd
    }

    /// The host touches an address: brings what it needs, and lets it go on.
    ///
    /// `fetch` copies device memory to this process. An error leaves everything as it was.
    func touch(
        _ address: UInt, isWrite: Bool,
        fetch: (CUdeviceptr, UnsafeMutableRawBufferPointer) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let first = Int(address - hostBase) / blockBytes
        let state = states[first]
        // Where the kind of access is not known, it is a write when reading was allowed.
        let wanted: BlockState = isWrite || state == .clean || state == .untouched ? .dirty : .clean
        window = first == expectedBlock ? min(window * 2, max(1, SharedRange.windowBytesMax / blockBytes)) : 1
        var end = first + 1
        while end < states.count, end < first + window, states[end] == state { end += 1 }
        expectedBlock = end
        if state == .device { try bring(first..<end, fetch) }
        if set(first..<end, wanted) { return }
        // The process has no more mappings: from now on all of the range is here, in one.
        for block in states.indices where states[block] == .device { try bring(block..<block + 1, fetch) }
        _ = set(states.indices, .dirty)
    }

    private func bring(
        _ blocks: Range<Int>, _ fetch: (CUdeviceptr, UnsafeMutableRawBufferPointer) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        for range in bytes(of: blocks) {
            try fetch(
                deviceBase + CUdeviceptr(range.lowerBound),
                UnsafeMutableRawBufferPointer(start: view + range.lowerBound, count: range.count))
        }
    }

    /// Gives a part of the range to the device: sends what the host has changed, and keeps the application out.
    ///
    /// `send` copies memory of this process to the device, and has read it on return. When it fails the rest stays.
    func handOver(
        _ addresses: Range<UInt>, send: (CUdeviceptr, UnsafeRawBufferPointer) throws(CUDAError) -> Void
    ) throws(CUDAError) {
        let blocks = blocks(of: addresses)
        if !blocks.contains(where: { states[$0] != .device }) { return }
        var next = blocks.lowerBound
        while next < blocks.upperBound {
            guard states[next] == .dirty else {
                next += 1
                continue
            }
            let first = next
            while next < blocks.upperBound, states[next] == .dirty { next += 1 }
            // Nobody changes it while it is read.
            _ = protect(first..<next, .clean)
            for range in bytes(of: first..<next) {
                try send(
                    deviceBase + CUdeviceptr(range.lowerBound),
                    UnsafeRawBufferPointer(start: view + range.lowerBound, count: range.count))
            }
        }
        _ = set(blocks, .device)
    }

    /// What is in a part of the range is of no interest any more; blocks that are only in part in it stay.
    func discard(_ addresses: Range<UInt>) {
        for block in blocks(of: addresses) {
            let start = hostBase + UInt(block * blockBytes)
            let end = hostBase + UInt(min(byteCount, (block + 1) * blockBytes))
            guard start >= addresses.lowerBound, end <= addresses.upperBound else { continue }
            _ = set(block..<block + 1, .untouched)
        }
    }

    /// Who has the newest contents of an address.
    func state(at address: UInt) -> BlockState { states[Int(address - hostBase) / blockBytes] }

    /// The next touch brings as much as ever.
    func expectTouch(at address: UInt) {
        expectedBlock = Int(address - hostBase) / blockBytes
        window = max(1, SharedRange.windowBytesMax / blockBytes)
    }

    private func blocks(of addresses: Range<UInt>) -> Range<Int> {
        let clamped = addresses.clamped(to: hostBase..<hostEnd)
        guard !clamped.isEmpty else { return 0..<0 }
        return Int(clamped.lowerBound - hostBase) / blockBytes..<(Int(clamped.upperBound - hostBase) + blockBytes - 1)
            / blockBytes
    }

    /// The bytes of blocks that are ours.
    private func bytes(of blocks: Range<Int>) -> [Range<Int>] {
        let whole = blocks.lowerBound * blockBytes..<min(byteCount, blocks.upperBound * blockBytes)
        return parts.map { $0.clamped(to: whole) }.filter { !$0.isEmpty }
    }

    /// False when the application's access could not be set.
    private func set(_ blocks: Range<Int>, _ state: BlockState) -> Bool {
        for block in blocks {
            blocksElsewhere += (state == .device ? 0 : 1) - (states[block] == .device ? 0 : 1)
            states[block] = state
        }
        return protect(blocks, state)
    }

    private func protect(_ blocks: Range<Int>, _ state: BlockState) -> Bool {
        let start = blocks.lowerBound * blockBytes
        let end = min(byteCount, blocks.upperBound * blockBytes)
        guard start < end, let address = UnsafeMutableRawPointer(bitPattern: hostBase + UInt(start)) else {
            return true
        }
        return mprotect(address, end - start, state.protection) == 0
    }
}

/// What `cuMemAdvise` and `cuMemPrefetchAsync` have set.
struct MemoryAdvice {
    /// CU_DEVICE_INVALID.
    static let nowhere: Int32 = -2

    var isReadMostly = false
    /// A device, -1 for the host.
    var preferredLocation = nowhere
    var lastPrefetchLocation = nowhere
    var accessedBy: Set<Int32> = []
}
