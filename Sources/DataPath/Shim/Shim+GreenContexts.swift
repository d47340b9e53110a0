// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// Green contexts, and events of whole contexts.
extension Shim {
    func cuGreenCtxCreate(
        _ phCtx: UnsafeMutablePointer<OpaquePointer?>?, _ desc: OpaquePointer?, _ dev: CUdevice, _ flags: UInt32
    ) throws(CUDAError) {
        let parent = try primary(dev)
        guard phCtx != nil, let descriptor = resourceDescriptors[bits(desc)] else { throw .invalidValue }
        guard flags & ~CU_GREEN_CTX_DEFAULT_STREAM.rawValue == 0 else { throw .invalidValue }
        var retained: OpaquePointer?
        try cuDevicePrimaryCtxRetain(&retained, dev)
        do throws(CUDAError) {
            let made = try makeGreenContext(descriptor, parent, flags)
            try write(handle: made.bits, to: phCtx)
        } catch {
            try? cuDevicePrimaryCtxRelease_v2(dev)
            throw error
        }
    }

    private func makeGreenContext(
        _ descriptor: ResourceDescriptor, _ parent: Context, _ flags: UInt32
    ) throws(CUDAError) -> GreenContext {
        let home = try parent.handle
        let handle = try driver.cuGreenCtxCreate(
            desc: descriptor.number, dev: parent.device.driverOrdinal, flags: flags)
        do throws(CUDAError) {
            let stream = try driver.cuGreenCtxStreamCreate(
                home, greenCtx: handle, flags: CU_STREAM_NON_BLOCKING.rawValue, priority: 0)
            let green = try greenContexts.insert { bits in
                GreenContext(bits: bits, id: nextID(), handle: handle, parent: parent, defaultStream: stream)
            }
            let context = try contexts.insert { bits in
                Context(bits: bits, id: nextID(), device: parent.device, isPrimary: false, flags: 0, green: green)
            }
            context.activate(home)
            green.setContext(context.bits)
            return green
        } catch {
            try? driver.cuGreenCtxDestroy(hCtx: handle)
            throw error
        }
    }

    func cuGreenCtxDestroy(_ hCtx: OpaquePointer?) throws(CUDAError) {
        guard let green = greenContexts.remove(bits(hCtx)) else { throw .invalidContext }
        let home = try green.parent.handle
        try end(green, home)
        try cuDevicePrimaryCtxRelease_v2(green.parent.device.ordinal)
    }

    /// Ends a green context whose handle is gone already.
    func end(_ green: GreenContext, _ home: ContextHandle) throws(CUDAError) {
        if let context = contexts.remove(green.contextBits) {
            for stream in streams.all where stream.context === context { streamEnds(stream) }
            _ = context.deactivate()
            context.markDestroyed()
        }
        try driver.cuGreenCtxDestroy(hCtx: green.handle)
        try driver.cuStreamDestroy_v2(home, hStream: green.defaultStream)
    }

    func cuCtxFromGreenCtx(
        _ pContext: UnsafeMutablePointer<OpaquePointer?>?, _ hCtx: OpaquePointer?
    ) throws(CUDAError) {
        guard let green = greenContexts[bits(hCtx)] else { throw .invalidContext }
        try write(handle: green.contextBits, to: pContext)
    }

    func cuGreenCtxGetId(
        _ greenCtx: OpaquePointer?, _ greenCtxId: UnsafeMutablePointer<UInt64>?
    ) throws(CUDAError) {
        if greenCtx == nil {
            guard let current = currentContext, let green = current.green else { throw .invalidContext }
            guard !current.isDestroyed else { throw .contextIsDestroyed }
            return try write(green.id, to: greenCtxId)
        }
        guard let green = greenContexts[bits(greenCtx)] else { throw .invalidContext }
        try write(green.id, to: greenCtxId)
    }

    func cuGreenCtxStreamCreate(
        _ phStream: UnsafeMutablePointer<OpaquePointer?>?, _ greenCtx: OpaquePointer?, _ flags: UInt32,
        _ priority: Int32
    ) throws(CUDAError) {
        guard let green = greenContexts[bits(greenCtx)], let context = contexts[green.contextBits] else {
            throw .invalidContext
        }
        guard phStream != nil, flags == CU_STREAM_NON_BLOCKING.rawValue else { throw .invalidValue }
        try write(handle: try insertStream(in: context, flags: flags, priority: priority).bits, to: phStream)
    }

    // MARK: Events of whole contexts

    func cuGreenCtxRecordEvent(_ hCtx: OpaquePointer?, _ hEvent: OpaquePointer?) throws(CUDAError) {
        guard let green = greenContexts[bits(hCtx)] else { throw .invalidContext }
        try cuCtxRecordEvent(OpaquePointer(bitPattern: UInt(green.contextBits)), hEvent)
    }

    func cuGreenCtxWaitEvent(_ hCtx: OpaquePointer?, _ hEvent: OpaquePointer?) throws(CUDAError) {
        guard let green = greenContexts[bits(hCtx)] else { throw .invalidContext }
        try cuCtxWaitEvent(OpaquePointer(bitPattern: UInt(green.contextBits)), hEvent)
    }

    func cuCtxRecordEvent(_ hCtx: OpaquePointer?, _ hEvent: OpaquePointer?) throws(CUDAError) {
        let context = try context(hCtx)
        let handle = try context.handle
        let event = try events.object(hEvent)
        guard event.context === context.home else { throw .invalidHandle }
        try checkHasNoCapture(context)
        event.forgetCapture()
        if let green = context.green {
            try driver.cuGreenCtxRecordEvent(handle, hCtx: green.handle, hEvent: event.handle)
        } else {
            try driver.cuCtxRecordEvent(handle, hEvent: event.handle)
        }
    }

    /// The event may be of another context.
    func cuCtxWaitEvent(_ hCtx: OpaquePointer?, _ hEvent: OpaquePointer?) throws(CUDAError) {
        let context = try context(hCtx)
        let handle = try context.handle
        let event = try events.object(hEvent)
        if let record = event.capturedRecord {
            captures.withLock { $0.invalidate(record.capture) }
            throw .captureUnsupported
        }
        try checkHasNoCapture(context)
        if let green = context.green {
            try driver.cuGreenCtxWaitEvent(handle, hCtx: green.handle, hEvent: event.handle)
        } else {
            try driver.cuCtxWaitEvent(handle, hEvent: event.handle)
        }
    }
}
