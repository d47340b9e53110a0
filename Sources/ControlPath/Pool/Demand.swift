// SPDX-License-Identifier: Apache-2.0

/// What a client asks for: so many GPUs of one server, and how much memory of each.
package struct Demand: Sendable, Equatable {
    package enum Memory: Sendable, Equatable {
        /// The GPU, and nobody else on it.
        case whole
        case mebibytes(Int)
        /// More than 0 and at most 1, of the chosen GPU that has the least memory; rounded down to MiB.
        case share(Double)
    }

    /// More than any server has.
    package static let gpuCountMax = 1024

    package var gpuCount: Int
    package var memory: Memory

    /// nil unless the numbers are in their ranges.
    package init?(gpuCount: Int, memory: Memory) {
        guard 1...Demand.gpuCountMax ~= gpuCount else { return nil }
        switch memory {
        case .whole: break
        case .mebibytes(let count): guard count > 0 else { return nil }
        case .share(let share): guard share > 0, share <= 1 else { return nil }
        }
        self.gpuCount = gpuCount
        self.memory = memory
    }

    package var description: String {
        let gpus = gpuCount == 1 ? "1 GPU" : "\(gpuCount) GPUs"
        switch memory {
        case .whole: return gpus
        case .mebibytes(let count): return "\(gpus) with \(count) MiB"
        case .share(let share): return "\(gpus) with \(share) of the memory"
        }
    }
}
