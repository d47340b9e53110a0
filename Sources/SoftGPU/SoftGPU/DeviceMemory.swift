// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization

/// A piece of device memory: a whole number of pages, with an unmapped page after it.
///
/// Work that is under way holds the allocations it touches; the pages go back when nobody holds them any more, so that
/// a copy that was enqueued before a free never reads or writes memory of somebody else.
final class Allocation: Sendable {
    let address: UInt64
    /// Bytes that are mapped, a multiple of the page size.
    let mappedBytes: Int
    private let memory: DeviceMemory

    fileprivate init(address: UInt64, mappedBytes: Int, memory: DeviceMemory) {
        self.address = address
        self.mappedBytes = mappedBytes
        self.memory = memory
    }

    deinit { memory.unmap(address, byteCount: mappedBytes) }
}

/// A device address as a pointer. The caller has checked that it lies in an allocation, and holds that.
func pointer(_ address: UInt64) -> UnsafeMutableRawPointer {
    // SAFETY: a device address of the software GPU is an address of this process, and no allocation contains 0.
    UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
}

/// The memory of one device: an address range reserved without access, in which allocations are mapped page by page.
///
/// At least one page between two allocations stays without access, so that a stray access faults. What is given back
/// is given back to the system at once. Each allocation costs the process two mappings, of which Linux allows 65,530.
final class DeviceMemory: Sendable {
    static let pageBytes = 4096
    /// From this size on an allocation begins on a huge page.
    static let hugePageBytes = 2 << 20
    /// Where the first device's range begins if the process has nothing there, far from where allocators work.
    static let preferredBase: UInt64 = 0x3000_0000_0000
    /// Addresses per device: much more than memory, so that addresses are seldom used twice.
    static let rangeBytes = 1 << 40

    let totalBytes: Int
    let base: UInt64
    private let rangeBytes: Int
    private let state: Mutex<State>

    private struct State {
        var usedBytes = 0
        var space: AddressSpace
    }

    /// Reserves addresses; nil when the process may not have as many.
    init?(ordinal: Int, totalBytes: Int) {
        let preferred = Self.preferredBase + UInt64(ordinal) * UInt64(Self.rangeBytes)
        let smallest = totalBytes * 2 + Self.hugePageBytes
        guard
            let (base, rangeBytes) = Self.reserve(at: preferred, byteCount: Self.rangeBytes)
                ?? Self.reserve(at: preferred, byteCount: smallest)
        else { return nil }
        self.totalBytes = totalBytes
        self.base = base
        self.rangeBytes = rangeBytes
        // The first page stays without access, as the guard page before the first allocation.
        state = Mutex(State(space: AddressSpace(Self.pageBytes..<rangeBytes)))
    }

    deinit { munmap(pointer(base), rangeBytes) }

    private static func reserve(at address: UInt64, byteCount: Int) -> (base: UInt64, byteCount: Int)? {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        // The kernel takes the wish when these addresses are free, and other addresses otherwise.
        guard let base = mmap(pointer(address), byteCount, PROT_NONE, flags, -1, 0), base != MAP_FAILED else {
            return nil
        }
        // Device memory would make a core dump as large as the device.
        madvise(base, byteCount, MADV_DONTDUMP)
        return (UInt64(UInt(bitPattern: base)), byteCount)
    }

    func contains(_ address: UInt64) -> Bool { address >= base && address - base < UInt64(rangeBytes) }

    var usedBytes: Int { state.withLock { $0.usedBytes } }
    var freeBytes: Int { totalBytes - usedBytes }

    /// Maps at least `byteCount` bytes. CUDA_ERROR_OUT_OF_MEMORY when the device has no more.
    func allocate(_ byteCount: Int) throws(CUDAError) -> Allocation {
        guard byteCount > 0 else { throw .invalidValue }
        guard byteCount <= totalBytes else { throw .outOfMemory }
        let bytes = Self.mappedBytes(for: byteCount)
        let isHuge = bytes >= Self.hugePageBytes
        let offset = state.withLock { state -> Int? in
            guard bytes <= totalBytes - state.usedBytes else { return nil }
            let alignment = isHuge ? Self.hugePageBytes : Self.pageBytes
            guard let offset = state.space.take(bytes + Self.pageBytes, alignment: alignment) else { return nil }
            state.usedBytes += bytes
            return offset
        }
        guard let offset else { throw .outOfMemory }
        let address = base + UInt64(offset)
        guard mprotect(pointer(address), bytes, PROT_READ | PROT_WRITE) == 0 else {
            // The process has no memory or no mappings left.
            giveBack(address, byteCount: bytes)
            throw .outOfMemory
        }
        if isHuge { madvise(pointer(address), bytes, MADV_HUGEPAGE) }
        return Allocation(address: address, mappedBytes: bytes, memory: self)
    }

    /// What an allocation of `byteCount` bytes takes from the device.
    static func mappedBytes(for byteCount: Int) -> Int { (byteCount + pageBytes - 1) / pageBytes * pageBytes }

    fileprivate func unmap(_ address: UInt64, byteCount: Int) {
        // Mapping afresh drops the pages and the access in one step.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        if mmap(pointer(address), byteCount, PROT_NONE, flags, -1, 0) == MAP_FAILED {
            madvise(pointer(address), byteCount, MADV_DONTNEED)
            mprotect(pointer(address), byteCount, PROT_NONE)
        }
        giveBack(address, byteCount: byteCount)
    }

    private func giveBack(_ address: UInt64, byteCount: Int) {
        state.withLock { state in
            state.usedBytes -= byteCount
            _ = state.space.giveBack(Int(address - base))
        }
    }
}
