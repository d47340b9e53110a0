// SPDX-License-Identifier: Apache-2.0
package import CCUDA
package import Driver
import Wire

// Tensor maps: every call waits, because the answer is what the application asked for.

extension RemoteDriver {
    package func cuTensorMapEncodeTiled(
        _ context: ContextHandle, _ description: TensorMapDescription
    ) throws(CUDAError) -> TensorMap {
        var payload = PayloadWriter()
        payload.write(description)
        return try ask(.cuTensorMapEncodeTiled, context, payload).decode { reader throws(WireError) in
            try reader.readTensorMap()
        }
    }

    package func cuTensorMapReplaceAddress(
        _ context: ContextHandle, tensorMap: TensorMap, globalAddress: CUdeviceptr
    ) throws(CUDAError) -> TensorMap {
        var payload = PayloadWriter()
        payload.write(tensorMap)
        payload.write(globalAddress)
        return try ask(.cuTensorMapReplaceAddress, context, payload).decode { reader throws(WireError) in
            try reader.readTensorMap()
        }
    }

    package func cuTensorMapSetAllocationClass(
        _ context: ContextHandle, tensorMap: TensorMap, allocClass: UInt32
    ) throws(CUDAError) -> (tensorMap: TensorMap, outAllocClass: UInt32) {
        var payload = PayloadWriter()
        payload.write(tensorMap)
        payload.write(allocClass)
        return try ask(.cuTensorMapSetAllocationClass, context, payload).decode { reader throws(WireError) in
            (try reader.readTensorMap(), try reader.read(UInt32.self))
        }
    }

    private func ask(_ call: Call, _ context: ContextHandle, _ payload: PayloadWriter) throws(CUDAError) -> Reply {
        try self.call(call, context, byteCount: payload.bytes.count) { frame in
            payload.bytes.withUnsafeBytes { frame.write(bytes: $0) }
        }
    }
}
