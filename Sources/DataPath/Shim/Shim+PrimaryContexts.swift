// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Primary contexts: the handle exists from the start, the driver's context from the first retain to the last release.
extension Shim {
    func cuDevicePrimaryCtxRetain(_ pctx: UnsafeMutablePointer<OpaquePointer?>?, _ dev: CUdevice) throws(CUDAError) {
        let context = try primary(dev)
        guard pctx != nil else { throw .invalidValue }
        let isFirst = try context.device.primaryRetains.withLock { retains throws(CUDAError) in
            if retains == 0 {
                context.activate(try driver.cuDevicePrimaryCtxRetain(dev: context.device.driverOrdinal))
            }
            retains += 1
            return retains == 1
        }
        if isFirst { loadLibraries(into: context) }
        try write(handle: context.bits, to: pctx)
    }

    func cuDevicePrimaryCtxRelease_v2(_ dev: CUdevice) throws(CUDAError) {
        let context = try primary(dev)
        let ended = try context.device.primaryRetains.withLock { retains throws(CUDAError) -> ContextHandle? in
            guard retains > 0 else { throw .invalidContext }
            retains -= 1
            return retains == 0 ? context.deactivate() : nil
        }
        try end(primary: context, ended)
    }

    /// Ends the primary context whatever its retains are.
    func cuDevicePrimaryCtxReset_v2(_ dev: CUdevice) throws(CUDAError) {
        let context = try primary(dev)
        let ended = context.device.primaryRetains.withLock { retains in
            retains = 0
            return context.deactivate()
        }
        try end(primary: context, ended)
    }

    func cuDevicePrimaryCtxGetState(
        _ dev: CUdevice, _ flags: UnsafeMutablePointer<UInt32>?, _ active: UnsafeMutablePointer<Int32>?
    ) throws(CUDAError) {
        let context = try primary(dev)
        try write(context.settings.withLock { $0.flags }, to: flags)
        try write(context.isActive ? 1 : 0, to: active)
    }

    func cuDevicePrimaryCtxSetFlags_v2(_ dev: CUdevice, _ flags: UInt32) throws(CUDAError) {
        let context = try primary(dev)
        try checkContextFlags(flags)
        try driver.cuDevicePrimaryCtxSetFlags_v2(dev: context.device.driverOrdinal, flags: flags)
        context.settings.withLock { $0.flags = flags }
    }

    /// The primary context of a device, by the application's ordinal.
    func primary(_ dev: CUdevice) throws(CUDAError) -> Context { primaries[Int(try device(dev).ordinal)] }

    /// At most one of the scheduling flags, and no flag that is not defined.
    func checkContextFlags(_ flags: UInt32) throws(CUDAError) {
        let scheduling = flags & CU_CTX_SCHED_MASK.rawValue
        guard flags & ~CU_CTX_FLAGS_MASK.rawValue == 0, scheduling.nonzeroBitCount <= 1 else { throw .invalidValue }
    }

    private func end(primary context: Context, _ ended: ContextHandle?) throws(CUDAError) {
        guard let ended else { return }
        for green in greenContexts.removeAll(where: { $0.parent === context }) { try? end(green, ended) }
        forgetEverything(in: context)
        try driver.cuDevicePrimaryCtxRelease_v2(dev: context.device.driverOrdinal, context: ended)
    }

    /// Forgets what lived in a context that ends.
    ///
    /// The runtimes' own values go first, while their handles are still known.
    func forgetEverything(in context: Context) {
        storage.end(context)
        for module in modules.removeAll(where: { $0.context === context }) { forgetContents(of: module) }
        for library in libraries.all { library.forget(context) }
        _ = streams.removeAll { $0.context.home === context }
        _ = events.removeAll { $0.context === context }
        _ = arrays.removeAll { $0.context === context }
        _ = mipmappedArrays.removeAll { $0.context === context }
        textures.withLock { $0 = $0.filter { $0.key.context != context.bits } }
        surfaces.withLock { $0 = $0.filter { $0.key.context != context.bits } }
        shared.removeAll(ofContext: context.bits)
        for ended in memory.removeAll(ofContext: context.bits) where isOfClientPool(ended) { giveBack(ended) }
    }
}
