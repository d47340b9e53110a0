// SPDX-License-Identifier: Apache-2.0
import CCUDA
package import Driver

// Texture and surface references. The driver's own are looked up by name each time: they end with their module.

extension HostDriver {
    package func cuModuleGetTexRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        _ = try find(references.cuModuleGetTexRef, context, hmod, name)
    }

    package func cuModuleGetSurfRef(_ context: ContextHandle, hmod: ModuleHandle, name: String) throws(CUDAError) {
        _ = try find(references.cuModuleGetSurfRef, context, hmod, name)
    }

    package func cuSurfRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, hArray: ArrayHandle
    ) throws(CUDAError) {
        let reference = try find(references.cuModuleGetSurfRef, context, hmod, name)
        guard let function = references.cuSurfRefSetArray else { throw .notSupported }
        try check(function(reference, hArray.bits, 0))
    }

    package func cuTexRefSetArray(
        _ context: ContextHandle, hmod: ModuleHandle, name: String, resource: TextureResource, sampler: TextureSampler
    ) throws(CUDAError) {
        let reference = try find(references.cuModuleGetTexRef, context, hmod, name)
        try check(references.set(reference, sampler))
        try check(references.set(reference, resource))
    }

    private func find(
        _ function: ReferenceFunctions.Find?, _ context: ContextHandle, _ module: ModuleHandle, _ name: String
    ) throws(CUDAError) -> UInt64 {
        guard let function else { throw .notSupported }
        try makeCurrent(context)
        var reference: UInt64 = 0
        try check(name.withCString { function(&reference, module.bits, $0) })
        return reference
    }
}

/// The functions of references; nil in a driver that has none any more.
struct ReferenceFunctions: Sendable {
    typealias Find = @convention(c) (UnsafeMutablePointer<UInt64>?, UInt64, UnsafePointer<CChar>?) -> CUresult
    typealias SetHandle = @convention(c) (UInt64, UInt64, UInt32) -> CUresult
    typealias SetNumber = @convention(c) (UInt64, UInt32) -> CUresult

    let cuModuleGetTexRef: Find?
    let cuModuleGetSurfRef: Find?
    let cuSurfRefSetArray: SetHandle?
    let cuTexRefSetArray: SetHandle?
    let cuTexRefSetMipmappedArray: SetHandle?
    let cuTexRefSetFormat: (@convention(c) (UInt64, UInt32, Int32) -> CUresult)?
    let cuTexRefSetAddress: (@convention(c) (UnsafeMutablePointer<Int>?, UInt64, CUdeviceptr, Int) -> CUresult)?
    let cuTexRefSetAddress2D:
        (@convention(c) (UInt64, UnsafePointer<CUDA_ARRAY_DESCRIPTOR>?, CUdeviceptr, Int) -> CUresult)?
    let cuTexRefSetAddressMode: (@convention(c) (UInt64, Int32, UInt32) -> CUresult)?
    let cuTexRefSetFilterMode: SetNumber?
    let cuTexRefSetFlags: SetNumber?
    let cuTexRefSetMaxAnisotropy: SetNumber?
    let cuTexRefSetMipmapFilterMode: SetNumber?
    let cuTexRefSetMipmapLevelBias: (@convention(c) (UInt64, Float) -> CUresult)?
    let cuTexRefSetMipmapLevelClamp: (@convention(c) (UInt64, Float, Float) -> CUresult)?
    let cuTexRefSetBorderColor: (@convention(c) (UInt64, UnsafeMutablePointer<Float>?) -> CUresult)?

    init(_ library: borrowing DriverLibrary) {
        cuModuleGetTexRef = library.function("cuModuleGetTexRef")
        cuModuleGetSurfRef = library.function("cuModuleGetSurfRef")
        cuSurfRefSetArray = library.function("cuSurfRefSetArray")
        cuTexRefSetArray = library.function("cuTexRefSetArray")
        cuTexRefSetMipmappedArray = library.function("cuTexRefSetMipmappedArray")
        cuTexRefSetFormat = library.function("cuTexRefSetFormat")
        cuTexRefSetAddress = library.function("cuTexRefSetAddress_v2")
        cuTexRefSetAddress2D = library.function("cuTexRefSetAddress2D_v3")
        cuTexRefSetAddressMode = library.function("cuTexRefSetAddressMode")
        cuTexRefSetFilterMode = library.function("cuTexRefSetFilterMode")
        cuTexRefSetFlags = library.function("cuTexRefSetFlags")
        cuTexRefSetMaxAnisotropy = library.function("cuTexRefSetMaxAnisotropy")
        cuTexRefSetMipmapFilterMode = library.function("cuTexRefSetMipmapFilterMode")
        cuTexRefSetMipmapLevelBias = library.function("cuTexRefSetMipmapLevelBias")
        cuTexRefSetMipmapLevelClamp = library.function("cuTexRefSetMipmapLevelClamp")
        cuTexRefSetBorderColor = library.function("cuTexRefSetBorderColor")
    }

    func set(_ reference: UInt64, _ resource: TextureResource) -> CUresult {
        let refused = CUDA_ERROR_NOT_SUPPORTED
        // CU_TRSA_OVERRIDE_FORMAT: the array's own format, as the driver demands.
        switch resource {
        case .array(let array): return cuTexRefSetArray?(reference, array.bits, 1) ?? refused
        case .mipmappedArray(let array): return cuTexRefSetMipmappedArray?(reference, array.bits, 1) ?? refused
        case .linear(let address, let format, let channels, let byteCount):
            let code = cuTexRefSetFormat?(reference, format, Int32(clamping: channels)) ?? refused
            guard code == CUDA_SUCCESS else { return code }
            var offset = 0
            return cuTexRefSetAddress?(&offset, reference, address, byteCount) ?? refused
        case .pitch2D(let address, let format, let channels, let width, let height, let pitch):
            var description = CUDA_ARRAY_DESCRIPTOR(
                Width: width, Height: height, Format: CUarray_format(format), NumChannels: channels)
            return cuTexRefSetAddress2D?(reference, &description, address, pitch) ?? refused
        }
    }

    /// Says how a reference reads; the first refusal is the answer.
    func set(_ reference: UInt64, _ sampler: TextureSampler) -> CUresult {
        let modes = [sampler.addressModes.0, sampler.addressModes.1, sampler.addressModes.2]
        var codes = modes.enumerated().map { cuTexRefSetAddressMode?(reference, Int32($0.offset), $0.element) }
        codes.append(cuTexRefSetFilterMode?(reference, sampler.filterMode))
        codes.append(cuTexRefSetFlags?(reference, sampler.flags))
        codes.append(cuTexRefSetMipmapFilterMode?(reference, sampler.mipmapFilterMode))
        codes.append(cuTexRefSetMipmapLevelBias?(reference, sampler.levelBias))
        codes.append(cuTexRefSetMipmapLevelClamp?(reference, sampler.levelMin, sampler.levelMax))
        if sampler.anisotropyMax > 0 {
            codes.append(cuTexRefSetMaxAnisotropy?(reference, sampler.anisotropyMax))
        }
        let color = sampler.borderColor
        var colors = [color.0, color.1, color.2, color.3]
        codes.append(cuTexRefSetBorderColor?(reference, &colors))
        return codes.lazy.map { $0 ?? CUDA_ERROR_NOT_SUPPORTED }.first { $0 != CUDA_SUCCESS } ?? CUDA_SUCCESS
    }
}
