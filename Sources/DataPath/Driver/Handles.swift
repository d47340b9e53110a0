// SPDX-License-Identifier: Apache-2.0

/// A handle of a driver: 64 bits that only the driver which made it understands.
///
/// 0 is no handle.
package protocol Handle: Hashable, Sendable, BitwiseCopyable {
    var bits: UInt64 { get }
    init(bits: UInt64)
}

package struct ContextHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

package struct ModuleHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

package struct FunctionHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

/// A stream.
///
/// 0 is the context's legacy default stream.
package struct StreamHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }

    package static var legacyDefault: Self { Self(bits: 0) }
}

package struct EventHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

/// Memory of a device that has no address of its own.
package struct PhysicalMemoryHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

/// A graph that a driver performs by itself.
package struct GraphHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

/// A graph that was begun and is to be instantiated, to which conditions belong.
package struct GraphDraftHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }

    /// No graph that was begun: a plan without conditions.
    package static var none: Self { Self(bits: 0) }
}

package struct MemoryPoolHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}

package struct ArrayHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }

    /// No array: ordinary memory.
    package static var none: Self { Self(bits: 0) }
}

package struct MipmappedArrayHandle: Handle {
    package let bits: UInt64
    package init(bits: UInt64) { self.bits = bits }
}
