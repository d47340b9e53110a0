// SPDX-License-Identifier: Apache-2.0
import Driver

/// A pool of device memory.
final class Pool: Sendable {
    let bits: UInt64
    let handle: MemoryPoolHandle
    let device: Device
    /// Whether it is the one that the device starts with, which cannot be destroyed.
    let isDefault: Bool

    init(bits: UInt64, handle: MemoryPoolHandle, device: Device, isDefault: Bool) {
        self.bits = bits
        self.handle = handle
        self.device = device
        self.isDefault = isDefault
    }
}
