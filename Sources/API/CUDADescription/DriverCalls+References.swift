// SPDX-License-Identifier: Apache-2.0

/// Texture and surface references: names of a module by which its kernels read and write.
///
/// A reference travels as its module and its name, so that none can outlive its module.
let referenceCalls: [DriverCall] = [
    DriverCall(
        "cuModuleGetTexRef", .waits, .hostByHand, [.used("hmod", .module), .text("name")],
        "CUDA_ERROR_NOT_FOUND unless the module has a texture reference of this name."),
    DriverCall(
        "cuModuleGetSurfRef", .waits, .hostByHand, [.used("hmod", .module), .text("name")],
        "CUDA_ERROR_NOT_FOUND unless the module has a surface reference of this name."),
    DriverCall(
        "cuTexRefSetArray", .posts,
        .byHand(
            declaration:
                "func cuTexRefSetArray(_ context: ContextHandle, hmod: ModuleHandle, name: String, "
                + "resource: TextureResource, sampler: TextureSampler) throws(CUDAError)"),
        "What later launches read by a texture reference, arrays and other memory, and how: cuTexRefSet and all of "
            + "its kinds."),
    DriverCall(
        "cuSurfRefSetArray", .posts, .hostByHand,
        [.used("hmod", .module), .text("name"), .used("hArray", .array)],
        "The array that later launches use by a surface reference."),
]
