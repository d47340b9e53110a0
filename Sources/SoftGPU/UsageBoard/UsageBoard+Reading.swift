// SPDX-License-Identifier: Apache-2.0

/// What one process does on one device.
package struct BoardProcess: Sendable, Equatable {
    package var processID: UInt32
    package var usedBytes: UInt64
    /// Percent of the time in question in which a kernel of it ran.
    package var busyPercent: UInt32
}

extension UsageBoard {
    /// What is remembered of the past.
    package static let historyNanoseconds = (BoardLayout.pieces - 1) * BoardLayout.pieceNanoseconds

    /// The processes that have a context on a device, with how busy each kept it in the past `nanoseconds`.
    ///
    /// No more than ``historyNanoseconds``.
    package func processes(device: Int, past nanoseconds: UInt64) -> [BoardProcess] {
        guard 0..<UsageBoard.devicesMax ~= device else { return [] }
        let now = boardNanoseconds()
        let window = max(1, min(nanoseconds, UsageBoard.historyNanoseconds, now))
        return takenSlots.compactMap { slot in
            let part = BoardLayout.device(device, slot: slot)
            guard load(part + BoardLayout.contexts) > 0 else { return nil }
            let busy = min(window, busyNanoseconds(of: part, from: now - window, to: now))
            return BoardProcess(
                processID: UInt32(truncatingIfNeeded: load(BoardLayout.slot(slot) + BoardLayout.processID)),
                usedBytes: load(part + BoardLayout.usedBytes),
                busyPercent: UInt32((busy * 100 + window / 2) / window))
        }
    }

    /// How long kernels ran between two moments, of which the later one is now.
    private func busyNanoseconds(of part: Int, from start: UInt64, to now: UInt64) -> UInt64 {
        let length = BoardLayout.pieceNanoseconds
        let since = load(part + BoardLayout.busySince)
        var busy = since == 0 ? 0 : now - min(now, max(since, start))
        for piece in start / length...now / length {
            let word = load(BoardLayout.piece(piece, of: part))
            guard word >> 32 == UInt64(UInt32(truncatingIfNeeded: piece)) else { continue }
            let elapsed = min(now, (piece + 1) * length) - piece * length
            let inside = min(now, (piece + 1) * length) - max(start, piece * length)
            // Of the oldest piece only a part lies inside; when in it the kernels ran is not remembered.
            busy += elapsed == 0 ? 0 : min(word & 0xFFFF_FFFF, elapsed) * inside / elapsed
        }
        return busy
    }
}
