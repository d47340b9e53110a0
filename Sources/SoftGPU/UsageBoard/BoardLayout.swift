// SPDX-License-Identifier: Apache-2.0

/// What lies where on a ``UsageBoard``: 64-bit words of this machine, a header and then a slot for each process.
///
/// A change of anything here changes the version in ``magicValue``.
enum BoardLayout {
    /// "BFUSAG" and the version, 1.
    static let magicValue: UInt64 = 0x0001_4741_5355_4642

    // The header, in bytes from the beginning.
    static let magic = 0
    /// One more than the highest slot that has been taken: readers look no further.
    static let slotsEnd = 8
    private static let headerBytes = 64

    // A slot, in bytes from its beginning. Written by its process.
    static let processID = 0
    private static let slotHeaderBytes = 64

    // A device of a slot.
    static let usedBytes = 0
    static let contexts = 8
    /// When the kernels that run now began; 0 while none does.
    static let busySince = 16
    private static let history = 24

    /// Time is counted in pieces of so many nanoseconds.
    static let pieceNanoseconds: UInt64 = 100_000_000
    /// So many pieces are remembered.
    static let pieces: UInt64 = 32
    /// Whole cache lines, so that devices do not disturb each other.
    private static let deviceBytes = (history + Int(pieces) * 8 + 63) / 64 * 64
    private static let slotBytes = slotHeaderBytes + UsageBoard.devicesMax * deviceBytes

    /// Most of it is never touched, and takes no memory.
    static let byteCount = headerBytes + UsageBoard.slotsMax * slotBytes

    static func slot(_ number: Int) -> Int { headerBytes + number * slotBytes }

    static func device(_ device: Int, slot number: Int) -> Int {
        slot(number) + slotHeaderBytes + device * deviceBytes
    }

    /// The word of a piece of time, in a device's part: its number in the high half, busy nanoseconds in the low one.
    static func piece(_ number: UInt64, of device: Int) -> Int { device + history + Int(number % pieces) * 8 }
}
