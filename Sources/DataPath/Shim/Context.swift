// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A context as the application sees it.
///
/// It outlives its activations: a primary context has one handle for the life of the process, before it is first
/// retained and after each reset.
final class Context: Sendable {
    struct Settings {
        var flags: UInt32 = 0
        var cacheConfig = CU_FUNC_CACHE_PREFER_NONE
        var sharedConfig = CU_SHARED_MEM_CONFIG_FOUR_BYTE_BANK_SIZE
        /// What the application has said of core dumps for this context; nil while the process's settings hold.
        var coreDumps: CoreDumpSettings?
        /// Uses that cuCtxCreate and cuCtxAttach opened.
        var attachments = 1
    }

    let bits: UInt64
    /// Unique in the process, as `cuCtxGetId` reports it.
    let id: UInt64
    let device: Device
    let isPrimary: Bool
    /// The green context that this one represents.
    let green: GreenContext?
    /// The handle of the context that owns what is made here: a green context's is the primary context.
    let homeBits: UInt64
    /// The driver's stream behind the legacy default stream; a green context has one of its own.
    let defaultStream: StreamHandle
    let settings: Mutex<Settings>
    let defaultStreamAttributes = StreamAttributes()
    /// Bits of the driver's handle while the context is active, else 0.
    private let active = Atomic<UInt64>(0)
    private let destroyed = Atomic<Bool>(false)

    init(
        bits: UInt64, id: UInt64, device: Device, isPrimary: Bool, flags: UInt32, green: GreenContext? = nil
    ) {
        self.green = green
        homeBits = green?.parent.bits ?? bits
        defaultStream = green?.defaultStream ?? .legacyDefault
        self.bits = bits
        self.id = id
        self.device = device
        self.isPrimary = isPrimary
        settings = Mutex(Settings(flags: flags))
    }

    /// The context that owns what is made here.
    var home: Context { green?.parent ?? self }

    var isActive: Bool { activeBits != 0 }
    /// Bits of the driver's handle, or 0.
    @inline(__always)
    var activeBits: UInt64 { active.load(ordering: .acquiring) }
    var isDestroyed: Bool { destroyed.load(ordering: .relaxed) }

    /// The driver's handle; an inactive context has none.
    @inline(__always)
    var handle: ContextHandle {
        get throws(CUDAError) {
            let bits = activeBits
            if bits == 0 { throw isDestroyed ? .contextIsDestroyed : .invalidContext }
            return ContextHandle(bits: bits)
        }
    }

    /// Why a stream of this context, which is not active, takes no work.
    var streamFailure: CUDAError {
        guard isDestroyed else { return .invalidContext }
        return green == nil ? .contextIsDestroyed : CUDAError(CUDA_ERROR_STREAM_DETACHED)
    }

    func activate(_ handle: ContextHandle) { active.store(handle.bits, ordering: .releasing) }

    /// Returns the driver's handle that was active.
    func deactivate() -> ContextHandle? {
        let bits = active.exchange(0, ordering: .acquiringAndReleasing)
        return bits == 0 ? nil : ContextHandle(bits: bits)
    }

    func markDestroyed() { destroyed.store(true, ordering: .relaxed) }
}

/// A context in which a call can run, with the handle that it has there.
struct ActiveContext {
    let context: Context
    let handle: ContextHandle

    init(_ context: Context) throws(CUDAError) {
        handle = try context.handle
        self.context = context.home
    }
}
