// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Glibc
import Synchronization
import UsageBoard

/// A piece of device memory: a whole number of pages, as a rule with an unmapped page after it.
///
/// Work that is under way holds the allocations it touches; the pages go back when nobody holds them any more, so that
/// a copy that was enqueued before a free never reads or writes memory of somebody else.
final class Allocation: Sendable {
    let address: UInt64
    /// Bytes that are mapped, a multiple of the page size.
    let mappedBytes: Int
    /// Whether it lies in a chunk with others, without a page between them.
    private let isPacked: Bool
    private let memory: DeviceMemory
    /// The file behind the pages, once other processes may map them; or another process's, whose memory this is.
    private let file: Mutex<SharedFile?>
    private let isImported: Bool
    /// Whether a handle of it has been given out.
    private let isExported = Atomic(false)

    fileprivate init(
        address: UInt64, mappedBytes: Int, isPacked: Bool, memory: DeviceMemory, file shared: SharedFile? = nil,
        isImported: Bool = false
    ) {
        self.address = address
        self.mappedBytes = mappedBytes
        self.isPacked = isPacked
        self.memory = memory
        file = Mutex(shared)
        self.isImported = isImported
    }

    /// The handle of memory that was allocated for other processes too; nil for other memory.
    func export() -> ShareableHandle? {
        guard !isImported, let file = file.withLock({ $0 }) else { return nil }
        isExported.store(true, ordering: .relaxed)
        return file.handle
    }

    var hasBeenExported: Bool { isExported.load(ordering: .relaxed) }

    deinit {
        guard isPacked else {
            return memory.unmap(address, byteCount: mappedBytes, countedBytes: isImported ? 0 : mappedBytes)
        }
        if file.withLock({ $0 != nil }) { memory.makePrivate(address, byteCount: mappedBytes) }
        memory.unpack(address)
    }

    /// Puts a file behind the pages, which keep what is in them.
    ///
    /// Nothing may be writing to them meanwhile.
    func share(byteCount: Int, device: Int) throws(CUDAError) -> SharedFile {
        try file.withLock { file throws(CUDAError) in
            if let file { return file }
            let made = try SharedFile(.memory, byteCount: byteCount, device: device)
            guard made.mappedBytes == mappedBytes, made.take(from: address),
                made.map(at: address, byteCount: mappedBytes)
            else { throw .outOfMemory }
            file = made
            return made
        }
    }
}

/// A device address as a pointer.
///
/// The caller has checked that it lies in an allocation, and holds that.
func pointer(_ address: UInt64) -> UnsafeMutableRawPointer {
    // SAFETY: a device address of the software GPU is an address of this process, and no allocation contains 0.
    UnsafeMutableRawPointer(bitPattern: UInt(address)).unsafelyUnwrapped
}

/// The memory of one device: an address range reserved without access, in which allocations are mapped page by page.
///
/// At least one page between two allocations stays without access, so that a stray access faults. What is given back
/// is given back to the system at once. Each such allocation costs the process two mappings, of which Linux allows
/// 65,530 (vm.max_map_count); where a program makes very many, further small ones are packed into chunks.
final class DeviceMemory: Sendable {
    static let pageBytes = 4096
    /// From this size on an allocation begins on a huge page.
    static let hugePageBytes = 2 << 20
    /// Allocations up to this size are small.
    static let smallBytesMax = 256 << 10
    /// Allocations of one process with pages of their own.
    ///
    /// It needs mappings for other things than device memory too.
    static let guardedMax = 24_000
    /// From this number of allocations on, small ones are packed.
    static let guardedSmallMax = 6_000
    /// Chunks that are looked at before another is made.
    static let chunksTriedMax = 8
    /// Where the first device's range begins if the process has nothing there, far from where allocators work.
    static let preferredBase: UInt64 = 0x3000_0000_0000
    /// Addresses between the first devices' ranges, and the most that a range has.
    static let rangeBytes = 1 << 40
    /// A range is so many times as large as the memory, so that addresses are seldom used twice; a process that makes
    /// many devices does not run out of them.
    static let rangePerMemory = 64

    let totalBytes: Int
    let base: UInt64
    private let rangeBytes: Int
    /// What was reserved, of which the range is the part that begins on a huge page.
    private let reservation: (base: UInt64, byteCount: Int)
    /// The devices that share the process's mappings.
    private let deviceCount: Int
    /// Whom it is told how much is used.
    private let usage: DeviceUsage?
    private let state: Mutex<State>

