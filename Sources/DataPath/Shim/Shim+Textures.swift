// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// A texture or surface object: drivers count them in each context anew.
struct ObjectKey: Hashable, Sendable {
    let context: UInt64
    let value: UInt64
}

/// What the application has said of a texture object, to be told again.
struct TextureObject: @unchecked Sendable {
    // SAFETY: the descriptions are values; the pointers in them are handles that are never followed.
    let resource: CUDA_RESOURCE_DESC
    let texture: CUDA_TEXTURE_DESC
    let view: CUDA_RESOURCE_VIEW_DESC?
}

/// What the application has said of a surface object.
struct SurfaceObject: @unchecked Sendable {
    // SAFETY: as for ``TextureObject``.
    let resource: CUDA_RESOURCE_DESC
}

/// Texture and surface objects. The handle is the driver's, because kernels get it as a number.
extension Shim {
    func cuTexObjectCreate(
        _ pTexObject: UnsafeMutablePointer<CUtexObject>?, _ pResDesc: UnsafePointer<CUDA_RESOURCE_DESC>?,
        _ pTexDesc: UnsafePointer<CUDA_TEXTURE_DESC>?, _ pResViewDesc: UnsafePointer<CUDA_RESOURCE_VIEW_DESC>?
    ) throws(CUDAError) {
        let active = try activeContext()
        guard pTexObject != nil, let resource = pResDesc?.pointee, let texture = pTexDesc?.pointee else {
            throw .invalidValue
        }
        let source = try self.resource(resource, on: active.context.device)
        try check(texture, of: source)
        let view = pResViewDesc?.pointee
        let isArray = [CU_RESOURCE_TYPE_ARRAY, CU_RESOURCE_TYPE_MIPMAPPED_ARRAY].contains(resource.resType)
        guard view == nil || isArray else { throw .invalidValue }
        let made = try driver.cuTexObjectCreate(
            active.handle, resource: source, sampler: TextureSampler(texture), view: view.map { ResourceView($0) })
        let object = TextureObject(resource: resource, texture: texture, view: view)
        textures.withLock { $0[ObjectKey(context: active.context.bits, value: made)] = object }
        try write(made, to: pTexObject)
    }

    func cuTexObjectDestroy(_ texObject: CUtexObject) throws(CUDAError) {
        let active = try activeContext()
        let key = ObjectKey(context: active.context.bits, value: texObject)
        guard textures.withLock({ $0.removeValue(forKey: key) }) != nil else { throw .invalidValue }
        try driver.cuTexObjectDestroy(active.handle, texObject: texObject)
    }

    private func textureObject(_ value: CUtexObject) throws(CUDAError) -> TextureObject {
        let key = ObjectKey(context: try activeContext().context.bits, value: value)
        guard let object = textures.withLock({ $0[key] }) else { throw .invalidValue }
        return object
    }

    func cuTexObjectGetResourceDesc(
        _ pResDesc: UnsafeMutablePointer<CUDA_RESOURCE_DESC>?, _ texObject: CUtexObject
    ) throws(CUDAError) {
        try write(try textureObject(texObject).resource, to: pResDesc)
    }

    func cuTexObjectGetTextureDesc(
        _ pTexDesc: UnsafeMutablePointer<CUDA_TEXTURE_DESC>?, _ texObject: CUtexObject
    ) throws(CUDAError) {
        try write(try textureObject(texObject).texture, to: pTexDesc)
    }

    func cuTexObjectGetResourceViewDesc(
        _ pResViewDesc: UnsafeMutablePointer<CUDA_RESOURCE_VIEW_DESC>?, _ texObject: CUtexObject
    ) throws(CUDAError) {
        guard let view = try textureObject(texObject).view else { throw .invalidValue }
        try write(view, to: pResViewDesc)
    }

    func cuSurfObjectCreate(
        _ pSurfObject: UnsafeMutablePointer<CUsurfObject>?, _ pResDesc: UnsafePointer<CUDA_RESOURCE_DESC>?
    ) throws(CUDAError) {
        let active = try activeContext()
        guard pSurfObject != nil, let resource = pResDesc?.pointee, resource.resType == CU_RESOURCE_TYPE_ARRAY,
            resource.flags == 0
        else { throw .invalidValue }
        let array = try arrays.object(resource.res.array.hArray)
        guard array.shape.has(CUDA_ARRAY3D_SURFACE_LDST) else { throw .invalidValue }
        let made = try driver.cuSurfObjectCreate(active.handle, array: array.handle)
        let key = ObjectKey(context: active.context.bits, value: made)
        let object = SurfaceObject(resource: resource)
        surfaces.withLock { $0[key] = object }
        try write(made, to: pSurfObject)
    }

    func cuSurfObjectDestroy(_ surfObject: CUsurfObject) throws(CUDAError) {
        let active = try activeContext()
        let key = ObjectKey(context: active.context.bits, value: surfObject)
        guard surfaces.withLock({ $0.removeValue(forKey: key) }) != nil else { throw .invalidValue }
        try driver.cuSurfObjectDestroy(active.handle, surfObject: surfObject)
    }

