// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver

// Memory and events of other processes: CUDA's own between the workers of a machine.

extension HostDriver {
    package func cuIpcGetMemHandle(_ context: ContextHandle, dptr: CUdeviceptr) throws(CUDAError) -> ShareableHandle {
        guard let function = more.cuIpcGetMemHandle else { throw .notSupported }
        try makeCurrent(context)
        var handle = CUipcMemHandle()
        try check(function(&handle, dptr))
        return ShareableHandle(bytesOf: handle)
    }

    package func cuIpcOpenMemHandle_v2(
        _ context: ContextHandle, handle: ShareableHandle, flags: UInt32
    ) throws(CUDAError) -> (dptr: CUdeviceptr, bytesize: Int) {
        guard let function = more.cuIpcOpenMemHandle, let rangeOf = more.cuMemGetAddressRange else {
            throw .notSupported
        }
        try makeCurrent(context)
        var address: CUdeviceptr = 0
        try check(function(&address, handle.value(as: CUipcMemHandle.self), flags))
        var byteCount = 0
        try check(rangeOf(nil, &byteCount, address))
        return (address, byteCount)
    }

    package func cuIpcGetEventHandle(
        _ context: ContextHandle, hEvent: EventHandle
    ) throws(CUDAError) -> ShareableHandle {
        guard let function = more.cuIpcGetEventHandle else { throw .notSupported }
        try makeCurrent(context)
        var handle = CUipcEventHandle()
        try check(function(&handle, hEvent.bits))
        return ShareableHandle(bytesOf: handle)
    }

    package func cuIpcOpenEventHandle(
        _ context: ContextHandle, handle: ShareableHandle
    ) throws(CUDAError) -> EventHandle {
        guard let function = more.cuIpcOpenEventHandle else { throw .notSupported }
        try makeCurrent(context)
        var made: UInt64 = 0
        try check(function(&made, handle.value(as: CUipcEventHandle.self)))
        return EventHandle(bits: made)
    }
}
