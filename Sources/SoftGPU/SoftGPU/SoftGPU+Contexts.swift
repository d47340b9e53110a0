// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver
import Synchronization
import UsageBoard

/// Contexts, their limits, and access between them.
extension SoftGPU {
    package func cuDevicePrimaryCtxRetain(dev: Int32) throws(CUDAError) -> ContextHandle {
        let device = try device(dev)
        let retained = device.primary.withLock { primary -> ContextHandle? in
            guard let context = primary.context else { return nil }
            primary.retainCount += 1
            return ContextHandle(bits: context.bits)
        }
        if let retained { return retained }
        let made = try makeContext(on: device)
        let winner = device.primary.withLock { primary -> Context in
            primary.retainCount += 1
            if let context = primary.context { return context }
            primary.context = made
            return made
        }
        if winner !== made { _ = forget(made) }
        return ContextHandle(bits: winner.bits)
    }

    package func cuDevicePrimaryCtxRelease_v2(dev: Int32, context: ContextHandle) throws(CUDAError) {
        let device = try device(dev)
        let (isHeld, ended) = device.primary.withLock { primary -> (Bool, Context?) in
            guard let held = primary.context, held.bits == context.bits else { return (false, nil) }
            primary.retainCount -= 1
            guard primary.retainCount == 0 else { return (true, nil) }
            primary.context = nil
            return (true, held)
        }
        guard isHeld else { throw .invalidContext }
        if let ended { end(ended) }
    }

    package func cuDevicePrimaryCtxSetFlags_v2(dev: Int32, flags: UInt32) throws(CUDAError) {
        let device = try device(dev)
        guard flags & ~CU_CTX_FLAGS_MASK.rawValue == 0 else { throw .invalidValue }
        device.primary.withLock { $0.flags = flags }
    }

    package func cuCtxCreate_v2(flags: UInt32, dev: Int32) throws(CUDAError) -> ContextHandle {
        let device = try device(dev)
        guard flags & ~CU_CTX_FLAGS_MASK.rawValue == 0 else { throw .invalidValue }
        return ContextHandle(bits: try makeContext(on: device).bits)
    }

    private func makeContext(on device: Device) throws(CUDAError) -> Context {
        let context = try contexts.insert { Context(bits: $0, device: device, scheduler: scheduler) }
        device.usage?.addContexts(1)
        return context
    }

    /// Takes a context's handle away; false when somebody else has done that.
    private func forget(_ context: Context) -> Bool {
        guard contexts.remove(context.bits) != nil else { return false }
        context.device.usage?.addContexts(-1)
        return true
    }

    package func cuCtxDestroy_v2(ctx: ContextHandle) throws(CUDAError) {
        let context = try contextInAnyState(ctx)
        // The primary context ends by cuDevicePrimaryCtxRelease alone.
        let isPrimary = context.device.primary.withLock { $0.context === context }
        guard !isPrimary else { throw .invalidContext }
        end(context)
    }

    /// Ends a context with everything in it, after its work is done.
    private func end(_ context: Context) {
        guard forget(context) else { return }
        context.environment.beginEnd()
        context.waitForAll()
        graphs.removeAll { $0.context == context.bits }
        graphDrafts.removeAll { $0.context == context.bits }
        streams.removeAll { $0.context == context.bits }
        greenContexts.removeAll { $0.home === context }
        events.removeAll { $0.context == context.bits }
        functions.removeAll { $0.module.context == context.bits }
        for module in modules.removeAll(where: { $0.context == context.bits }) {
            module.unload()
        }
        images.removeAll(of: context.bits)
        arrays.removeAll { $0.context == context.bits }
        mipmappedArrays.removeAll { $0.context == context.bits }
        for entry in memoryMap.removeAll(where: { $0.context == context.bits }) {
            giveBack(entry)
        }
        forgetImports(of: context)
        context.noteSynchronization()
        context.clear()
    }

    package func cuCtxSynchronize(_ context: ContextHandle) throws(CUDAError) {
        let context = try self.context(context)
        context.waitForAll()
        try context.checkHealth()
    }

    package func cuCtxSetLimit(_ context: ContextHandle, limit: UInt32, value: Int) throws(CUDAError) {
        try self.context(context).setLimit(limit, value)
    }

    package func cuCtxGetLimit(_ context: ContextHandle, limit: UInt32) throws(CUDAError) -> Int {
        try self.context(context).limit(limit)
    }

    package func cuCtxSetCacheConfig(_ context: ContextHandle, config: UInt32) throws(CUDAError) {
        _ = try self.context(context)
        guard config <= CU_FUNC_CACHE_PREFER_EQUAL.rawValue else { throw .invalidValue }
    }

    package func cuCtxEnablePeerAccess(
        _ context: ContextHandle, peerContext: ContextHandle, flags: UInt32
    ) throws(CUDAError) {
        let context = try self.context(context)
        guard flags == 0 else { throw .invalidValue }
        let peer = try contextInAnyState(peerContext)
        guard peer !== context else { throw .invalidContext }
        guard peer.device !== context.device else { throw CUDAError(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED) }
        guard context.enablePeer(peer.bits) else { throw CUDAError(CUDA_ERROR_PEER_ACCESS_ALREADY_ENABLED) }
    }

    package func cuCtxDisablePeerAccess(_ context: ContextHandle, peerContext: ContextHandle) throws(CUDAError) {
        let context = try self.context(context)
        let peer = try contextInAnyState(peerContext)
        guard context.disablePeer(peer.bits) else { throw CUDAError(CUDA_ERROR_PEER_ACCESS_NOT_ENABLED) }
    }
}
