// SPDX-License-Identifier: Apache-2.0
import Driver

/// A pool of memory: the driver's, of a device, or one of this library.
final class Pool: Sendable {
    let bits: UInt64
    /// The driver's; that of a pool of this library is none.
    let handle: MemoryPoolHandle
    /// The device whose memory it is, or where managed memory and views of host memory are made.
    let device: Device
    /// Whether it is the one that the device starts with, which cannot be destroyed.
    let isDefault: Bool
    /// How other processes may import it: bits of CUmemAllocationHandleType.
    let handleTypes: UInt32
    /// Whether it is another process's: its memory can be opened, and nothing can be allocated.
    let isImported: Bool
    /// The pool of this library; nil for the driver's.
    let client: ClientPool?

    init(
        bits: UInt64, handle: MemoryPoolHandle, device: Device, isDefault: Bool = false, handleTypes: UInt32 = 0,
        isImported: Bool = false, client: ClientPool? = nil
    ) {
        self.bits = bits
        self.handle = handle
        self.device = device
        self.isDefault = isDefault
        self.handleTypes = handleTypes
        self.isImported = isImported
        self.client = client
    }
}
