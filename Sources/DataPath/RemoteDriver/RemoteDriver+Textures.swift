// SPDX-License-Identifier: Apache-2.0
package import Driver
import Wire

// Texture and surface objects are not numbers of the client's: kernels get them as the driver made them.

extension RemoteDriver {
    package func cuTexObjectCreate(
        _ context: ContextHandle, resource: TextureResource, sampler: TextureSampler, view: ResourceView?
    ) throws(CUDAError) -> UInt64 {
        var payload = PayloadWriter()
        payload.write(resource)
        payload.write(sampler)
        payload.write(view)
        var reply = try call(.cuTexObjectCreate, context, byteCount: payload.bytes.count) { frame in
            payload.bytes.withUnsafeBytes { frame.write(bytes: $0) }
        }
        return reply.read(UInt64.self)
    }

    package func cuTexRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, resource: TextureResource, sampler: TextureSampler
    ) throws(CUDAError) {
        var payload = PayloadWriter()
        payload.write(hmod.bits)
        payload.write(text: name)
        payload.write(resource)
        payload.write(sampler)
        try post(.cuTexRefSetArray, context, byteCount: payload.bytes.count) { frame in
            payload.bytes.withUnsafeBytes { frame.write(bytes: $0) }
        }
    }

    package func cuTexObjectDestroy(_ context: ContextHandle, texObject: UInt64) throws(CUDAError) {
        try post(.cuTexObjectDestroy, context, byteCount: 8) { $0.write(texObject) }
    }

    package func cuSurfObjectCreate(_ context: ContextHandle, array: ArrayHandle) throws(CUDAError) -> UInt64 {
        var reply = try call(.cuSurfObjectCreate, context, byteCount: 8) { $0.write(array.bits) }
        return reply.read(UInt64.self)
    }

    package func cuSurfObjectDestroy(_ context: ContextHandle, surfObject: UInt64) throws(CUDAError) {
        try post(.cuSurfObjectDestroy, context, byteCount: 8) { $0.write(surfObject) }
    }
}
