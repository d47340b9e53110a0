// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// This process's slot on a ``UsageBoard``, with a part for each device.
package final class ProcessUsage: Sendable {
    package let devices: [DeviceUsage]

    /// Takes a slot; nil when the board is full, which leaves the process unmentioned and does no other harm.
    package init?(_ board: UsageBoard) {
        guard let slot = board.takeSlot() else { return nil }
        devices = (0..<UsageBoard.devicesMax).map { DeviceUsage(board, BoardLayout.device($0, slot: slot)) }
    }
}

/// What this process does on one device.
///
/// The time in which at least one kernel runs is busy, whether one runs or several. The clock is read when the first
/// one begins and when the last one ends, no more.
package final class DeviceUsage: Sendable {
    private struct Kernels {
        var running = 0
        var since: UInt64 = 0
    }

    private let board: UsageBoard
    private let part: Int
    private let kernels = Mutex(Kernels())
    private let contextCount = Atomic(0)

    init(_ board: UsageBoard, _ part: Int) {
        self.board = board
        self.part = part
    }

    /// Kernels run on some stream from now on.
    package func begin() {
        kernels.withLock { kernels in
            kernels.running += 1
            guard kernels.running == 1 else { return }
            kernels.since = boardNanoseconds()
            board.store(part + BoardLayout.busySince, kernels.since)
        }
    }

    /// The kernels of that stream have ended.
    package func end() {
        kernels.withLock { kernels in
            kernels.running -= 1
            guard kernels.running == 0 else { return }
            add(from: kernels.since, to: boardNanoseconds())
            board.store(part + BoardLayout.busySince, 0)
        }
    }

    /// Counts a busy time in the pieces of time that it falls into and that are remembered.
    private func add(from start: UInt64, to end: UInt64) {
        let length = BoardLayout.pieceNanoseconds
        let last = end / length
        let first = max(start / length, last - min(last, BoardLayout.pieces - 1))
        for piece in first...last {
            let inside = min(end, (piece + 1) * length) - max(start, piece * length)
            let offset = BoardLayout.piece(piece, of: part)
            let tag = UInt64(UInt32(truncatingIfNeeded: piece)) << 32
            let before = board.load(offset)
            let busy = before & ~0xFFFF_FFFF == tag ? before & 0xFFFF_FFFF : 0
            board.store(offset, tag | min(busy + inside, length))
        }
    }

    package func setUsedBytes(_ byteCount: Int) { board.store(part + BoardLayout.usedBytes, UInt64(byteCount)) }

    /// Says that there is a context more, or one less.
    package func addContexts(_ difference: Int) {
        let count = contextCount.add(difference, ordering: .relaxed).newValue
        board.store(part + BoardLayout.contexts, UInt64(max(0, count)))
    }
}
