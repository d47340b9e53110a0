// SPDX-License-Identifier: Apache-2.0
import Driver
import Glibc
import Synchronization

/// What the processes that share an event know of it: how often it has been recorded, and which of these points in the
/// streams have been reached.
final class SharedEvent: @unchecked Sendable {
    // SAFETY: the page is mapped as long as the object lives, and its words are touched by atomic operations only.
    private let base: UnsafeMutableRawPointer
    let file: SharedFile

    /// A new event of this process.
    convenience init() throws(CUDAError) {
        try self.init(SharedFile(.event, byteCount: SharedFile.pageBytes, device: 0))
    }

    convenience init(opening handle: ShareableHandle) throws(CUDAError) {
        try self.init(SharedFile(opening: handle, .event))
    }

    private init(_ file: SharedFile) throws(CUDAError) {
        let mapped = mmap(nil, SharedFile.pageBytes, PROT_READ | PROT_WRITE, MAP_SHARED, file.descriptor, 0)
        guard let mapped, mapped != MAP_FAILED else { throw .outOfMemory }
        base = mapped
        self.file = file
    }

    deinit { munmap(base, SharedFile.pageBytes) }

    private var recorded: UnsafeMutablePointer<Atomic<UInt64>> { base.assumingMemoryBound(to: Atomic<UInt64>.self) }
    private var reached: UnsafeMutablePointer<Atomic<UInt64>> {
        (base + 64).assumingMemoryBound(to: Atomic<UInt64>.self)
    }

    /// Begins a recording and returns its number.
    func record() -> UInt64 { recorded.pointee.add(1, ordering: .acquiringAndReleasing).newValue }

    /// The stream of a recording has come to it.
    func reach(_ number: UInt64) { _ = reached.pointee.max(number, ordering: .acquiringAndReleasing) }

    /// Whether the last recording has been reached.
    var isReached: Bool {
        reached.pointee.load(ordering: .acquiring) >= recorded.pointee.load(ordering: .acquiring)
    }

    /// The wait of a stream for the last recording.
    var wait: AwaitedValue {
        let wait = StreamMemoryOperation(
            .wait64, address: UInt64(UInt(bitPattern: base + 64)), value: recorded.pointee.load(ordering: .acquiring))
        return AwaitedValue(wait: wait, memory: self)
    }
}