    func cuSurfObjectGetResourceDesc(
        _ pResDesc: UnsafeMutablePointer<CUDA_RESOURCE_DESC>?, _ surfObject: CUsurfObject
    ) throws(CUDAError) {
        let key = ObjectKey(context: try activeContext().context.bits, value: surfObject)
        guard let object = surfaces.withLock({ $0[key] }) else { throw .invalidValue }
        try write(object.resource, to: pResDesc)
    }

    // MARK: What is checked at once

    func resource(_ resource: CUDA_RESOURCE_DESC, on device: Device) throws(CUDAError) -> TextureResource {
        guard resource.flags == 0 else { throw .invalidValue }
        switch resource.resType {
        case CU_RESOURCE_TYPE_ARRAY: return .array(try arrays.object(resource.res.array.hArray).handle)
        case CU_RESOURCE_TYPE_MIPMAPPED_ARRAY:
            return .mipmappedArray(try mipmappedArrays.object(resource.res.mipmap.hMipmappedArray).handle)
        case CU_RESOURCE_TYPE_LINEAR:
            let linear = resource.res.linear
            let format = try self.format(linear.format, linear.numChannels)
            let elements = linear.sizeInBytes / format.elementBytes
            guard linear.sizeInBytes > 0,
                isWithin(elements, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE1D_LINEAR_WIDTH, on: device)
            else { throw .invalidValue }
            let address = try self.address(linear.devPtr, linear.sizeInBytes, on: device)
            return .linear(
                address, format: linear.format.rawValue, channels: linear.numChannels, byteCount: linear.sizeInBytes)
        case CU_RESOURCE_TYPE_PITCH2D:
            let plane = resource.res.pitch2D
            let format = try self.format(plane.format, plane.numChannels)
            let pitchAlignment = max(1, Int(device.description[CU_DEVICE_ATTRIBUTE_TEXTURE_PITCH_ALIGNMENT]))
            guard plane.width > 0, plane.height > 0,
                isWithin(plane.width, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_WIDTH, on: device),
                isWithin(plane.height, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_HEIGHT, on: device),
                isWithin(plane.pitchInBytes, CU_DEVICE_ATTRIBUTE_MAXIMUM_TEXTURE2D_LINEAR_PITCH, on: device),
                plane.pitchInBytes % pitchAlignment == 0, plane.pitchInBytes >= plane.width * format.elementBytes
            else { throw .invalidValue }
            let byteCount = plane.pitchInBytes * (plane.height - 1) + plane.width * format.elementBytes
            return .pitch2D(
                try self.address(plane.devPtr, byteCount, on: device), format: plane.format.rawValue,
                channels: plane.numChannels, width: plane.width, height: plane.height, pitch: plane.pitchInBytes)
        default: throw .invalidValue
        }
    }

    private func format(_ format: CUarray_format, _ channels: UInt32) throws(CUDAError) -> ArrayFormat {
        guard let format = ArrayFormat(format.rawValue, channels: channels) else { throw .invalidValue }
        return format
    }

    /// A limit that the device does not tell is left to its driver.
    private func isWithin(_ size: Int, _ attribute: CUdevice_attribute, on device: Device) -> Bool {
        let limit = Int(device.description[attribute])
        return limit == 0 || size <= limit
    }

    /// Where the device finds memory that a texture reads.
    private func address(
        _ address: CUdeviceptr, _ byteCount: Int, on device: Device
    ) throws(CUDAError) -> CUdeviceptr {
        let alignment = CUdeviceptr(max(1, device.description[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT]))
        let place = deviceAddress(address)
        guard place % alignment == 0 else { throw .invalidValue }
        _ = try side(address, byteCount, .known)
        return place
    }

    private func check(_ texture: CUDA_TEXTURE_DESC, of resource: TextureResource) throws(CUDAError) {
        let known =
            CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB
            | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP
        let modes = texture.addressMode
        guard texture.flags & ~UInt32(known) == 0,
            max(modes.0.rawValue, modes.1.rawValue, modes.2.rawValue) <= CU_TR_ADDRESS_MODE_BORDER.rawValue,
            texture.filterMode.rawValue <= CU_TR_FILTER_MODE_LINEAR.rawValue,
            texture.mipmapFilterMode.rawValue <= CU_TR_FILTER_MODE_LINEAR.rawValue
        else { throw .invalidValue }
    }
}

extension TextureSampler {
    init(_ description: CUDA_TEXTURE_DESC) {
        self.init()
        let modes = description.addressMode
        addressModes = (modes.0.rawValue, modes.1.rawValue, modes.2.rawValue)
        filterMode = description.filterMode.rawValue
        flags = description.flags
        anisotropyMax = description.maxAnisotropy
        mipmapFilterMode = description.mipmapFilterMode.rawValue
        levelBias = description.mipmapLevelBias
        levelMin = description.minMipmapLevelClamp
        levelMax = description.maxMipmapLevelClamp
        borderColor = description.borderColor
    }
}

extension ResourceView {
    init(_ description: CUDA_RESOURCE_VIEW_DESC) {
        self.init(
            format: description.format.rawValue, width: description.width, height: description.height,
            depth: description.depth, levels: (description.firstMipmapLevel, description.lastMipmapLevel),
            layers: (description.firstLayer, description.lastLayer))
    }
}