    private struct State {
        var usedBytes = 0
        var guardedCount = 0
        var space: AddressSpace
        /// By their huge page.
        var chunks: [UInt64: Chunk] = [:]
        /// The chunks that have room.
        var roomy: Set<UInt64> = []

        /// Takes room in a chunk, as an offset in it.
        mutating func take(_ byteCount: Int, in chunk: UInt64) -> Int? {
            guard let offset = chunks[chunk]?.space.take(byteCount, alignment: DeviceMemory.pageBytes) else {
                return nil
            }
            chunks[chunk]?.freeBytes -= byteCount
            if chunks[chunk]?.freeBytes == 0 { roomy.remove(chunk) }
            return offset
        }
    }

    /// A huge page that holds small allocations side by side.
    private struct Chunk {
        let pages: Allocation
        var space = AddressSpace(0..<DeviceMemory.hugePageBytes)
        var freeBytes = DeviceMemory.hugePageBytes
    }

    /// Reserves addresses; nil when the process may not have as many.
    init?(ordinal: Int, totalBytes: Int, deviceCount: Int = 1, usage: DeviceUsage? = nil) {
        let preferred = Self.preferredBase + UInt64(ordinal) * UInt64(Self.rangeBytes)
        let smallest = totalBytes * 2 + Self.hugePageBytes
        let wanted = min(Self.rangeBytes, max(smallest, totalBytes * Self.rangePerMemory))
        guard
            let reservation = Self.reserve(at: preferred, byteCount: wanted)
                ?? Self.reserve(at: preferred, byteCount: smallest)
        else { return nil }
        let huge = UInt64(Self.hugePageBytes)
        self.totalBytes = totalBytes
        self.deviceCount = deviceCount
        self.usage = usage
        self.reservation = reservation
        base = (reservation.base + huge - 1) / huge * huge
        rangeBytes = reservation.byteCount - Int(base - reservation.base)
        // The first page stays without access, as the guard page before the first allocation.
        state = Mutex(State(space: AddressSpace(Self.pageBytes..<rangeBytes)))
    }

    deinit { munmap(pointer(reservation.base), reservation.byteCount) }

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

    /// Counts memory that is not in the range; false when the device has no more.
    func count(_ byteCount: Int) -> Bool {
        state.withLock { state in
            guard byteCount <= totalBytes - state.usedBytes else { return false }
            state.usedBytes += byteCount
            usage?.setUsedBytes(state.usedBytes)
            return true
        }
    }

    func uncount(_ byteCount: Int) {
        state.withLock { state in
            state.usedBytes -= byteCount
            usage?.setUsedBytes(state.usedBytes)
        }
    }

    func contains(_ address: UInt64) -> Bool { address >= base && address - base < UInt64(rangeBytes) }

    var usedBytes: Int { state.withLock { $0.usedBytes } }
    var freeBytes: Int { totalBytes - usedBytes }

    /// Maps at least `byteCount` bytes.
    ///
    /// CUDA_ERROR_OUT_OF_MEMORY when the device has no more.
    func allocate(_ byteCount: Int) throws(CUDAError) -> Allocation {
        guard byteCount > 0 else { throw .invalidValue }
        guard byteCount <= totalBytes else { throw .outOfMemory }
        let bytes = Self.mappedBytes(for: byteCount)
        let isCrowded = state.withLock { $0.guardedCount >= Self.guardedSmallMax / deviceCount }
        return try isCrowded && bytes <= Self.smallBytesMax ? allocatePacked(bytes) : allocateGuarded(bytes)
    }

