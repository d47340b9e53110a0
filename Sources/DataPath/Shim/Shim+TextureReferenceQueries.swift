// SPDX-License-Identifier: Apache-2.0
import CCUDA
import Driver
import Synchronization

/// What the application has said of texture and surface references, told again.
extension Shim {
    private func state(_ handle: OpaquePointer?) throws(CUDAError) -> TextureReference.State {
        try textureReferences.object(handle).state.withLock { $0 }
    }

    /// What is bound, if it is of this kind.
    private func bound(_ handle: OpaquePointer?, _ kind: CUresourcetype) throws(CUDAError) -> CUDA_RESOURCE_DESC {
        guard let resource = try state(handle).resource, resource.resType == kind else { throw .invalidValue }
        return resource
    }

    func cuTexRefGetAddress_v2(
        _ pdptr: UnsafeMutablePointer<CUdeviceptr>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        guard let resource = try state(hTexRef).resource else { throw .invalidValue }
        switch resource.resType {
        case CU_RESOURCE_TYPE_LINEAR: try write(resource.res.linear.devPtr, to: pdptr)
        case CU_RESOURCE_TYPE_PITCH2D: try write(resource.res.pitch2D.devPtr, to: pdptr)
        default: throw .invalidValue
        }
    }

    func cuTexRefGetArray(
        _ phArray: UnsafeMutablePointer<OpaquePointer?>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) { try write(try bound(hTexRef, CU_RESOURCE_TYPE_ARRAY).res.array.hArray, to: phArray) }

    func cuTexRefGetMipmappedArray(
        _ phMipmappedArray: UnsafeMutablePointer<OpaquePointer?>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        let resource = try bound(hTexRef, CU_RESOURCE_TYPE_MIPMAPPED_ARRAY)
        try write(resource.res.mipmap.hMipmappedArray, to: phMipmappedArray)
    }

    func cuSurfRefGetArray(
        _ phArray: UnsafeMutablePointer<OpaquePointer?>?, _ hSurfRef: OpaquePointer?
    ) throws(CUDAError) {
        let array = try surfaceReferences.object(hSurfRef).array.withLock { $0 }
        guard array != 0 else { throw .invalidValue }
        try write(handle: array, to: phArray)
    }

    func cuTexRefGetAddressMode(
        _ pam: UnsafeMutablePointer<CUaddress_mode>?, _ hTexRef: OpaquePointer?, _ dim: Int32
    ) throws(CUDAError) {
        let modes = try state(hTexRef).sampler.addressModes
        guard 0...2 ~= dim else { throw .invalidValue }
        try write(CUaddress_mode([modes.0, modes.1, modes.2][Int(dim)]), to: pam)
    }

    func cuTexRefGetFilterMode(
        _ pfm: UnsafeMutablePointer<CUfilter_mode>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) { try write(CUfilter_mode(try state(hTexRef).sampler.filterMode), to: pfm) }

    func cuTexRefGetMipmapFilterMode(
        _ pfm: UnsafeMutablePointer<CUfilter_mode>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) { try write(CUfilter_mode(try state(hTexRef).sampler.mipmapFilterMode), to: pfm) }

    func cuTexRefGetMipmapLevelBias(
        _ pbias: UnsafeMutablePointer<Float>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) { try write(try state(hTexRef).sampler.levelBias, to: pbias) }

    func cuTexRefGetMipmapLevelClamp(
        _ pminMipmapLevelClamp: UnsafeMutablePointer<Float>?, _ pmaxMipmapLevelClamp: UnsafeMutablePointer<Float>?,
        _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        let sampler = try state(hTexRef).sampler
        try write(sampler.levelMin, to: pminMipmapLevelClamp)
        try write(sampler.levelMax, to: pmaxMipmapLevelClamp)
    }

    func cuTexRefGetFormat(
        _ pFormat: UnsafeMutablePointer<CUarray_format>?, _ pNumChannels: UnsafeMutablePointer<Int32>?,
        _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        let state = try state(hTexRef)
        try write(state.format, to: pFormat)
        try write(Int32(state.channels), to: pNumChannels)
    }

    func cuTexRefGetMaxAnisotropy(
        _ pmaxAniso: UnsafeMutablePointer<Int32>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        try write(Int32(truncatingIfNeeded: try state(hTexRef).sampler.anisotropyMax), to: pmaxAniso)
    }

    func cuTexRefGetBorderColor(
        _ pBorderColor: UnsafeMutablePointer<Float>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) {
        let color = try state(hTexRef).sampler.borderColor
        guard let pBorderColor else { throw .invalidValue }
        (pBorderColor[0], pBorderColor[1], pBorderColor[2], pBorderColor[3]) = color
    }

    func cuTexRefGetFlags(
        _ pFlags: UnsafeMutablePointer<UInt32>?, _ hTexRef: OpaquePointer?
    ) throws(CUDAError) { try write(try state(hTexRef).sampler.flags, to: pFlags) }
}
