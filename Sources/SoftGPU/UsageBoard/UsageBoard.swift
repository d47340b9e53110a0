// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Synchronization

/// What the processes that drive software GPUs say of themselves, in memory that they share.
///
/// It is what a driver in the kernel knows of real GPUs: which processes use them, how much memory, and how long their
/// kernels ran. Whoever starts the processes makes a board and names it in the environment. A process writes nothing
/// but its slot, and locks a byte of the file as long as it lives, so that what a killed one has left counts no more.
///
/// SAFETY: the mapping lives as long as this object, and the file's size is sealed, so that no access can fault. Every
/// word is touched by atomic operations only, by whatever process.
package final class UsageBoard: @unchecked Sendable {
    /// The environment's word for the board's file.
    package static let variable = "BITFUSION_SOFT_GPU_BOARD"
    /// Processes that drive the GPUs of one board: more than a machine has memory for.
    package static let slotsMax = 1024
    /// As many software GPUs as a process can have.
    package static let devicesMax = 64

    private let descriptor: Int32
    private let base: UnsafeMutableRawPointer

    /// Makes an empty board; nil when there is no memory for one.
    package init?() {
        let descriptor = csystem_sealed_memory_file("software GPUs", BoardLayout.byteCount)
        guard descriptor >= 0 else { return nil }
        guard let base = Self.map(descriptor) else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        self.base = base
        store(BoardLayout.magic, BoardLayout.magicValue)
    }

    /// Opens a board that another process, or this one, has made; nil when it is none.
    ///
    /// Each time it is opened counts as another process as far as locks are concerned.
    package init?(path: String) {
        let descriptor = open(path, O_RDWR | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        guard csystem_sealed_size(descriptor) == BoardLayout.byteCount, let base = Self.map(descriptor) else {
            close(descriptor)
            return nil
        }
        self.descriptor = descriptor
        self.base = base
        guard load(BoardLayout.magic) == BoardLayout.magicValue else { return nil }
    }

    /// The board that the environment names.
    package static func fromEnvironment() -> UsageBoard? {
        guard let path = getenv(variable) else { return nil }
        return UsageBoard(path: String(cString: path))
    }

    deinit {
        munmap(base, BoardLayout.byteCount)
        close(descriptor)
    }

    private static func map(_ descriptor: Int32) -> UnsafeMutableRawPointer? {
        let base = mmap(nil, BoardLayout.byteCount, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        return base == MAP_FAILED ? nil : base
    }

    /// Where other processes of the same user find it while this process lives.
    package var path: String { "/proc/\(getpid())/fd/\(descriptor)" }

    // MARK: Slots

    /// Takes a slot for this process until this object ends; nil when all are taken.
    func takeSlot() -> Int? {
        for number in 0..<UsageBoard.slotsMax where csystem_lock_byte(descriptor, number) == 0 {
            let start = BoardLayout.slot(number)
            if load(start + BoardLayout.processID) != 0 { clear(slot: number) }
            store(start + BoardLayout.processID, UInt64(getpid()))
            word(BoardLayout.slotsEnd).pointee.max(UInt64(number) + 1, ordering: .sequentiallyConsistent)
            return number
        }
        return nil
    }

    /// Forgets what a process has left that had the slot before.
    private func clear(slot number: Int) {
        for offset in stride(from: BoardLayout.slot(number), to: BoardLayout.slot(number + 1), by: 8)
        where load(offset) != 0 {
            store(offset, 0)
        }
    }

    /// The slots of processes that live.
    var takenSlots: [Int] {
        (0..<Int(min(load(BoardLayout.slotsEnd), UInt64(UsageBoard.slotsMax)))).filter {
            load(BoardLayout.slot($0) + BoardLayout.processID) != 0 && csystem_is_byte_locked(descriptor, $0)
        }
    }

    // MARK: Words

    func load(_ offset: Int) -> UInt64 { word(offset).pointee.load(ordering: .acquiring) }

    func store(_ offset: Int, _ value: UInt64) { word(offset).pointee.store(value, ordering: .releasing) }

    /// SAFETY: `BoardLayout` names aligned words inside of the mapping, which is touched in no other way.
    private func word(_ offset: Int) -> UnsafeMutablePointer<Atomic<UInt64>> {
        (base + offset).assumingMemoryBound(to: Atomic<UInt64>.self)
    }
}

/// Nanoseconds since an arbitrary start that is the same for all processes of the machine.
func boardNanoseconds() -> UInt64 {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
}
