// SPDX-License-Identifier: Apache-2.0
import CCUDA
import CSoftGPU
package import Driver
import Synchronization

/// Texture and surface objects.
extension SoftGPU {
    package func cuTexObjectCreate(
        _ context: ContextHandle, resource: TextureResource, sampler: TextureSampler, view: ResourceView?
    ) throws(CUDAError) -> UInt64 {
        let context = try self.context(context)
        return try images.add(try image(of: resource, sampler, view), of: context.bits)
    }

    /// What the runtime is told of a texture.
    func image(
        of resource: TextureResource, _ sampler: TextureSampler, _ view: ResourceView?
    ) throws(CUDAError) -> sg_image {
        var image = sg_image()
        switch resource {
        case .array(let array):
            let memory = try self.array(array)
            try image.set(levels: [memory], memory.shape)
        case .mipmappedArray(let array):
            let memory = try mipmappedArray(array)
            try image.set(levels: memory.levels, memory.shape)
        case .linear(let address, let format, let channels, let byteCount):
            let elements = try image.set(format, channels, byteCount: byteCount)
            guard address % UInt64(DeviceProfile.textureAlignment) == 0 else { throw .invalidValue }
            _ = try memoryMap.allocation(at: UInt64(address), byteCount: byteCount)
            try image.set(address, width: elements, height: 1, pitch: byteCount)
            image.is_linear = 1
        case .pitch2D(let address, let format, let channels, let width, let height, let pitch):
            let (bytes, overflow) = pitch.multipliedReportingOverflow(by: max(0, height - 1))
            guard width > 0, height > 0, pitch > 0, !overflow,
                let row = Self.rowBytes(width, format, channels), row <= pitch,
                address % UInt64(DeviceProfile.textureAlignment) == 0,
                pitch % DeviceProfile.texturePitchAlignment == 0
            else { throw .invalidValue }
            _ = try image.set(format, channels, byteCount: row)
            _ = try memoryMap.allocation(at: UInt64(address), byteCount: bytes + row)
            try image.set(address, width: width, height: height, pitch: pitch)
        }
        try image.set(sampler)
        if let view { try image.narrow(to: view) }
        return image
    }

    private static func rowBytes(_ width: Int, _ format: UInt32, _ channels: UInt32) -> Int? {
        guard let elementBytes = ArrayFormat(format, channels: channels)?.elementBytes else { return nil }
        let (bytes, overflow) = width.multipliedReportingOverflow(by: elementBytes)
        return overflow ? nil : bytes
    }

    package func cuTexObjectDestroy(_ context: ContextHandle, texObject: UInt64) throws(CUDAError) {
        try images.remove(texObject, isSurface: false, of: try self.context(context).bits)
    }

    package func cuSurfObjectCreate(_ context: ContextHandle, array: ArrayHandle) throws(CUDAError) -> UInt64 {
        let context = try self.context(context)
        return try images.add(try image(ofSurface: array), of: context.bits)
    }

    /// What the runtime is told of a surface.
    func image(ofSurface array: ArrayHandle) throws(CUDAError) -> sg_image {
        let memory = try self.array(array)
        guard memory.shape.has(CUDA_ARRAY3D_SURFACE_LDST) else { throw .invalidValue }
        var image = sg_image()
        try image.set(levels: [memory], memory.shape)
        image.is_surface = 1
        return image
    }

    package func cuSurfObjectDestroy(_ context: ContextHandle, surfObject: UInt64) throws(CUDAError) {
        try images.remove(surfObject, isSurface: true, of: try self.context(context).bits)
    }
}

/// The texture and surface objects of a driver, by the context that they end with.
final class ImageList: Sendable {
    private struct Object: Hashable {
        let handle: UInt64
        let isSurface: Bool
    }

    private let objects = Mutex<[UInt64: Set<Object>]>([:])

    func add(_ image: sg_image, of context: UInt64) throws(CUDAError) -> UInt64 {
        var image = image
        let handle = sg_image_add(&image)
        guard handle != 0 else { throw .outOfMemory }
        let object = Object(handle: handle, isSurface: image.is_surface != 0)
        objects.withLock { _ = $0[context, default: []].insert(object) }
        return handle
    }

    func remove(_ handle: UInt64, isSurface: Bool, of context: UInt64) throws(CUDAError) {
        let object = Object(handle: handle, isSurface: isSurface)
        guard objects.withLock({ $0[context]?.remove(object) }) != nil else { throw .invalidValue }
        _ = sg_image_remove(handle, isSurface ? 1 : 0)
    }

    func removeAll(of context: UInt64) {
        for object in objects.withLock({ $0.removeValue(forKey: context) }) ?? [] {
            _ = sg_image_remove(object.handle, object.isSurface ? 1 : 0)
        }
    }

    deinit {
        for object in objects.withLock({ $0.values.flatMap { $0 } }) {
            _ = sg_image_remove(object.handle, object.isSurface ? 1 : 0)
        }
    }
}
