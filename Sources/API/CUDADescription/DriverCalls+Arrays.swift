// SPDX-License-Identifier: Apache-2.0

/// Arrays, and the texture and surface objects by which kernels use them.
///
/// Texture and surface objects are 64-bit values that applications pass to kernels, so they travel as the driver made
/// them; the session knows which of them its client may end.
let arrayCalls: [DriverCall] = [
    DriverCall(
        "cuArray3DCreate_v2", .waits,
        .hostByHand,
        [
            .made("pHandle", .array), .value("width", .size), .value("height", .size), .value("depth", .size),
            .value("format", .uint32), .value("numChannels", .uint32), .value("flags", .uint32),
        ],
        "Makes an array: sizes in elements, `format` a CUarray_format, `flags` of CUDA_ARRAY3D."),
    DriverCall(
        "cuArrayDestroy", .posts, [.ended("hArray", .array)], "Ends an array after the work that uses it."),
    DriverCall(
        "cuMipmappedArrayCreate", .waits,
        .hostByHand,
        [
            .made("pHandle", .mipmappedArray), .value("width", .size), .value("height", .size),
            .value("depth", .size), .value("format", .uint32), .value("numChannels", .uint32),
            .value("flags", .uint32), .value("numMipmapLevels", .uint32),
        ],
        "Makes an array with smaller ones of half its size each, down to the number of levels."),
    DriverCall(
        "cuMipmappedArrayDestroy", .posts, [.ended("hMipmappedArray", .mipmappedArray)],
        "Ends a mipmapped array and its levels, after the work that uses them."),
    DriverCall(
        "cuMipmappedArrayGetLevel", .waits,
        [.made("pLevelArray", .array), .used("hMipmappedArray", .mipmappedArray), .value("level", .uint32)],
        "One level of a mipmapped array, as an array that ends with it; always the same."),
    DriverCall(
        "cuTexObjectCreate", .waits,
        .byHand(
            declaration:
                "func cuTexObjectCreate(_ context: ContextHandle, resource: TextureResource, sampler: TextureSampler, "
                + "view: ResourceView?) throws(CUDAError) -> UInt64"),
        "Makes a texture object, the value that kernels get."),
    DriverCall(
        "cuTexObjectDestroy", .posts,
        .byHand(
            declaration: "func cuTexObjectDestroy(_ context: ContextHandle, texObject: UInt64) throws(CUDAError)"),
        "Ends a texture object."),
    DriverCall(
        "cuSurfObjectCreate", .waits,
        .byHand(
            declaration:
                "func cuSurfObjectCreate(_ context: ContextHandle, array: ArrayHandle) throws(CUDAError) -> UInt64"),
        "Makes a surface object of an array, the value that kernels get."),
    DriverCall(
        "cuSurfObjectDestroy", .posts,
        .byHand(
            declaration: "func cuSurfObjectDestroy(_ context: ContextHandle, surfObject: UInt64) throws(CUDAError)"),
        "Ends a surface object."),
]
