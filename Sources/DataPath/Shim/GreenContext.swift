// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A green context: a part of a primary context that uses some of the device's multiprocessors.
///
/// The application uses it through a context that represents it. What is allocated or loaded there belongs to the
/// primary context; only streams belong to the green one.
final class GreenContext: Sendable {
    let bits: UInt64
    /// Unique in the process, as `cuGreenCtxGetId` reports it.
    let id: UInt64
    let handle: GreenContextHandle
    /// The primary context, which is retained meanwhile.
    let parent: Context
    /// The driver's stream that is the default stream in the context.
    let defaultStream: StreamHandle
    private let represented = Atomic<UInt64>(0)

    init(
        bits: UInt64, id: UInt64, handle: GreenContextHandle, parent: Context, defaultStream: StreamHandle
    ) {
        self.bits = bits
        self.id = id
        self.handle = handle
        self.parent = parent
        self.defaultStream = defaultStream
    }

    /// The handle of the context that represents it.
    var contextBits: UInt64 { represented.load(ordering: .acquiring) }

    func setContext(_ bits: UInt64) { represented.store(bits, ordering: .releasing) }
}

/// Resources that are put together for a green context.
final class ResourceDescriptor: Sendable {
    let bits: UInt64
    let number: ResourceNumber

    init(bits: UInt64, number: ResourceNumber) {
        self.bits = bits
        self.number = number
    }
}
