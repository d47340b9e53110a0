// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Contexts and the calling thread's stack of them.
extension Shim {
    // MARK: Making and ending

    func cuCtxCreate_v2(
        _ pctx: UnsafeMutablePointer<OpaquePointer?>?, _ flags: UInt32, _ dev: CUdevice
    ) throws(CUDAError) {
        let device = try device(dev)
        guard pctx != nil else { throw .invalidValue }
        try checkContextFlags(flags)
        let handle = try driver.cuCtxCreate_v2(flags: flags, dev: device.driverOrdinal)
        let context = try contexts.insert { bits in
            Context(bits: bits, id: nextID(), device: device, isPrimary: false, flags: flags)
        }
        context.activate(handle)
        ThreadState.current.pointee.contexts.append(context)
        loadLibraries(into: context)
        try write(handle: context.bits, to: pctx)
    }

    func cuCtxCreate_v3(
        _ pctx: UnsafeMutablePointer<OpaquePointer?>?, _ paramsArray: UnsafeMutablePointer<CUexecAffinityParam>?,
        _ numParams: Int32, _ flags: UInt32, _ dev: CUdevice
    ) throws(CUDAError) {
        guard numParams >= 0 else { throw .invalidValue }
        if numParams > 0 { throw CUDAError(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY) }
        try cuCtxCreate_v2(pctx, flags, dev)
    }

    func cuCtxCreate_v4(
        _ pctx: UnsafeMutablePointer<OpaquePointer?>?, _ ctxCreateParams: UnsafeMutablePointer<CUctxCreateParams>?,
        _ flags: UInt32, _ dev: CUdevice
    ) throws(CUDAError) {
        if let parameters = ctxCreateParams?.pointee {
            // One or the other.
            if parameters.execAffinityParams != nil, parameters.cigParams != nil { throw .invalidValue }
            if parameters.numExecAffinityParams < 0 { throw .invalidValue }
            if parameters.numExecAffinityParams > 0 { throw CUDAError(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY) }
            if parameters.cigParams != nil { throw .notSupported }
        }
        try cuCtxCreate_v2(pctx, flags, dev)
    }

    func cuCtxDestroy_v2(_ ctx: OpaquePointer?) throws(CUDAError) {
        guard let ctx, let context = contexts[bits(ctx)], !context.isPrimary, context.green == nil else {
            throw .invalidContext
        }
        try destroy(context)
    }

    func cuCtxAttach(_ pctx: UnsafeMutablePointer<OpaquePointer?>?, _ flags: UInt32) throws(CUDAError) {
        guard flags == 0 else { throw .invalidValue }
        let context = try activeContext().context
        guard !context.isPrimary else { throw .invalidContext }
        context.settings.withLock { $0.attachments += 1 }
        try write(handle: context.bits, to: pctx)
    }

    func cuCtxDetach(_ ctx: OpaquePointer?) throws(CUDAError) {
        guard let ctx, let context = contexts[bits(ctx)], !context.isPrimary, context.green == nil,
            context === currentContext
        else {
            throw .invalidContext
        }
        let isLast = context.settings.withLock { settings in
            settings.attachments -= 1
            return settings.attachments == 0
        }
        if isLast { try destroy(context) }
    }

    private func destroy(_ context: Context) throws(CUDAError) {
        guard contexts.remove(context.bits) != nil, let handle = context.deactivate() else { throw .invalidContext }
        context.markDestroyed()
        let thread = ThreadState.current
        if thread.pointee.contexts.last === context { thread.pointee.contexts.removeLast() }
        forgetEverything(in: context)
        try driver.cuCtxDestroy_v2(ctx: handle)
    }

    // MARK: The stack

    /// A stack deeper than any program's, so that a loop that only pushes ends with an error.
    private static var depthMax: Int { 1 << 16 }

