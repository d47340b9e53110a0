// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Glibc
import Synchronization

/// Address ranges of device memory that is outside this process, kept free of host memory here, so that an address
/// alone tells what it is.
///
/// Ranges are reserved in chunks, without access and without memory behind them. Those of freed memory stay reserved
/// for a while, because drivers like to use the same addresses again.
final class AddressReservations: Sendable {
    /// The step in which drivers place allocations.
    static let chunkBytes: UInt64 = 2 << 20
    /// Chunks that stay reserved without an allocation in them: 2 GiB of addresses.
    static let idleChunksMax = 1024

    private struct State {
        /// How many allocations lie in each reserved chunk.
        var uses: [UInt64: Int] = [:]
        /// Reserved chunks without any.
        var idle: Set<UInt64> = []
    }

    private let state = Mutex(State())

    /// Reserves the chunks of a range.
    ///
    /// False, with nothing reserved, if one of them has host memory.
    func reserve(_ base: CUdeviceptr, _ byteCount: Int) -> Bool {
        state.withLock { state in
            let chunks = Self.chunks(base, byteCount)
            var chunk = chunks.lowerBound
            var taken: [Range<UInt64>] = []
            while chunk < chunks.upperBound {
                let first = chunk
                while chunk < chunks.upperBound, state.uses[chunk] == nil, !state.idle.contains(chunk) { chunk += 1 }
                guard first < chunk else {
                    chunk += 1
                    continue
                }
                guard Self.map(first..<chunk) else {
                    for range in taken { Self.unmap(range) }
                    return false
                }
                taken.append(first..<chunk)
            }
            for chunk in chunks {
                state.uses[chunk, default: 0] += 1
                state.idle.remove(chunk)
            }
            return true
        }
    }

    /// Gives up the chunks of a range that no other allocation uses, at once or when there are many of them.
    func release(_ base: CUdeviceptr, _ byteCount: Int) {
        state.withLock { state in
            for chunk in Self.chunks(base, byteCount) {
                guard let count = state.uses[chunk] else { continue }
                state.uses[chunk] = count == 1 ? nil : count - 1
                if count == 1 { state.idle.insert(chunk) }
            }
            guard state.idle.count > Self.idleChunksMax else { return }
            Self.unmapAll(state.idle)
            state.idle.removeAll()
        }
    }

    /// Gives up chunks, those that follow each other together.
    private static func unmapAll(_ chunks: Set<UInt64>) {
        var run: Range<UInt64> = 0..<0
        for chunk in chunks.sorted() {
            if chunk == run.upperBound {
                run = run.lowerBound..<chunk + 1
                continue
            }
            if !run.isEmpty { unmap(run) }
            run = chunk..<chunk + 1
        }
        if !run.isEmpty { unmap(run) }
    }

    private static func chunks(_ base: CUdeviceptr, _ byteCount: Int) -> Range<UInt64> {
        base / chunkBytes..<(base + UInt64(byteCount) + chunkBytes - 1) / chunkBytes
    }

    private static func map(_ chunks: Range<UInt64>) -> Bool {
        guard let address = UnsafeMutableRawPointer(bitPattern: UInt(chunks.lowerBound * chunkBytes)) else {
            return false
        }
        let flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | Int32(MAP_FIXED_NOREPLACE)
        let byteCount = chunks.count * Int(chunkBytes)
        let mapped = mmap(address, byteCount, PROT_NONE, flags, -1, 0)
        if mapped == address { return true }
        // A kernel that does not know the flag takes the address as a wish.
        if let mapped, mapped != MAP_FAILED { munmap(mapped, byteCount) }
        return false
    }

    private static func unmap(_ chunks: Range<UInt64>) {
        guard let address = UnsafeMutableRawPointer(bitPattern: UInt(chunks.lowerBound * chunkBytes)) else { return }
        munmap(address, chunks.count * Int(chunkBytes))
    }
}
