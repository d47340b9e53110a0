// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What texture and surface references stand for, and how they read.
extension Shim {
    func cuTexRefCreate(_ pTexRef: UnsafeMutablePointer<OpaquePointer?>?) throws(CUDAError) {
        _ = try activeContext()
        guard pTexRef != nil else { throw .invalidValue }
        let made = try textureReferences.insert { TextureReference(bits: $0, name: "", module: nil) }
        try write(handle: made.bits, to: pTexRef)
    }

    /// Those of modules end with them.
    func cuTexRefDestroy(_ hTexRef: OpaquePointer?) throws(CUDAError) {
        let reference = try textureReferences.object(hTexRef)
        guard reference.module == nil, textureReferences.remove(reference.bits) != nil else { throw .invalidValue }
    }

    /// Kernels name their references themselves, so that there is nothing to set.
    func cuParamSetTexRef(_ hfunc: OpaquePointer?, _ texunit: Int32, _ hTexRef: OpaquePointer?) throws(CUDAError) {
        _ = try function(hfunc)
        _ = try textureReferences.object(hTexRef)
        // CU_PARAM_TR_DEFAULT is the only one.
        guard texunit == -1 else { throw .invalidValue }
    }

    // MARK: What is read

    func cuTexRefSetArray(_ hTexRef: OpaquePointer?, _ hArray: OpaquePointer?, _ Flags: UInt32) throws(CUDAError) {
        let shape = try arrays.object(hArray).shape
        // CU_TRSA_OVERRIDE_FORMAT must be set.
        guard Flags == 1 else { throw .invalidValue }
        var resource = CUDA_RESOURCE_DESC()
        resource.resType = CU_RESOURCE_TYPE_ARRAY
        resource.res.array.hArray = hArray
        try change(hTexRef, to: resource, shape)
    }

    func cuTexRefSetMipmappedArray(
        _ hTexRef: OpaquePointer?, _ hMipmappedArray: OpaquePointer?, _ Flags: UInt32
    ) throws(CUDAError) {
        let shape = try mipmappedArrays.object(hMipmappedArray).shape
        guard Flags == 1 else { throw .invalidValue }
        var resource = CUDA_RESOURCE_DESC()
        resource.resType = CU_RESOURCE_TYPE_MIPMAPPED_ARRAY
        resource.res.mipmap.hMipmappedArray = hMipmappedArray
        try change(hTexRef, to: resource, shape)
    }

    /// Lets a reference read an array, whose format becomes its own.
    private func change(
        _ handle: OpaquePointer?, to resource: CUDA_RESOURCE_DESC, _ shape: ArrayShape
    ) throws(CUDAError) {
        try change(handle) { state in
            state.resource = resource
            (state.format, state.channels) = (CUarray_format(shape.format), shape.channels)
        }
    }

    /// Memory begins at a multiple of the device's alignment; where it does not, the application is told how many bytes
    /// its kernels have to skip.
    func cuTexRefSetAddress_v2(
        _ ByteOffset: UnsafeMutablePointer<Int>?, _ hTexRef: OpaquePointer?, _ dptr: CUdeviceptr, _ bytes: Int
    ) throws(CUDAError) {
        let device = try activeContext().context.device
        let alignment = CUdeviceptr(max(1, device.description[CU_DEVICE_ATTRIBUTE_TEXTURE_ALIGNMENT]))
        let offset = dptr % alignment
        guard bytes > 0, offset == 0 || ByteOffset != nil, bytes <= Int.max - Int(offset) else { throw .invalidValue }
        try change(hTexRef) { state throws(CUDAError) in
            var resource = CUDA_RESOURCE_DESC()
            resource.resType = CU_RESOURCE_TYPE_LINEAR
            resource.res.linear.devPtr = dptr - offset
            resource.res.linear.sizeInBytes = bytes + Int(offset)
            var next = state
            next.resource = resource
            if let bound = next.boundResource { _ = try self.resource(bound, on: device) }
            state = next
        }
        ByteOffset?.pointee = Int(offset)
    }

    func cuTexRefSetAddress2D_v3(
        _ hTexRef: OpaquePointer?, _ desc: UnsafePointer<CUDA_ARRAY_DESCRIPTOR>?, _ dptr: CUdeviceptr, _ Pitch: Int
    ) throws(CUDAError) {
        let device = try activeContext().context.device
        guard let desc = desc?.pointee else { throw .invalidValue }
        var resource = CUDA_RESOURCE_DESC()
        resource.resType = CU_RESOURCE_TYPE_PITCH2D
        resource.res.pitch2D.devPtr = dptr
        resource.res.pitch2D.format = desc.Format
        resource.res.pitch2D.numChannels = desc.NumChannels
        resource.res.pitch2D.width = desc.Width
        resource.res.pitch2D.height = desc.Height
        resource.res.pitch2D.pitchInBytes = Pitch
        _ = try self.resource(resource, on: device)
        try change(hTexRef) { state in
            state.resource = resource
            (state.format, state.channels) = (desc.Format, desc.NumChannels)
        }
    }

