// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSystem
import Driver
import Glibc
import Synchronization

/// Memory of a device without an address of its own.
///
/// It counts as used until nobody holds or maps it.
final class PhysicalMemory: Sendable {
    /// Sizes and addresses are multiples of it.
    static let granularityBytes = 2 << 20

    let file: SharedFile
    let device: Int
    let isExportable: Bool
    /// Where it counts; nil for memory of another process.
    private let memory: DeviceMemory?

    init(_ byteCount: Int, on device: Device, isExportable: Bool) throws(CUDAError) {
        guard device.memory.count(byteCount) else { throw .outOfMemory }
        do throws(CUDAError) {
            file = try SharedFile(.physicalMemory, byteCount: byteCount, device: device.ordinal)
        } catch {
            device.memory.uncount(byteCount)
            throw error
        }
        self.device = device.ordinal
        self.isExportable = isExportable
        memory = device.memory
    }

    init(importing handle: ShareableHandle) throws(CUDAError) {
        file = try SharedFile(opening: handle, .physicalMemory)
        device = file.device
        isExportable = true
        memory = nil
    }

    deinit { memory?.uncount(file.byteCount) }
}

/// Memory behind reserved addresses.
///
/// Work that is under way holds the mappings it touches; the pages go when nobody holds them any more.
final class Mapping: MemoryHolder {
    let address: UInt64
    let byteCount: Int
    let memory: PhysicalMemory
    /// The devices that may use it.
    let devices = Mutex<Set<Int>>([])

    init(_ memory: PhysicalMemory, at address: UInt64, byteCount: Int) throws(CUDAError) {
        self.memory = memory
        self.address = address
        self.byteCount = byteCount
        guard memory.file.map(at: address, byteCount: byteCount, access: PROT_NONE) else {
            throw CUDAError(CUDA_ERROR_MAP_FAILED)
        }
    }

    deinit { VirtualMemory.clear(address, byteCount) }

    /// Lets a device use it, or no longer; false if the process may not have it.
    func setAccess(_ device: Int, _ isAllowed: Bool) -> Bool {
        devices.withLock { devices in
            if isAllowed { devices.insert(device) } else { devices.remove(device) }
            // All devices are this process: what one may use is there for the others too.
            return mprotect(pointer(address), byteCount, devices.isEmpty ? PROT_NONE : PROT_READ | PROT_WRITE) == 0
        }
    }
}

/// Reserved addresses, and what is mapped there.
final class VirtualMemory: Sendable {
    /// Weak, so that a mapping goes with the last work that uses it.
    struct Ended {
        let address: UInt64
        let byteCount: Int
        weak var mapping: Mapping?
    }

    struct State {
        /// The bytes of each reservation by its address.
        var reservations: [UInt64: Int] = [:]
        var mappings: [UInt64: Mapping] = [:]
        /// Mappings that were taken away while work used them.
        var ended: [Ended] = []

        /// Whether a range lies in one reservation.
        func isReserved(_ address: UInt64, _ byteCount: Int) -> Bool {
            reservations.contains { base, size in
                address >= base && address - base <= UInt64(size) && byteCount <= size - Int(address - base)
            }
        }

        /// The mappings that touch a range, in order.
        func mappings(in address: UInt64, _ byteCount: Int) -> [Mapping] {
            let end = address + UInt64(byteCount)
            return mappings.values.filter { $0.address < end && $0.address + UInt64($0.byteCount) > address }
                .sorted { $0.address < $1.address }
        }

        /// Whether work still uses what was mapped in a range.
        mutating func isInUse(_ address: UInt64, _ byteCount: Int) -> Bool {
            ended.removeAll { $0.mapping == nil }
            let end = address + UInt64(byteCount)
            return ended.contains { $0.address < end && $0.address + UInt64($0.byteCount) > address }
        }
    }

    /// Where reservations begin if the process has nothing there: away from the devices' own ranges.
    private static let preferredBase: UInt64 = 0x2000_0000_0000
    /// Reservations at a time; each costs the process a mapping at least.
    static let reservationsMax = 4096
    static let mappingsMax = 16_384

    let state = Mutex(State())

    deinit {
        let reservations = state.withLock { state in
            state.mappings.removeAll()
            return state.reservations
        }
        for (address, byteCount) in reservations { munmap(pointer(address), byteCount) }
    }

    /// Takes addresses of the process, at a wished place if that is free; nil if there are none.
    static func reserve(_ byteCount: Int, alignment: Int, at wish: UInt64) -> UInt64? {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE
        let place = wish != 0 && wish % UInt64(alignment) == 0 ? wish : preferredBase
        let (padded, isTooLong) = byteCount.addingReportingOverflow(alignment)
        guard !isTooLong else { return nil }
        let exact = mmap(
            pointer(place), byteCount, PROT_NONE, flags | Int32(MAP_FIXED_NOREPLACE), -1, 0)
        if exact == pointer(place) { return place }
        if let exact, exact != MAP_FAILED { munmap(exact, byteCount) }
        guard let found = mmap(pointer(preferredBase), padded, PROT_NONE, flags, -1, 0), found != MAP_FAILED else {
            return nil
        }
        let start = UInt64(UInt(bitPattern: found))
        let address = (start + UInt64(alignment) - 1) / UInt64(alignment) * UInt64(alignment)
        if address > start { munmap(found, Int(address - start)) }
        let end = start + UInt64(padded)
        let rest = end - address - UInt64(byteCount)
        if rest > 0 { munmap(pointer(address + UInt64(byteCount)), Int(rest)) }
        return address
    }

    /// Takes pages and access away, and keeps the addresses.
    static func clear(_ address: UInt64, _ byteCount: Int) {
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED
        mmap(pointer(address), byteCount, PROT_NONE, flags, -1, 0)
    }
}