    private func allocateGuarded(_ bytes: Int) throws(CUDAError) -> Allocation {
        let isHuge = bytes >= Self.hugePageBytes
        let offset = state.withLock { state -> Int? in
            guard bytes <= totalBytes - state.usedBytes, state.guardedCount < Self.guardedMax / deviceCount else {
                return nil
            }
            let alignment = isHuge ? Self.hugePageBytes : Self.pageBytes
            guard let offset = state.space.take(bytes + Self.pageBytes, alignment: alignment) else { return nil }
            state.usedBytes += bytes
            usage?.setUsedBytes(state.usedBytes)
            state.guardedCount += 1
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
        return Allocation(address: address, mappedBytes: bytes, isPacked: false, memory: self)
    }

    private func allocatePacked(_ bytes: Int) throws(CUDAError) -> Allocation {
        if let address = pack(bytes) {
            return Allocation(address: address, mappedBytes: bytes, isPacked: true, memory: self)
        }
        let pages = try allocateGuarded(Self.hugePageBytes)
        let address = state.withLock { state -> UInt64? in
            let key = Self.hugePage(of: pages.address)
            state.chunks[key] = Chunk(pages: pages)
            state.roomy.insert(key)
            return state.take(bytes, in: key).map { pages.address + UInt64($0) }
        }
        guard let address else { throw .outOfMemory }
        return Allocation(address: address, mappedBytes: bytes, isPacked: true, memory: self)
    }

    /// Finds room in a chunk.
    ///
    /// Memory that was used before is cleared, as fresh pages are.
    private func pack(_ bytes: Int) -> UInt64? {
        let address = state.withLock { state -> UInt64? in
            for key in state.roomy.prefix(Self.chunksTriedMax) {
                guard let offset = state.take(bytes, in: key) else { continue }
                return key * UInt64(Self.hugePageBytes) + UInt64(offset)
            }
            return nil
        }
        if let address { memset(pointer(address), 0, bytes) }
        return address
    }

    /// Allocates memory that other processes can map from its beginning on.
    func allocateShared(_ byteCount: Int, device: Int, family: UInt64) throws(CUDAError) -> Allocation {
        let bytes = Self.mappedBytes(for: byteCount)
        guard count(bytes) else { throw .outOfMemory }
        do throws(CUDAError) {
            let file = try SharedFile(.poolMemory, byteCount: bytes, device: device, family: family)
            return try map(file, isImported: false)
        } catch {
            uncount(bytes)
            throw error.code == CUDA_ERROR_MAP_FAILED ? .outOfMemory : error
        }
    }

    /// Maps another process's memory.
    ///
    /// It counts where it was allocated.
    func map(_ file: SharedFile) throws(CUDAError) -> Allocation { try map(file, isImported: true) }

    private func map(_ file: SharedFile, isImported: Bool) throws(CUDAError) -> Allocation {
        let bytes = file.mappedBytes
        let isHuge = bytes >= Self.hugePageBytes
        let offset = state.withLock { state -> Int? in
            guard state.guardedCount < Self.guardedMax / deviceCount else { return nil }
            let alignment = isHuge ? Self.hugePageBytes : Self.pageBytes
            guard let offset = state.space.take(bytes + Self.pageBytes, alignment: alignment) else { return nil }
            state.guardedCount += 1
            return offset
        }
        guard let offset else { throw .outOfMemory }
        let address = base + UInt64(offset)
        guard file.map(at: address, byteCount: bytes) else {
            giveBack(address, byteCount: 0)
            throw CUDAError(CUDA_ERROR_MAP_FAILED)
        }
        return Allocation(
            address: address, mappedBytes: bytes, isPacked: false, memory: self, file: file, isImported: isImported)
    }

    /// Puts pages of this process alone where shared ones were.
    fileprivate func makePrivate(_ address: UInt64, byteCount: Int) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        mmap(pointer(address), byteCount, PROT_READ | PROT_WRITE, flags, -1, 0)
    }

    /// Ends a packed allocation; a chunk goes with its last one.
    fileprivate func unpack(_ address: UInt64) {
        let key = Self.hugePage(of: address)
        let emptied = state.withLock { state -> Chunk? in
            let offset = Int(address % UInt64(Self.hugePageBytes))
            let byteCount = state.chunks[key]?.space.giveBack(offset) ?? 0
            state.chunks[key]?.freeBytes += byteCount
            guard state.chunks[key]?.space.isUnused == true else {
                state.roomy.insert(key)
                return nil
            }
            state.roomy.remove(key)
            return state.chunks.removeValue(forKey: key)
        }
        // Its pages are unmapped here, after the lock.
        withExtendedLifetime(emptied) {}
    }

    private static func hugePage(of address: UInt64) -> UInt64 { address / UInt64(hugePageBytes) }

    /// What an allocation of `byteCount` bytes takes from the device.
    static func mappedBytes(for byteCount: Int) -> Int { (byteCount + pageBytes - 1) / pageBytes * pageBytes }

    fileprivate func unmap(_ address: UInt64, byteCount: Int, countedBytes: Int) {
        // Mapping afresh drops the pages and the access in one step.
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        if mmap(pointer(address), byteCount, PROT_NONE, flags, -1, 0) == MAP_FAILED {
            madvise(pointer(address), byteCount, MADV_DONTNEED)
            mprotect(pointer(address), byteCount, PROT_NONE)
        }
        giveBack(address, byteCount: countedBytes)
    }

    private func giveBack(_ address: UInt64, byteCount: Int) {
        state.withLock { state in
            state.usedBytes -= byteCount
            usage?.setUsedBytes(state.usedBytes)
            state.guardedCount -= 1
            _ = state.space.giveBack(Int(address - base))
        }
    }
}