    func cuTexRefSetFormat(
        _ hTexRef: OpaquePointer?, _ fmt: CUarray_format, _ NumPackedComponents: Int32
    ) throws(CUDAError) {
        guard let channels = UInt32(exactly: NumPackedComponents),
            ArrayFormat(fmt.rawValue, channels: channels) != nil
        else { throw .invalidValue }
        try change(hTexRef) { state in (state.format, state.channels) = (fmt, channels) }
    }

    func cuSurfRefSetArray(_ hSurfRef: OpaquePointer?, _ hArray: OpaquePointer?, _ Flags: UInt32) throws(CUDAError) {
        let reference = try surfaceReferences.object(hSurfRef)
        let array = try arrays.object(hArray)
        guard Flags == 0, array.shape.has(CUDA_ARRAY3D_SURFACE_LDST) else { throw .invalidValue }
        try driver.cuSurfRefSetArray(
            try reference.module.context.handle, hmod: reference.module.handle, name: reference.name,
            hArray: array.handle)
        reference.array.withLock { $0 = array.bits }
    }

    // MARK: How it is read

    func cuTexRefSetAddressMode(_ hTexRef: OpaquePointer?, _ dim: Int32, _ am: CUaddress_mode) throws(CUDAError) {
        guard am.rawValue <= CU_TR_ADDRESS_MODE_BORDER.rawValue else { throw .invalidValue }
        try change(hTexRef) { state throws(CUDAError) in
            switch dim {
            case 0: state.sampler.addressModes.0 = am.rawValue
            case 1: state.sampler.addressModes.1 = am.rawValue
            case 2: state.sampler.addressModes.2 = am.rawValue
            default: throw .invalidValue
            }
        }
    }

    func cuTexRefSetFilterMode(_ hTexRef: OpaquePointer?, _ fm: CUfilter_mode) throws(CUDAError) {
        guard fm.rawValue <= CU_TR_FILTER_MODE_LINEAR.rawValue else { throw .invalidValue }
        try change(hTexRef) { $0.sampler.filterMode = fm.rawValue }
    }

    func cuTexRefSetMipmapFilterMode(_ hTexRef: OpaquePointer?, _ fm: CUfilter_mode) throws(CUDAError) {
        guard fm.rawValue <= CU_TR_FILTER_MODE_LINEAR.rawValue else { throw .invalidValue }
        try change(hTexRef) { $0.sampler.mipmapFilterMode = fm.rawValue }
    }

    func cuTexRefSetMipmapLevelBias(_ hTexRef: OpaquePointer?, _ bias: Float) throws(CUDAError) {
        try change(hTexRef) { $0.sampler.levelBias = bias }
    }

    func cuTexRefSetMipmapLevelClamp(
        _ hTexRef: OpaquePointer?, _ minMipmapLevelClamp: Float, _ maxMipmapLevelClamp: Float
    ) throws(CUDAError) {
        try change(hTexRef) { state in
            (state.sampler.levelMin, state.sampler.levelMax) = (minMipmapLevelClamp, maxMipmapLevelClamp)
        }
    }

    func cuTexRefSetMaxAnisotropy(_ hTexRef: OpaquePointer?, _ maxAniso: UInt32) throws(CUDAError) {
        try change(hTexRef) { $0.sampler.anisotropyMax = maxAniso }
    }

    func cuTexRefSetBorderColor(
        _ hTexRef: OpaquePointer?, _ pBorderColor: UnsafeMutablePointer<Float>?
    ) throws(CUDAError) {
        guard let color = pBorderColor else { throw .invalidValue }
        try change(hTexRef) { $0.sampler.borderColor = (color[0], color[1], color[2], color[3]) }
    }

    func cuTexRefSetFlags(_ hTexRef: OpaquePointer?, _ Flags: UInt32) throws(CUDAError) {
        let known =
            CU_TRSF_READ_AS_INTEGER | CU_TRSF_NORMALIZED_COORDINATES | CU_TRSF_SRGB
            | CU_TRSF_DISABLE_TRILINEAR_OPTIMIZATION | CU_TRSF_SEAMLESS_CUBEMAP
        guard Flags & ~UInt32(known) == 0 else { throw .invalidValue }
        try change(hTexRef) { $0.sampler.flags = Flags }
    }
}
