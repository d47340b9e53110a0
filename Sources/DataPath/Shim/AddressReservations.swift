// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Glibc
import Synchronization

/// Address ranges of device memory that is outside this process, kept free of host memory here, so that an address
/// alone tells what it is.
///
/// Ranges are reserved in chunks, without access and without memory behind them.
final class AddressReservations: Sendable {
    /// The step in which drivers place allocations.
    static let chunkBytes: UInt64 = 2 << 20

    /// How many allocations lie in each reserved chunk.
    private let uses = Mutex<[UInt64: Int]>([:])

    /// Reserves the chunks of a range.
    ///
    /// False, with nothing reserved, if one of them has host memory.
    func reserve(_ base: CUdeviceptr, _ byteCount: Int) -> Bool {
        uses.withLock { uses in
            let chunks = Self.chunks(base, byteCount)
            var chunk = chunks.lowerBound
            var taken: [Range<UInt64>] = []
            while chunk < chunks.upperBound {
                if uses[chunk] != nil {
                    chunk += 1
                    continue
                }
                let first = chunk
                while chunk < chunks.upperBound, uses[chunk] == nil { chunk += 1 }
                guard Self.map(first..<chunk) else {
                    for range in taken { Self.unmap(range) }
                    return false
                }
                taken.append(first..<chunk)
            }
            for chunk in chunks { uses[chunk, default: 0] += 1 }
            return true
        }
    }

    /// Gives up the chunks of a range that no other allocation uses.
    func release(_ base: CUdeviceptr, _ byteCount: Int) {
        uses.withLock { uses in
            for chunk in Self.chunks(base, byteCount) {
                guard let count = uses[chunk] else { continue }
                uses[chunk] = count == 1 ? nil : count - 1
                if count == 1 { Self.unmap(chunk..<chunk + 1) }
            }
        }
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