    func cuCtxPushCurrent_v2(_ ctx: OpaquePointer?) throws(CUDAError) {
        guard let ctx, let context = contexts[bits(ctx)] else { throw .invalidContext }
        let thread = ThreadState.current
        guard thread.pointee.contexts.count < Self.depthMax else { throw .outOfMemory }
        thread.pointee.contexts.append(context)
    }

    func cuCtxPopCurrent_v2(_ pctx: UnsafeMutablePointer<OpaquePointer?>?) throws(CUDAError) {
        guard let context = ThreadState.current.pointee.contexts.popLast() else { throw .invalidContext }
        pctx?.pointee = OpaquePointer(bitPattern: UInt(context.bits))
    }

    func cuCtxSetCurrent(_ ctx: OpaquePointer?) throws(CUDAError) {
        let thread = ThreadState.current
        guard let ctx else {
            if !thread.pointee.contexts.isEmpty { thread.pointee.contexts.removeLast() }
            return
        }
        if let current = thread.pointee.contexts.last, current.bits == bits(ctx), !current.isDestroyed { return }
        guard let context = contexts[bits(ctx)] else { throw .invalidContext }
        if thread.pointee.contexts.isEmpty {
            thread.pointee.contexts.append(context)
        } else {
            thread.pointee.contexts[thread.pointee.contexts.count - 1] = context
        }
    }

    func cuCtxGetCurrent(_ pctx: UnsafeMutablePointer<OpaquePointer?>?) throws(CUDAError) {
        let current = ThreadState.current.pointee.current
        try write(handle: current?._withUnsafeGuaranteedRef { $0.bits } ?? 0, to: pctx)
    }

    // MARK: What is known of a context

    func cuCtxGetDevice(_ device: UnsafeMutablePointer<CUdevice>?) throws(CUDAError) {
        try cuCtxGetDevice_v2(device, nil)
    }

    func cuCtxGetDevice_v2(_ device: UnsafeMutablePointer<CUdevice>?, _ ctx: OpaquePointer?) throws(CUDAError) {
        try write(try context(ctx).device.ordinal, to: device)
    }

    func cuCtxGetFlags(_ flags: UnsafeMutablePointer<UInt32>?) throws(CUDAError) {
        try write(try context(nil).settings.withLock { $0.flags }, to: flags)
    }

    func cuCtxSetFlags(_ flags: UInt32) throws(CUDAError) {
        let context = try activeContext().context
        try checkContextFlags(flags)
        context.settings.withLock { $0.flags = flags }
    }

    func cuCtxGetId(_ ctx: OpaquePointer?, _ ctxId: UnsafeMutablePointer<UInt64>?) throws(CUDAError) {
        try write(try context(ctx).id, to: ctxId)
    }

    func cuCtxGetApiVersion(_ ctx: OpaquePointer?, _ version: UnsafeMutablePointer<UInt32>?) throws(CUDAError) {
        _ = try context(ctx)
        try write(3020, to: version)
    }

    func cuCtxGetStreamPriorityRange(
        _ leastPriority: UnsafeMutablePointer<Int32>?, _ greatestPriority: UnsafeMutablePointer<Int32>?
    ) throws(CUDAError) {
        let description = try context(nil).device.description
        leastPriority?.pointee = description.leastPriority
        greatestPriority?.pointee = description.greatestPriority
    }

    func cuCtxGetExecAffinity(
        _ pExecAffinity: UnsafeMutablePointer<CUexecAffinityParam>?, _ type: CUexecAffinityType
    ) throws(CUDAError) {
        _ = try activeContext()
        throw CUDAError(CUDA_ERROR_UNSUPPORTED_EXEC_AFFINITY)
    }

    // MARK: Limits and preferences

    func cuCtxGetLimit(_ pvalue: UnsafeMutablePointer<Int>?, _ limit: CUlimit) throws(CUDAError) {
        guard limit.rawValue < CU_LIMIT_MAX.rawValue, pvalue != nil else { throw .invalidValue }
        try write(try driver.cuCtxGetLimit(try activeContext().handle, limit: limit.rawValue), to: pvalue)
    }

