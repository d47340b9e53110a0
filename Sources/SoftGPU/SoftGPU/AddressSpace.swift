// SPDX-License-Identifier: Apache-2.0

/// Hands out pieces of a range of offsets.
///
/// It knows nothing of the memory behind them.
///
/// What was given back is used again for pieces of the same size; else fresh offsets are used; only when those have run
/// out are the gaps between the pieces searched.
struct AddressSpace {
    private let start: Int
    private let end: Int
    private var fresh: Int
    private var free: [Int: [Int]] = [:]
    private var taken: [Int: Int] = [:]

    init(_ range: Range<Int>) {
        start = range.lowerBound
        end = range.upperBound
        fresh = range.lowerBound
    }

    var isUnused: Bool { taken.isEmpty }

    /// Finds `byteCount` bytes, or returns nil.
    ///
    /// The alignment must depend on nothing but the size.
    mutating func take(_ byteCount: Int, alignment: Int) -> Int? {
        guard let offset = reused(byteCount) ?? untouched(byteCount, alignment) ?? gap(byteCount, alignment) else {
            return nil
        }
        taken[offset] = byteCount
        return offset
    }

    /// Takes a piece back and returns its size; nil when nothing begins at `offset`.
    mutating func giveBack(_ offset: Int) -> Int? {
        guard let byteCount = taken.removeValue(forKey: offset) else { return nil }
        free[byteCount, default: []].append(offset)
        return byteCount
    }

    private mutating func reused(_ byteCount: Int) -> Int? { free[byteCount]?.popLast() }

    private mutating func untouched(_ byteCount: Int, _ alignment: Int) -> Int? {
        let offset = fit(byteCount, alignment, from: fresh, to: end)
        if let offset { fresh = offset + byteCount }
        return offset
    }

    private mutating func gap(_ byteCount: Int, _ alignment: Int) -> Int? {
        // From here on the lists of free pieces would overlap with what is found between the taken ones.
        free.removeAll()
        fresh = end
        var gapStart = start
        for (offset, size) in taken.sorted(by: { $0.key < $1.key }) {
            if let found = fit(byteCount, alignment, from: gapStart, to: offset) { return found }
            gapStart = offset + size
        }
        return fit(byteCount, alignment, from: gapStart, to: end)
    }

    private func fit(_ byteCount: Int, _ alignment: Int, from low: Int, to high: Int) -> Int? {
        let offset = (low + alignment - 1) / alignment * alignment
        return byteCount <= high - offset ? offset : nil
    }
}
