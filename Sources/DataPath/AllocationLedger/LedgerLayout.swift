// SPDX-License-Identifier: Apache-2.0
import Synchronization

/// What lies where in an ``AllocationLedger``: 64-bit words of this machine, a header and then the slots.
///
/// A change of anything here changes the version in ``magicValue``, so that a worker of another release takes no other
/// meaning from it.
struct LedgerLayout: Sendable {
    /// "BFLEDG" and the version, 3.
    static let magicValue: UInt64 = 0x0003_4744_454C_4642

    // The header, in bytes from the beginning. Written by the dispatcher.
    static let magic = 0
    static let deviceCount = 8
    static let limit = 16
    /// One more than the highest slot that has been taken: readers look no further.
    static let slotsEnd = 24
    /// The activity of workers that have ended.
    static let endedActivity = 32
    static let headerBytes = 64

    // A slot, in bytes from its beginning. Written by its worker, and cleared by the dispatcher.
    static let processID = 0
    static let name = 8
    static let nameBytes = 16
    static let activity = 24
    static let isRunning = 32
    static let workerID = 40
    private static let devices = 48
    private static let bytesPerDevice = 24

    let deviceCount: Int
    /// Whole cache lines, so that workers do not disturb each other.
    let slotBytes: Int

    init(deviceCount: Int) {
        self.deviceCount = deviceCount
        slotBytes = (Self.devices + deviceCount * Self.bytesPerDevice + 63) / 64 * 64
    }

    var byteCount: Int { Self.headerBytes + AllocationLedger.slotsMax * slotBytes + Export.countMax * Self.exportBytes }

    // An export, in bytes from its beginning. Written by the worker that has claimed it, and cleared by the dispatcher.
    static let exportState = 0
    static let exportToken = 8
    static let exportKind = 24
    static let exportDevice = 32
    static let exportByteCount = 40
    static let exportHandle = 64
    static let exportBytes = exportHandle + Export.handleBytes

    func export(_ number: Int) -> Int {
        Self.headerBytes + AllocationLedger.slotsMax * slotBytes + number * Self.exportBytes
    }

    func slot(_ number: Int) -> Int { Self.headerBytes + number * slotBytes }

    /// Bytes that the slot's worker has on a device.
    func used(_ device: Int, slot number: Int) -> Int {
        slot(number) + Self.devices + device * Self.bytesPerDevice
    }

    /// Bytes that the slot's worker is about to take.
    func asked(_ device: Int, slot number: Int) -> Int { used(device, slot: number) + 8 }

    /// Contexts that the slot's worker has.
    func contexts(_ device: Int, slot number: Int) -> Int { used(device, slot: number) + 16 }
}

/// Why there is no ledger, in words.
package struct LedgerFailure: Error, Sendable, CustomStringConvertible {
    package let description: String

    init(_ reason: String) { description = reason }
    init(_ reason: String, _ code: Int32) { description = "\(reason): \(errorText(code))" }
}