    func cuCtxSetLimit(_ limit: CUlimit, _ value: Int) throws(CUDAError) {
        guard limit.rawValue < CU_LIMIT_MAX.rawValue else { throw .invalidValue }
        try driver.cuCtxSetLimit(try activeContext().handle, limit: limit.rawValue, value: value)
    }

    func cuCtxGetCacheConfig(_ pconfig: UnsafeMutablePointer<CUfunc_cache>?) throws(CUDAError) {
        try write(try activeContext().context.settings.withLock { $0.cacheConfig }, to: pconfig)
    }

    func cuCtxSetCacheConfig(_ config: CUfunc_cache) throws(CUDAError) {
        guard config.rawValue <= CU_FUNC_CACHE_PREFER_EQUAL.rawValue else { throw .invalidValue }
        let active = try activeContext()
        try driver.cuCtxSetCacheConfig(active.handle, config: config.rawValue)
        active.context.settings.withLock { $0.cacheConfig = config }
    }

    func cuCtxGetSharedMemConfig(_ pConfig: UnsafeMutablePointer<CUsharedconfig>?) throws(CUDAError) {
        try write(try activeContext().context.settings.withLock { $0.sharedConfig }, to: pConfig)
    }

    /// Devices since Maxwell have banks of four bytes whatever is asked: the setting is kept and has no effect.
    func cuCtxSetSharedMemConfig(_ config: CUsharedconfig) throws(CUDAError) {
        guard config.rawValue <= CU_SHARED_MEM_CONFIG_EIGHT_BYTE_BANK_SIZE.rawValue else { throw .invalidValue }
        _ = try activeContext()
    }

    /// A hint about the cache, which a driver is free to ignore.
    func cuCtxResetPersistingL2Cache() throws(CUDAError) { _ = try activeContext() }

    // MARK: Waiting and peers

    func cuCtxSynchronize() throws(CUDAError) {
        guard let context = currentContext else { throw .invalidContext }
        try synchronize(context)
    }

    func cuCtxSynchronize_v2(_ ctx: OpaquePointer?) throws(CUDAError) {
        try synchronize(try context(ctx))
    }

    /// Waits for all work of a context; of a primary context with that of its green ones, of a green one for its own.
    private func synchronize(_ context: Context) throws(CUDAError) {
        let handle = try context.handle
        try checkHasNoCapture(context)
        if let green = context.green {
            let event = try driver.cuEventCreate(handle, flags: CU_EVENT_DISABLE_TIMING.rawValue)
            defer { try? driver.cuEventDestroy_v2(handle, hEvent: event) }
            try driver.cuGreenCtxRecordEvent(handle, hCtx: green.handle, hEvent: event)
            try driver.cuEventSynchronize(handle, hEvent: event)
        } else {
            try driver.cuCtxSynchronize(handle)
        }
        finishPendingFrees()
        try throwLearntFailure()
    }

    func cuCtxEnablePeerAccess(_ peerContext: OpaquePointer?, _ Flags: UInt32) throws(CUDAError) {
        guard Flags == 0 else { throw .invalidValue }
        let active = try activeContext()
        guard let peerContext, let peer = contexts[bits(peerContext)], peer !== active.context else {
            throw .invalidContext
        }
        guard canAccess(active.context.device, peer.device) else {
            throw CUDAError(CUDA_ERROR_PEER_ACCESS_UNSUPPORTED)
        }
        try driver.cuCtxEnablePeerAccess(active.handle, peerContext: try peer.handle, flags: 0)
    }

    func cuCtxDisablePeerAccess(_ peerContext: OpaquePointer?) throws(CUDAError) {
        let active = try activeContext()
        guard let peerContext, let peer = contexts[bits(peerContext)] else { throw .invalidContext }
        try driver.cuCtxDisablePeerAccess(active.handle, peerContext: try peer.handle)
    }
}
