// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver

/// Memory and events that the processes of an allocation share.
extension Shim {
    func cuIpcGetMemHandle(
        _ pHandle: UnsafeMutablePointer<CUipcMemHandle>?, _ dptr: CUdeviceptr
    ) throws(CUDAError) {
        guard pHandle != nil, let allocation = memory.find(dptr), allocation.kind == .device, allocation.poolBits == 0,
            let context = contexts[allocation.contextBits]
        else { throw .invalidValue }
        let handle = try driver.cuIpcGetMemHandle(try context.handle, dptr: allocation.base)
        try write(handle.value(as: CUipcMemHandle.self), to: pHandle)
    }

    func cuIpcOpenMemHandle_v2(
        _ pdptr: UnsafeMutablePointer<CUdeviceptr>?, _ handle: CUipcMemHandle, _ Flags: UInt32
    ) throws(CUDAError) {
        let active = try activeContext()
        guard pdptr != nil, Flags == CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.rawValue else { throw .invalidValue }
        let opened = try driver.cuIpcOpenMemHandle_v2(
            active.handle, handle: ShareableHandle(bytesOf: handle), flags: Flags)
        if memory.update(opened.dptr, { if $0.kind == .imported { $0.openCount += 1 } }),
            memory.find(opened.dptr)?.kind == .imported
        {
            return try write(opened.dptr, to: pdptr)
        }
        // Opened again, it would be at the same place: there is no other try when the host has memory there.
        guard memory.reserve(opened.dptr, opened.bytesize) else {
            try driver.cuIpcCloseMemHandle(active.handle, dptr: opened.dptr)
            throw CUDAError(CUDA_ERROR_MAP_FAILED)
        }
        memory.insert(
            Allocation(
                base: opened.dptr, byteCount: opened.bytesize, kind: .imported, contextBits: active.context.bits,
                device: active.context.device.ordinal, id: nextID(), openCount: 1))
        try write(opened.dptr, to: pdptr)
    }

    /// The same function from before CUDA 11, whose flag it needed not be given.
    func cuIpcOpenMemHandle(
        _ pdptr: UnsafeMutablePointer<CUdeviceptr>?, _ handle: CUipcMemHandle, _ Flags: UInt32
    ) throws(CUDAError) {
        guard Flags <= CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.rawValue else { throw .invalidValue }
        try cuIpcOpenMemHandle_v2(pdptr, handle, CU_IPC_MEM_LAZY_ENABLE_PEER_ACCESS.rawValue)
    }

    func cuIpcCloseMemHandle(_ dptr: CUdeviceptr) throws(CUDAError) {
        guard let allocation = memory.find(dptr), allocation.base == dptr, allocation.kind == .imported,
            let context = contexts[allocation.contextBits]
        else { throw .invalidValue }
        try driver.cuIpcCloseMemHandle(try context.handle, dptr: dptr)
        guard allocation.openCount == 1 else {
            _ = memory.update(dptr) { $0.openCount -= 1 }
            return
        }
        memory.remove(dptr) { $0.id == allocation.id }
    }

    func cuIpcGetEventHandle(
        _ pHandle: UnsafeMutablePointer<CUipcEventHandle>?, _ event: OpaquePointer?
    ) throws(CUDAError) {
        let event = try events.object(event)
        guard pHandle != nil, event.flags & CU_EVENT_INTERPROCESS.rawValue != 0 else { throw .invalidValue }
        let handle = try driver.cuIpcGetEventHandle(try event.context.handle, hEvent: event.handle)
        try write(handle.value(as: CUipcEventHandle.self), to: pHandle)
    }

    func cuIpcOpenEventHandle(
        _ phEvent: UnsafeMutablePointer<OpaquePointer?>?, _ handle: CUipcEventHandle
    ) throws(CUDAError) {
        guard phEvent != nil else { throw .invalidValue }
        let active = try activeContext()
        let opened = try driver.cuIpcOpenEventHandle(active.handle, handle: ShareableHandle(bytesOf: handle))
        let flags = CU_EVENT_INTERPROCESS.rawValue | CU_EVENT_DISABLE_TIMING.rawValue
        let event = try events.insert { bits in
            Event(bits: bits, handle: opened, context: active.context, flags: flags)
        }
        try write(handle: event.bits, to: phEvent)
    }
}
