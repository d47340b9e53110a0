// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Synchronization

/// Memory and events that processes on this machine share.
///
/// Who has a handle opens what it stands for; that only processes of one allocation have it is the server's concern.
extension SoftGPU {
    /// Memory of another process, by its handle.
    struct Import {
        let address: UInt64
        let context: UInt64
        var openCount = 1
    }

    package func cuIpcGetMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle {
        let context = try self.context(context)
        guard let entry = memoryMap.entry(at: UInt64(dptr)), case .context = entry.owner, !entry.isFreePending,
            let allocation = entry.allocation as? Allocation
        else {
            throw .invalidValue
        }
        // The pages are exchanged for others with the same contents, which nothing may change meanwhile.
        context.waitForAll()
        if entry.context != context.bits { contexts[entry.context]?.waitForAll() }
        let device = contexts[entry.context]?.device.ordinal ?? context.device.ordinal
        return try allocation.share(byteCount: entry.byteCount, device: device).handle
    }

    package func cuIpcOpenMemHandle_v2(
        _ context: ContextHandle, handle: ShareableHandle, flags: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytesize: Int) {
        let context = try self.context(context)
        guard flags == CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.rawValue else { throw .invalidValue }
        let file = try SharedFile(opening: handle, .memory)
        // As CUDA answers a process that opens its own memory.
        guard !file.isOwn else { throw .invalidContext }
        return try imports.withLock { imports throws(CUDAError) in
            if let known = imports[handle] {
                imports[handle]?.openCount += 1
                return (CUdeviceptr(known.address), file.byteCount)
            }
            let allocation = try context.device.memory.map(file)
            memoryMap.insert(
                MemoryMap.Entry(
                    address: allocation.address, byteCount: file.byteCount, owner: .imported, context: context.bits,
                    allocation: allocation))
            imports[handle] = Import(address: allocation.address, context: context.bits)
            return (CUdeviceptr(allocation.address), file.byteCount)
        }
    }

    package func cuIpcCloseMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) {
        let context = try self.context(context)
        let isLast = try imports.withLock { imports throws(CUDAError) in
            guard let (handle, opened) = imports.first(where: { $0.value.address == UInt64(dptr) }) else {
                throw .invalidValue
            }
            imports[handle]?.openCount -= 1
            if opened.openCount == 1 { imports[handle] = nil }
            return opened.openCount == 1
        }
        guard isLast else { return }
        context.waitForAll()
        _ = try memoryMap.remove(at: UInt64(dptr))
    }

    /// Forgets the memory of other processes that a context has opened, which ends with it.
    func forgetImports(of context: Context) {
        imports.withLock { imports in imports = imports.filter { $0.value.context != context.bits } }
    }

    package func cuIpcGetEventHandle(
        _ context: ContextHandle, hEvent: EventHandle
    ) throws(CUDAError) -> ShareableHandle {
        _ = try self.context(context)
        guard let shared = try event(hEvent).shared else { throw .invalidValue }
        return shared.file.handle
    }

    package func cuIpcOpenEventHandle(
        _ context: ContextHandle, handle: ShareableHandle
    ) throws(CUDAError) -> EventHandle {
        let context = try self.context(context)
        let shared = try SharedEvent(opening: handle)
        guard !shared.file.isOwn else { throw .invalidContext }
        return try makeEvent(
            context, CU_EVENT_INTERPROCESS.rawValue | CU_EVENT_DISABLE_TIMING.rawValue, shared)
    }
}
