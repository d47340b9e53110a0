// SPDX-License-Identifier: Apache-2.0
import CSystem
import Glibc
import Synchronization

/// The memory that a client and a worker of one machine share: a ring of bytes in each direction, and how far each side
/// is in them.
///
/// The file's size is sealed, so that neither side can take the memory away from under the other. Everything in it may
/// change at any moment: each side keeps its own positions to itself, and reads the other's once and checks them.
final class SharedMemory: @unchecked Sendable {
    // SAFETY: the mapping lives as long as this object; what the two sides do in it is ordered by the rings' positions.

    /// Bytes in each direction.
    ///
    /// As much as stays in a core's second-level cache beside other things; a copy's frame takes an eighth.
    static let ringBytes = 1 << 20
    /// The largest page of a Linux system, so that the rings begin on one.
    private static let headBytes = 64 << 10
    private static let byteCount = headBytes + 2 * ringBytes

    private let base: UnsafeMutableRawPointer

    /// Makes the memory, and the file that is passed to the other side, which the caller closes.
    ///
    /// nil when the system refuses.
    static func make() -> (memory: SharedMemory, descriptor: Int32)? {
        let descriptor = csystem_sealed_memory_file("bitfusion rings", byteCount)
        guard descriptor >= 0 else { return nil }
        guard let memory = SharedMemory(descriptor) else {
            close(descriptor)
            return nil
        }
        return (memory, descriptor)
    }

    /// Maps what the other side has made; nil when it is not a file of this kind, sealed and of the right size.
    init?(_ descriptor: Int32) {
        guard csystem_sealed_size(descriptor) == SharedMemory.byteCount,
            let base = csystem_map_rings(descriptor, SharedMemory.headBytes, SharedMemory.ringBytes, 2)
        else { return nil }
        self.base = base
    }

    deinit { munmap(base, SharedMemory.headBytes + 4 * SharedMemory.ringBytes) }

    enum Direction: Int {
        case commands = 0
        case replies = 1
    }

    /// A direction's words, each in a cache line of its own, and its bytes.
    func ring(_ direction: Direction) -> Ring {
        let words = base + direction.rawValue * 1024
        return Ring(
            written: (words + 0).assumingMemoryBound(to: Atomic<UInt64>.self),
            read: (words + 128).assumingMemoryBound(to: Atomic<UInt64>.self),
            readerSleeps: (words + 256).assumingMemoryBound(to: Atomic<UInt32>.self),
            writerWaits: (words + 384).assumingMemoryBound(to: Atomic<UInt32>.self),
            room: (words + 512).assumingMemoryBound(to: Atomic<UInt32>.self),
            bytes: base + SharedMemory.headBytes + direction.rawValue * 2 * SharedMemory.ringBytes)
    }

    /// SAFETY: valid while the memory lives.
    struct Ring: @unchecked Sendable {
        /// Bytes that have ever been written.
        let written: UnsafeMutablePointer<Atomic<UInt64>>
        /// Bytes that have ever been read.
        let read: UnsafeMutablePointer<Atomic<UInt64>>
        /// 1 when the reader wants to be rung.
        let readerSleeps: UnsafeMutablePointer<Atomic<UInt32>>
        /// 1 when the writer waits for ``room`` to change.
        let writerWaits: UnsafeMutablePointer<Atomic<UInt32>>
        let room: UnsafeMutablePointer<Atomic<UInt32>>
        /// Mapped twice, one behind the other.
        let bytes: UnsafeMutableRawPointer
    }
}

/// The writing end of a ring.
struct RingWriter: ~Copyable {
    private let ring: SharedMemory.Ring
    /// How far this side is; what the shared word says is not believed.
    private var written: UInt64 = 0
    private var published: UInt64 = 0

    init(_ ring: SharedMemory.Ring) { self.ring = ring }

    /// Bytes that fit now.
    ///
    /// nil when the other side has written nonsense.
    var room: Int? {
        let used = published &- ring.read.pointee.load(ordering: .acquiring)
        guard used <= SharedMemory.ringBytes else { return nil }
        return SharedMemory.ringBytes - Int(used) - Int(written - published)
    }

    /// Where the next bytes go, in one piece.
    var place: UnsafeMutableRawPointer { ring.bytes + Int(written % UInt64(SharedMemory.ringBytes)) }

    /// Takes bytes that have been written at ``place`` as the next.
    mutating func advance(_ count: Int) { written += UInt64(count) }

    /// Adds bytes for which there is room.
    mutating func append(_ bytes: UnsafeRawBufferPointer) {
        guard let source = bytes.baseAddress else { return }
        csystem_copy(place, source, bytes.count)
        advance(bytes.count)
    }

    /// Shows the other side what has been added; true when it sleeps and must be rung.
    mutating func publish() -> Bool {
        ring.written.pointee.store(written, ordering: .releasing)
        published = written
        // The reader first says that it sleeps and then looks once more: one of the two sees the other.
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard ring.readerSleeps.pointee.load(ordering: .relaxed) != 0 else { return false }
        return ring.readerSleeps.pointee.exchange(0, ordering: .relaxed) != 0
    }

    /// Sleeps until there may be more room, at most so long.
    func waitForRoom(beyond count: Int, nanoseconds: Int) {
        let seen = ring.room.pointee.load(ordering: .acquiring)
        ring.writerWaits.pointee.store(1, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard let room, room <= count else { return }
        csystem_futex_wait(ring.room, seen, nanoseconds)
    }
}

/// The reading end of a ring.
struct RingReader: ~Copyable {
    private let ring: SharedMemory.Ring
    private var read: UInt64 = 0

    init(_ ring: SharedMemory.Ring) { self.ring = ring }

    /// Bytes that can be read.
    ///
    /// nil when the other side has written nonsense.
    var available: Int? {
        let count = ring.written.pointee.load(ordering: .acquiring) &- read
        return count <= SharedMemory.ringBytes ? Int(count) : nil
    }

    /// The next bytes, in one piece.
    ///
    /// The other side may change them at any time.
    var place: UnsafeRawPointer { UnsafeRawPointer(ring.bytes + Int(read % UInt64(SharedMemory.ringBytes))) }

    /// Gives bytes back to the writer.
    mutating func consume(_ count: Int) {
        read += UInt64(count)
        ring.read.pointee.store(read, ordering: .releasing)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
        guard ring.writerWaits.pointee.load(ordering: .relaxed) != 0,
            ring.writerWaits.pointee.exchange(0, ordering: .relaxed) != 0
        else { return }
        ring.room.pointee.add(1, ordering: .releasing)
        csystem_futex_wake(ring.room)
    }

    /// Says that this side is about to sleep; whoever says so looks once more before it does.
    func announceSleep() {
        ring.readerSleeps.pointee.store(1, ordering: .relaxed)
        atomicMemoryFence(ordering: .sequentiallyConsistent)
    }

    func announceWaking() { ring.readerSleeps.pointee.store(0, ordering: .relaxed) }
}
