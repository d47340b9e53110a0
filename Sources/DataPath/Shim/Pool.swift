// SPDX-License-Identifier: Apache-2.0
import Driver

/// A pool of device memory.
final class Pool: Sendable {
    let bits: UInt64
    let handle: MemoryPoolHandle
    let device: Device
    /// Whether it is the one that the device starts with, which cannot be destroyed.
    let isDefault: Bool
    /// How other processes may import it: bits of CUmemAllocationHandleType.
    let handleTypes: UInt32
    /// Whether it is another process's: its memory can be opened, and nothing can be allocated.
    let isImported: Bool

    init(
        bits: UInt64, handle: MemoryPoolHandle, device: Device, isDefault: Bool = false, handleTypes: UInt32 = 0,
        isImported: Bool = false
    ) {
        self.bits = bits
        self.handle = handle
        self.device = device
        self.isDefault = isDefault
        self.handleTypes = handleTypes
        self.isImported = isImported
    }
}
