// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

// Arrays, texture objects and surface objects.

extension HostDriver {
    package func cuArray3DCreate_v2(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32
    ) throws(CUDAError) -> ArrayHandle {
        guard let function = textures.cuArray3DCreate else { throw .notSupported }
        try makeCurrent(context)
        var description = CUDA_ARRAY3D_DESCRIPTOR(
            Width: width, Height: height, Depth: depth, Format: CUarray_format(format), NumChannels: numChannels,
            Flags: flags)
        var made: UInt64 = 0
        try check(function(&made, &description))
        return ArrayHandle(bits: made)
    }

    package func cuMipmappedArrayCreate(
        _ context: ContextHandle, width: Int, height: Int, depth: Int, format: UInt32, numChannels: UInt32,
        flags: UInt32, numMipmapLevels: UInt32
    ) throws(CUDAError) -> MipmappedArrayHandle {
        guard let function = textures.cuMipmappedArrayCreate else { throw .notSupported }
        try makeCurrent(context)
        var description = CUDA_ARRAY3D_DESCRIPTOR(
            Width: width, Height: height, Depth: depth, Format: CUarray_format(format), NumChannels: numChannels,
            Flags: flags)
        var made: UInt64 = 0
        try check(function(&made, &description, numMipmapLevels))
        return MipmappedArrayHandle(bits: made)
    }

    package func cuTexObjectCreate(
        _ context: ContextHandle, resource: TextureResource, sampler: TextureSampler, view: ResourceView?
    ) throws(CUDAError) -> UInt64 {
        guard let function = textures.cuTexObjectCreate else { throw .notSupported }
        try makeCurrent(context)
        var resourceDescription = CUDA_RESOURCE_DESC(resource)
        var textureDescription = CUDA_TEXTURE_DESC(sampler)
        var made: UInt64 = 0
        if let view {
            var viewDescription = CUDA_RESOURCE_VIEW_DESC(view)
            try check(function(&made, &resourceDescription, &textureDescription, &viewDescription))
        } else {
            try check(function(&made, &resourceDescription, &textureDescription, nil))
        }
        return made
    }

    package func cuTexObjectDestroy(_ context: ContextHandle, texObject: UInt64) throws(CUDAError) {
        guard let function = textures.cuTexObjectDestroy else { throw .notSupported }
        try makeCurrent(context)
        try check(function(texObject))
    }

    package func cuSurfObjectCreate(_ context: ContextHandle, array: ArrayHandle) throws(CUDAError) -> UInt64 {
        guard let function = textures.cuSurfObjectCreate else { throw .notSupported }
        try makeCurrent(context)
        var description = CUDA_RESOURCE_DESC(.array(array))
        var made: UInt64 = 0
        try check(function(&made, &description))
        return made
    }

    package func cuSurfObjectDestroy(_ context: ContextHandle, surfObject: UInt64) throws(CUDAError) {
        guard let function = textures.cuSurfObjectDestroy else { throw .notSupported }
        try makeCurrent(context)
        try check(function(surfObject))
    }
}

/// The functions of arrays, textures and surfaces that the printed half does not have.
struct TextureFunctions: Sendable {
    let cuArray3DCreate:
        (@convention(c) (UnsafeMutablePointer<UInt64>?, UnsafePointer<CUDA_ARRAY3D_DESCRIPTOR>?) -> CUresult)?
    let cuMipmappedArrayCreate:
        (@convention(c) (UnsafeMutablePointer<UInt64>?, UnsafePointer<CUDA_ARRAY3D_DESCRIPTOR>?, UInt32) -> CUresult)?
    let cuTexObjectCreate:
        (
            @convention(c) (
                UnsafeMutablePointer<UInt64>?, UnsafePointer<CUDA_RESOURCE_DESC>?, UnsafePointer<CUDA_TEXTURE_DESC>?,
                UnsafePointer<CUDA_RESOURCE_VIEW_DESC>?
            ) -> CUresult
        )?
    let cuTexObjectDestroy: (@convention(c) (UInt64) -> CUresult)?
    let cuSurfObjectCreate:
        (@convention(c) (UnsafeMutablePointer<UInt64>?, UnsafePointer<CUDA_RESOURCE_DESC>?) -> CUresult)?
    let cuSurfObjectDestroy: (@convention(c) (UInt64) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuArray3DCreate = library.function("cuArray3DCreate_v2")
        cuMipmappedArrayCreate = library.function("cuMipmappedArrayCreate")
        cuTexObjectCreate = library.function("cuTexObjectCreate")
        cuTexObjectDestroy = library.function("cuTexObjectDestroy")
        cuSurfObjectCreate = library.function("cuSurfObjectCreate")
        cuSurfObjectDestroy = library.function("cuSurfObjectDestroy")
    }
}

extension CUDA_RESOURCE_DESC {
    init(_ resource: TextureResource) {
        self.init()
        switch resource {
        case .array(let array):
            resType = CU_RESOURCE_TYPE_ARRAY
            res.array.hArray = OpaquePointer(bitPattern: UInt(array.bits))
        case .mipmappedArray(let array):
            resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY
            res.mipmap.hMipmappedArray = OpaquePointer(bitPattern: UInt(array.bits))
        case .linear(let address, let format, let channels, let byteCount):
            resType = CU_RESOURCE_TYPE_LINEAR
            res.linear.devPtr = address
            res.linear.format = CUarray_format(format)
            res.linear.numChannels = channels
            res.linear.sizeInBytes = byteCount
        case .pitch2D(let address, let format, let channels, let width, let height, let pitch):
            resType = CU_RESOURCE_TYPE_PITCH2D
            res.pitch2D.devPtr = address
            res.pitch2D.format = CUarray_format(format)
            res.pitch2D.numChannels = channels
            res.pitch2D.width = width
            res.pitch2D.height = height
            res.pitch2D.pitchInBytes = pitch
        }
    }
}

extension CUDA_TEXTURE_DESC {
    init(_ sampler: TextureSampler) {
        self.init()
        addressMode = (
            CUaddress_mode(sampler.addressModes.0), CUaddress_mode(sampler.addressModes.1),
            CUaddress_mode(sampler.addressModes.2)
        )
        filterMode = CUfilter_mode(sampler.filterMode)
        flags = sampler.flags
        maxAnisotropy = sampler.anisotropyMax
        mipmapFilterMode = CUfilter_mode(sampler.mipmapFilterMode)
        mipmapLevelBias = sampler.levelBias
        minMipmapLevelClamp = sampler.levelMin
        maxMipmapLevelClamp = sampler.levelMax
        borderColor = sampler.borderColor
    }
}

extension CUDA_RESOURCE_VIEW_DESC {
    init(_ view: ResourceView) {
        self.init()
        format = CUresourceViewFormat(view.format)
        width = view.width
        height = view.height
        depth = view.depth
        firstMipmapLevel = view.firstLevel
        lastMipmapLevel = view.lastLevel
        firstLayer = view.firstLayer
        lastLayer = view.lastLayer
    }
}
